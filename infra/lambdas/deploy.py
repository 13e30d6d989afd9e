"""``Deploy``: the version of this run becomes the champion, and the ingress answers from it.

Variables: ``MLFLOW_TRACKING_URI`` (http); ``INGRESS_URL`` and ``SECRET_ARN`` (its string is a key with
``admin``) where there is an ingress to tell; ``IDEMPOTENCY_TABLE`` where a second call must do nothing.

Errors::

    StepError
    ├── VersionNotFound        the run has registered no version of the model
    ├── KeyUnusable            the secret holds no key
    ├── LoadRefused            the ingress can't load the version: the alias is what it was
    └── AliasLeft              it can't, and MLflow does not take the alias back: somebody has to
    IngressUnavailable         it does not answer: the alias is what it was; worth another try
"""

from __future__ import annotations

import json
import os
import re
import urllib.parse
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from infra.lambdas.steps import Input, Misconfigured, StepError, aws, given, logger_for, once, variable
from infra.lambdas.tracking import CHAMPION, Open, Tracking, TrackingRefused, TrackingUnavailable, over_http, post

STEP = "deploy"
LOAD_SECONDS = 60.0
"""More than the ingress gives a request (``http.request_timeout_seconds``), so that its own answer comes first."""

KEY = re.compile(r"[\x21-\x7e]{8,4096}")
MODEL = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,127}")
RUN = re.compile(r"[A-Za-z0-9_-]{1,64}")


class VersionNotFound(StepError):
    """The run has registered no version of the model."""


class KeyUnusable(StepError):
    """The secret holds no key."""


class LoadRefused(StepError):
    """The ingress can't load the version."""


class AliasLeft(StepError):
    """The ingress does not have the version that the alias names."""


class IngressUnavailable(Exception):
    """The ingress does not answer."""


@dataclass(frozen=True)
class Ingress:
    """A running ingress. ``key`` gives the key that it takes; it is asked once it is needed, and kept nowhere."""

    url: str
    key: Callable[[], str]
    open: Open = over_http

    def load(self, model: str) -> None:
        """Have it answer from the version that the model's alias names now.

        Raises:
            LoadRefused: with the ingress's reason.
            IngressUnavailable: nothing answers.
        """
        url = f"{self.url.rstrip('/')}/v2/repository/models/{urllib.parse.quote(model, safe='')}/load"
        request = post(url, {}, {"Authorization": f"Bearer {self.key()}"})
        try:
            answer = self.open(request, LOAD_SECONDS)
        except OSError as error:
            raise IngressUnavailable(f"the ingress at {self.url} does not answer: {error}") from error
        if answer.status != 200:
            raise LoadRefused(f"the ingress at {self.url} answered {answer.status}: {_reason(answer.body)}")


def deploy(tracking: Tracking, ingress: Ingress | None, model: str, run: str) -> dict[str, Any]:
    """``{"model", "version", "previous"}``; ``previous`` is the champion before, ``None`` if there was none.

    Raises:
        VersionNotFound, KeyUnusable, LoadRefused, AliasLeft, IngressUnavailable, Misconfigured, TrackingRefused,
            TrackingUnavailable
    """
    if not MODEL.fullmatch(model) or not RUN.fullmatch(run):
        raise Misconfigured(f"expected a model's name and a run's id, got {model!r:.60} and {run!r:.60}")
    versions = tracking.versions_of(model, run)
    if not versions:
        raise VersionNotFound(f"run {run} has registered no version of {model}: Register comes before Deploy")
    version = versions[0]
    before = tracking.alias(model, CHAMPION)
    previous = None if before is None else str(before["version"])
    if previous != version:
        tracking.set_alias(model, CHAMPION, version)
    if ingress is not None:
        try:
            ingress.load(model)
        except Exception as error:
            # The alias says what answers: a version that does not must not keep it.
            _set_back(tracking, model, version, previous, error)
            raise
    return {"model": model, "version": version, "previous": previous}


def _set_back(tracking: Tracking, model: str, version: str, previous: str | None, reason: Exception) -> None:
    try:
        if previous is None:
            tracking.delete_alias(model, CHAMPION)
        elif previous != version:
            tracking.set_alias(model, CHAMPION, previous)
    except (TrackingRefused, TrackingUnavailable) as error:
        raise AliasLeft(
            f"{reason}; and the alias {CHAMPION} of {model} is still on version {version}, was {previous or 'on none'}"
            f": set it back by hand ({error})"
        ) from error


def handler(event: dict[str, Any], context: Any) -> dict[str, Any]:
    """Lambda's entry. ``event``: ``{"model", "run", "execution"}``, and whatever else the state machine hands over."""
    logger = logger_for(STEP, event, context)
    tracking = Tracking(variable(os.environ, "MLFLOW_TRACKING_URI"))
    url = os.environ.get("INGRESS_URL")
    ingress = Ingress(url, lambda: key_in(variable(os.environ, "SECRET_ARN"), aws("secretsmanager"))) if url else None

    def step(given_event: Input) -> dict[str, Any]:
        return deploy(tracking, ingress, given(given_event, "model"), given(given_event, "run"))

    found = once(STEP, step, event, context, os.environ)
    logger.info("deployed", extra={"result": found})
    return found


def key_in(secret: str, client: Any) -> str:
    """The key that a secret of Secrets Manager holds as its string.

    Raises:
        KeyUnusable: it holds something else. The text never has what it holds.
    """
    text = str(client.get_secret_value(SecretId=secret).get("SecretString", "")).strip()
    if not KEY.fullmatch(text):
        raise KeyUnusable(
            f"secret {secret}: expected one key as its string, as `python -m serve keys create` prints it"
        )
    return text


def _reason(body: bytes) -> str:
    try:
        document = json.loads(body)
        text = document["error"]
    except (ValueError, KeyError, TypeError):
        text = body.decode("utf-8", "replace")
    return " ".join(str(text).split())[:300] or "nothing more"
