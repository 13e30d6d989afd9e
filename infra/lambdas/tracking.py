"""MLflow by its REST API, as far as the pipeline's states ask for it. https://mlflow.org/docs/latest/rest-api.html

Errors::

    StepError
    └── TrackingRefused     MLflow answers that the request is wrong
    TrackingUnavailable     nothing answers, or MLflow failed: worth another try
"""

from __future__ import annotations

import json
import urllib.error
import urllib.parse
import urllib.request
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from infra.lambdas.steps import Misconfigured, StepError

TIMEOUT_SECONDS = 10.0
MOST_ANSWER_BYTES = 16 * 2**20

CHAMPION = "champion"
"""The alias of ``training.registry``, which a zip file has not."""

ABSENT = frozenset({"RESOURCE_DOES_NOT_EXIST", "INVALID_PARAMETER_VALUE"})
"""What MLflow says of what is not there: of an alias, one of its stores says the one, others the other."""


class TrackingRefused(StepError):
    """MLflow answers that the request is wrong. Raw: ``(text, MLflow's error code)``."""

    def __init__(self, text: str, code: str) -> None:
        super().__init__(text)
        self.code = code


class TrackingUnavailable(Exception):
    """Nothing answers at MLflow's address, or it failed."""


@dataclass(frozen=True)
class Answer:
    status: int
    body: bytes


Open = Callable[[urllib.request.Request, float], Answer]
"""An HTTP request and its time in seconds → the answer, whatever its status. Raises: OSError."""


def over_http(request: urllib.request.Request, seconds: float) -> Answer:
    """The real one."""
    try:
        with _OPENER.open(request, timeout=seconds) as response:
            return Answer(response.status, response.read(MOST_ANSWER_BYTES))
    except urllib.error.HTTPError as error:
        with error:
            return Answer(error.code, error.read(MOST_ANSWER_BYTES))


class _NoRedirect(urllib.request.HTTPRedirectHandler):
    """A redirect is an answer: what is sent, with its key, is for the address that was set and no other."""

    def redirect_request(self, *_args: Any, **_named: Any) -> None:
        return None


_OPENER = urllib.request.build_opener(_NoRedirect)


def post(url: str, body: Mapping[str, Any], headers: Mapping[str, str] | None = None) -> urllib.request.Request:
    """A request with a JSON body."""
    return _request(url, "POST", body, headers)


def _request(
    url: str, method: str, body: Mapping[str, Any] | None = None, headers: Mapping[str, str] | None = None
) -> urllib.request.Request:
    if not url.startswith(("http://", "https://")):
        raise Misconfigured(f"{url!r:.60}: expected an http:// or https:// address")
    data = None if body is None else json.dumps(body).encode()
    return urllib.request.Request(  # noqa: S310 - the scheme is checked above
        url, data, {"Content-Type": "application/json", **(headers or {})}, method=method
    )


@dataclass(frozen=True)
class Tracking:
    """One MLflow server at ``url``."""

    url: str
    open: Open = over_http
    seconds: float = TIMEOUT_SECONDS

    def experiment_id(self, name: str) -> str | None:
        found = self._find("experiments/get-by-name", experiment_name=name)
        return None if found is None else str(found["experiment"]["experiment_id"])

    def runs_tagged(self, experiment_id: str, tag: str, value: str) -> list[dict[str, Any]]:
        """Finished runs with this tag, the newest first."""
        found = self._post(
            "runs/search",
            {
                "experiment_ids": [experiment_id],
                "filter": f"tags.`{tag}` = '{value}' AND attributes.status = 'FINISHED'",
                "order_by": ["attributes.start_time DESC"],
                "max_results": 10,
            },
        )
        return list(found.get("runs", []))

    def find_run(self, run_id: str) -> dict[str, Any] | None:
        found = self._find("runs/get", run_id=run_id)
        return None if found is None else dict(found["run"])

    def versions_of(self, model: str, run_id: str) -> list[str]:
        """The versions of a model that a run made, the newest first."""
        query = f"name='{model}' and run_id='{run_id}'"
        found = self._get("model-versions/search", filter=query, max_results="100").get("model_versions", [])
        return sorted((str(version["version"]) for version in found), key=int, reverse=True)

    def alias(self, model: str, alias: str) -> dict[str, Any] | None:
        """The version that an alias names, as MLflow describes it; ``None`` if it names none."""
        found = self._find("registered-models/alias", name=model, alias=alias)
        return None if found is None else dict(found["model_version"])

    def set_alias(self, model: str, alias: str, version: str) -> None:
        self._post("registered-models/alias", {"name": model, "alias": alias, "version": version})

    def delete_alias(self, model: str, alias: str) -> None:
        self._send(_request(self._address("registered-models/alias"), "DELETE", {"name": model, "alias": alias}))

    def _find(self, path: str, **query: str) -> dict[str, Any] | None:
        try:
            return self._get(path, **query)
        except TrackingRefused as error:
            if error.code in ABSENT:
                return None
            raise

    def _get(self, path: str, **query: str) -> dict[str, Any]:
        return self._send(_request(f"{self._address(path)}?{urllib.parse.urlencode(query)}", "GET"))

    def _post(self, path: str, body: Mapping[str, Any]) -> dict[str, Any]:
        return self._send(post(self._address(path), body))

    def _address(self, path: str) -> str:
        return f"{self.url.rstrip('/')}/api/2.0/mlflow/{path}"

    def _send(self, request: urllib.request.Request) -> dict[str, Any]:
        try:
            answer = self.open(request, self.seconds)
        except OSError as error:
            raise TrackingUnavailable(f"MLflow at {self.url} does not answer: {error}") from error
        try:
            document = json.loads(answer.body or b"{}")
        except ValueError:
            document = None
        if answer.status == 200 and isinstance(document, dict):
            return document
        if answer.status < 500 and isinstance(document, dict) and "error_code" in document:
            code = str(document["error_code"])
            message = " ".join(str(document.get("message", "")).split())
            raise TrackingRefused(f"MLflow at {self.url}: {code}: {message:.300}", code)
        raise TrackingUnavailable(
            f"MLflow at {self.url}: {request.selector.partition('?')[0]} answered {answer.status}"
        )
