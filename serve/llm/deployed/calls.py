"""A call of a replica, by Serve's handle or over a channel: its messages, and every failure as ours."""

from __future__ import annotations

import logging
from abc import ABC, abstractmethod
from typing import Any

from ray.exceptions import ActorUnavailableError, RayActorError, RayError
from ray.serve.exceptions import BackPressureError, DeploymentUnavailableError

from serve.gateway.errors import BackendError, Overloaded, ServeError, Unavailable
from serve.llm.deployed.messages import Full, Message, Progress, Refused
from serve.llm.deployed.refusals import FAILED

logger = logging.getLogger("ray.serve")


class ReplicaGone(Unavailable):
    """The replica went before it said anything. Raw: ``(backend,)``."""

    def __str__(self) -> str:
        return f"backend {self.args[0]} is not there just now"


def gone(backend: str, *, begun: bool) -> Unavailable:
    """``begun``: something had been said."""
    return Unavailable(f"backend {backend} went while it answered") if begun else ReplicaGone(backend)


def failed(backend: str, what: object) -> BackendError:
    logger.error("backend %s failed: %s", backend, what)
    return BackendError(500, "server_error", FAILED)


def taken(backend: str, message: Message) -> Message | ServeError:
    """The message, or the error that it is."""
    match message:
        case Full(waiting):
            return _overloaded(backend, waiting)
        case Refused(status=503):
            return Unavailable(message.message)
        case Refused():
            return BackendError(message.status, message.code, message.message, message.param)
        case _:
            return message


def _overloaded(backend: str, waiting: int) -> Overloaded:
    return Overloaded(waiting, f"requests for backend {backend}")


class Call(ABC):
    """One call. ``_begun``: something was said; ``_ended``: nothing more will be."""

    def __init__(self, backend: str) -> None:
        self._backend = backend
        self._begun = False
        self._ended = False

    async def next(self) -> Message | None:
        """The next message, ``None`` at the end.

        Raises:
            BackendError: an error was the message, or the replica failed.
            ReplicaGone: it went before it said anything.
            Unavailable: it can't be reached, or takes no more.
        """
        if self._ended:
            return None
        try:
            said = await self._said()
        except BaseException:
            self.cancel()
            raise
        if self._ended:
            # Somebody cancelled it meanwhile.
            return None
        self._ended = said is None or isinstance(said, ServeError)
        if isinstance(said, ServeError):
            raise said
        self._begun = self._begun or not isinstance(said, Progress)
        return said

    def cancel(self) -> None:
        """Stop the work behind it. Nothing after the end."""
        if not self._ended:
            self._ended = True
            self._stop()

    @abstractmethod
    async def _said(self) -> Message | ServeError | None:
        """What comes next; an error, or ``None``, is the last. Where it was cancelled meanwhile, anything."""

    @abstractmethod
    def _stop(self) -> None: ...


class HandleCall(Call):
    """``responses``: of the handle's (Serve's ``DeploymentResponseGenerator``).

    They come by gRPC, which holds up to 6 MiB of a call that nobody reads, and asks its replica for no more.
    """

    def __init__(self, backend: str, responses: Any) -> None:
        super().__init__(backend)
        self._responses = responses

    async def _said(self) -> Message | ServeError | None:
        try:
            return taken(self._backend, await anext(self._responses))
        except StopAsyncIteration:
            return None
        except Exception as error:  # noqa: BLE001 - all of Ray's are mapped
            if self._ended:
                # Ray says that it was cancelled.
                return None
            ours = self._ours(error)
            ours.__cause__ = error
            return ours

    def _stop(self) -> None:
        self._responses.cancel()

    def _ours(self, error: Exception) -> ServeError:
        if isinstance(error, BackPressureError):
            return _overloaded(self._backend, int(error.args[0]))
        if isinstance(error, RayActorError | ActorUnavailableError | DeploymentUnavailableError):
            return gone(self._backend, begun=self._begun)
        if isinstance(error, RayError):
            return failed(self._backend, repr(error))
        return Unavailable(f"backend {self._backend} can't be reached: {type(error).__name__}")
