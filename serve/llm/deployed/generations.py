"""Where a backend runs whose model is followed: each version of it in an application of Serve's own.

Serve's controller keeps them, through its own death too, and nobody else: who calls a backend and who follows its
model's alias (``serve.llm.deployed.follower``) read from it which there are, and need not know of each other.
"""

from __future__ import annotations

import hashlib
import importlib
import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from serve.llm.settings import Deployed
from training.bundle import BundleVersion

DIGEST_DIGITS = 12

APPLICATION = re.compile(rf"(.+)\.([1-9][0-9]*)\.([0-9a-f]{{{DIGEST_DIGITS}}})")

ANSWERING = frozenset({"RUNNING", "UPDATING", "STOPPING", "PENDING_MIGRATION", "RECOVERING"})
"""Serve's states of a replica, also of one whose node is drained and of one that a new controller asks how it is."""

STARTED = frozenset({"RUNNING", "UNHEALTHY"})
"""Serve's states of an application that was up once."""


DELETING = "DELETING"


@dataclass(frozen=True)
class Generation:
    """``number`` ascends. ``digest``: of all that its engines were started with."""

    backend: str
    number: int
    digest: str

    @property
    def application(self) -> str:
        return f"{self.backend}.{self.number}.{self.digest}"

    @classmethod
    def parse(cls, application: str) -> Generation | None:
        """``None``: it is another application."""
        found = APPLICATION.fullmatch(application)
        return cls(found[1], int(found[2]), found[3]) if found is not None else None


@dataclass(frozen=True)
class State:
    """An application. ``answering``: replicas that answer, also those that are to go. ``deployed``: Unix seconds."""

    status: str
    answering: int
    message: str
    deployed: float

    @property
    def going(self) -> bool:
        return self.status == DELETING


def digest_of(settings: Deployed, model: BundleVersion, deployed: str) -> str:
    """Adapters are none of it: engines follow theirs. ``deployed``: another text for each time that the service is
    deployed, which starts all of it anew.
    """
    text = f"{deployed} {settings.model_dump_json()} {model.name} {model.version} {model.manifest_digest}"
    return hashlib.sha256(text.encode()).hexdigest()[:DIGEST_DIGITS]


def going(application: str) -> bool:
    """Whether an application is ended, or has been."""
    found = _applications().get(application)
    return found is None or found["status"] == DELETING


def states(deployment: str) -> dict[str, State]:
    """All applications, with their deployment of this name. Raises what Serve does where its controller is away."""
    found = {}
    for name, application in _applications().items():
        here = application["deployments"].get(deployment, {})
        answering = sum(replica["state"] in ANSWERING for replica in here.get("replicas", ()))
        message = here.get("message") or application["message"]
        found[name] = State(application["status"], answering, message, application["last_deployed_time_s"])
    return found


def _applications() -> Mapping[str, Mapping[str, Any]]:
    """What ``ray.serve.status()`` makes its answer of; that takes as long as a hundred tokens on their way."""
    context: Any = importlib.import_module("ray.serve.context")
    client = context._get_global_client(raise_if_no_controller_running=False)
    found: Mapping[str, Mapping[str, Any]] = client.get_serve_details()["applications"] if client is not None else {}
    return found


def generations(found: Mapping[str, State], backend: str) -> dict[Generation, State]:
    """Those of a backend."""
    parsed = ((Generation.parse(name), state) for name, state in found.items())
    return {each: state for each, state in parsed if each is not None and each.backend == backend}


def serving(found: Mapping[Generation, State]) -> Generation | None:
    """The one that requests go to: the newest that was up and answers."""
    answering = [each for each, state in found.items() if state.status in STARTED and state.answering]
    return max(answering, key=lambda each: each.number, default=None)
