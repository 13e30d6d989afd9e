"""The ingress's gateway in a Lambda function: the same protocols, checks, keys and errors, without Ray.

What the environment has: ``MODEL_URI`` and the variables of ``infra.lambdas.model``; the serving settings
as text in ``SERVE_SETTINGS_YAML``, or as a file as the ingress finds it (``SERVE_SETTINGS``). Of the
settings, ``access``, ``limits``, ``http.max_body_bytes``, ``http.request_timeout_seconds``, ``http.docs``
and the model's own apply. Limits of rates hold for one environment of the function: API Gateway's
throttling is the one for all of them.
"""

from __future__ import annotations

import asyncio
import json
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from aws_lambda_powertools import Logger

from console import UserError, one_line
from infra.lambdas import events
from infra.lambdas.model import ModelUnavailable, StoreUnreachable, release_of, sealed, source_at, verified
from infra.lambdas.telemetry import EmbeddedMetrics, RefusalLog
from serve.access.authenticator import Authenticator, open_access
from serve.access.authenticator import Everybody as NoKeys
from serve.dataplane import DataPlane, ServedModel
from serve.gateway.admission import Admission, Bounds
from serve.gateway.asgi import Gateway
from serve.gateway.errors import ModelFailed, NotReady, ServeError
from serve.gateway.metrics import Meter
from serve.gateway.transport import encode_json
from serve.gateway.transports import TRANSPORTS, transports
from serve.limits.limiter import Limiter
from serve.placement.inline import Inline
from serve.runtimes import RUNTIMES
from serve.settings import TEXT_VARIABLE, Http, Settings, SettingsText, read_settings, settings_file
from serve.validation import InputSchema

FOLDER = Path("/tmp/serve")  # noqa: S108 - of the environment alone: no other user, no other function

LEFT_SECONDS = 0.25
"""Kept of the invocation's time to write the answer; API Gateway would say 504 otherwise."""

SHORTEST_SECONDS = 0.001
REFRESH_SECONDS = 30.0
"""How long a revoked key goes on, at most. Each look costs a call of Secrets Manager on a request's time."""

RETRY_SECONDS = 10.0
MOST_ANSWER_BYTES = 6 * 2**20 - 64 * 2**10
"""Lambda's limit of 6 MB for an answer, less the headers."""

CLOSED = Http(max_body_bytes=2**20, request_timeout_seconds=10, docs=False)
"""Of a function whose settings can't be read."""


class AnswerTooLarge(ServeError):
    """Raw: ``(bytes, limit)``."""

    status = 413
    grpc_code = "RESOURCE_EXHAUSTED"
    mlflow_code = "BAD_REQUEST"

    def __str__(self) -> str:
        size, limit = self.args
        return f"the answer has {size} bytes, and Lambda gives back at most {limit}: send fewer rows or accept gzip"


class Refusing(DataPlane):
    """No model could be had: what needs one is answered with 503 in its protocol's shape."""

    def model(self, name: str | None = None, version: str | None = None) -> ServedModel:  # noqa: ARG002
        raise NotReady


class Fixed:
    """A function answers from the version that it was deployed with."""

    def __init__(self, logger: Logger) -> None:
        self._logger = logger

    async def load(self, name: str) -> None:
        self._logger.error("model %s: a function's version is changed by deploying it, not by its API", name)
        raise ModelFailed(name)

    async def unload(self, name: str) -> None:
        await self.load(name)


@dataclass(slots=True)
class Opened:
    """What answers. ``again_at``: when to try for a model again, ``None`` if this is final."""

    gateway: Gateway
    admission: Admission
    authenticator: Authenticator
    again_at: float | None = None


class Function:
    """One environment of the function. Its effects: the variables, what makes boto3's clients, the clock."""

    def __init__(
        self,
        environment: Mapping[str, str],
        client: Callable[[str], Any],
        logger: Logger,
        metrics: EmbeddedMetrics,
        *,
        folder: Path = FOLDER,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._environment = environment
        self._client = client
        self._logger = logger
        self._metrics = metrics
        self._folder = folder
        self._clock = clock
        self._meter = Meter()
        self._loop = asyncio.Runner()
        self._opened: Opened | None = None
        self._refresh_at = clock() + REFRESH_SECONDS
        self._cold = True

    def __call__(self, event: object, context: Any) -> dict[str, Any]:
        """Answer one event of API Gateway. ``context`` is Lambda's.

        Raises:
            NotAnHttpEvent: it is something else.
        """
        request = events.read(event)
        if self._cold:
            self._cold = False
            self._metrics.count("cold_starts", 1, {"function": getattr(context, "function_name", "")})
        self._logger.set_correlation_id(dict(request.headers).get(events.REQUEST_ID, b"").decode())
        try:
            return self._loop.run(self._answer(request, context.get_remaining_time_in_millis() / 1000))
        finally:
            self._metrics.flush()

    def close(self) -> None:
        self._loop.close()

    async def _answer(self, request: events.Request, left: float) -> dict[str, Any]:
        began = self._clock()
        opened = await self._ready()
        bounds = opened.admission.bounds
        most = max(SHORTEST_SECONDS, min(bounds.timeout_seconds, left - (self._clock() - began) - LEFT_SECONDS))
        # An environment has one request at a time, so that this one's time may stand in the door's bounds.
        opened.admission.bounds = replace(bounds, timeout_seconds=most)
        try:
            response = await events.ask(opened.gateway, request)
        finally:
            opened.admission.bounds = bounds
        await self._meter.flush(self._metrics)
        written = events.write(response, request.payload)
        # The runtime sends it as JSON, which makes some texts longer: each quote has a backslash more.
        size = len(json.dumps(written["body"]))
        if size > MOST_ANSWER_BYTES:
            written = events.write(_too_large(request, response, size), request.payload)
        return written

    async def _ready(self) -> Opened:
        now = self._clock()
        opened = self._opened
        if opened is None or (opened.again_at is not None and now >= opened.again_at):
            opened = self._opened = await self._open()
        elif now >= self._refresh_at:
            opened.authenticator.refresh()
            self._refresh_at = now + REFRESH_SECONDS
        return opened

    async def _open(self) -> Opened:
        try:
            settings = _settings(self._environment)
            authenticator = open_access(settings.access, on_problem=self._logger.warning)
        except UserError as error:
            self._logger.error("the function can't start: %s", one_line(str(error)))  # noqa: TRY400
            # Nothing is behind this door, so it needs no key.
            return self._behind(Refusing([]), CLOSED, NoKeys(), None)
        limiter = Limiter(
            settings.limits.limits(), {name: model.limits.limits() for name, model in settings.models.items()}
        )
        try:
            plane = await self._loaded(settings)
        except UserError as error:
            self._logger.error("no model is served: %s", one_line(str(error)))  # noqa: TRY400
            opened = self._behind(Refusing([]), settings.http, authenticator, limiter)
            if isinstance(error, StoreUnreachable):
                opened.again_at = self._clock() + RETRY_SECONDS
            return opened
        return self._behind(plane, settings.http, authenticator, limiter)

    async def _loaded(self, settings: Settings) -> DataPlane:
        uri = self._environment.get("MODEL_URI", "")
        source = source_at(uri, lambda: self._client("s3"))
        release = release_of(source, self._environment, self._folder)
        if release.name not in settings.models:
            raise ModelUnavailable(
                f"{uri} is model {release.name}, and the settings serve {', '.join(settings.models)}: "
                "name it under `models`, or deploy another"
            )
        model = settings.models[release.name]
        found = verified(source, release, self._folder / "models")
        schema = InputSchema(
            release.name, found.contract, model.max_rows, ranges=model.ranges, longest_string=model.longest_string
        )
        runtime = RUNTIMES[model.runtime]()
        with sealed(found) as file:
            runtime.load(file, model.threads)
        served = ServedModel(release.name, release.version, schema, Inline(runtime, self._meter.watch(release.name)))
        self._logger.info("model %s version %s is verified and loaded", release.name, release.version)
        plane = DataPlane([served], release.name)
        plane.repository = Fixed(self._logger)
        return plane

    def _behind(self, plane: DataPlane, http: Http, authenticator: Authenticator, limiter: Limiter | None) -> Opened:
        bounds = Bounds(http.max_body_bytes, http.request_timeout_seconds)
        admission = Admission(bounds, authenticator, limiter, clock=self._clock)
        gateway = Gateway(plane, transports(http.docs), admission, self._meter, RefusalLog(self._logger))
        return Opened(gateway, admission, authenticator)


def _settings(environment: Mapping[str, str]) -> Settings:
    """The serving settings. Raises: SettingsError."""
    text = environment.get(TEXT_VARIABLE)
    return read_settings(SettingsText(text, TEXT_VARIABLE) if text else settings_file({}))


def _too_large(request: events.Request, response: events.Response, size: int) -> events.Response:
    error = AnswerTooLarge(size, MOST_ANSWER_BYTES)
    protocols = tuple(TRANSPORTS.values())
    owner = next((found for found in protocols if found.owns(request.path)), protocols[0])
    kept = tuple(header for header in response.headers if header[0] in (b"x-request-id", b"cache-control"))
    headers = ((b"content-type", b"application/json"), *kept)
    return events.Response(error.status, headers, encode_json(owner.error_body(error)))
