"""A call of a replica, by Serve's handle or over a channel: its messages, and every failure as ours."""

from __future__ import annotations

import logging
from typing import Any, Protocol

from ray.exceptions import ActorUnavailableError, RayActorError, RayError
from ray.serve.exceptions import BackPressureError, DeploymentUnavailableError

from serve.gateway.errors import BackendError, Overloaded, ServeError, Unavailable
from serve.llm.deployed.messages import Full, Message, Refused
from serve.llm.deployed.refusals import FAILED

logger = logging.getLogger("ray.serve")


class ReplicaGone(Unavailable):
    """The replica went before it said anything. Raw: ``(backend,)``."""

    def __str__(self) -> str:
        return f"backend {self.args[0]} is not there just now"


class Call(Protocol):
    async def next(self) -> Message | None:
        """The next message, ``None`` at the end.

        Raises:
            BackendError: an error was the message, or the replica failed.
            ReplicaGone: it went before it said anything.
            Unavailable: it can't be reached, or takes no more.
        """
        ...

    def cancel(self) -> None:
        """Stop the work behind it. Nothing after the end."""
        ...


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


class HandleCall:
    """See :class:`Call`. ``responses``: of the handle's (Serve's ``DeploymentResponseGenerator``)."""

    def __init__(self, backend: str, responses: Any) -> None:
        self._backend = backend
        self._responses = responses
        self._begun = False
        self._ended = False

    async def next(self) -> Message | None:
        if self._ended:
            return None
        try:
            message: Message = await anext(self._responses)
        except StopAsyncIteration:
            self._ended = True
            return None
        except Exception as error:
            if self._ended:
                # Somebody closed it meanwhile, and Ray says so.
                return None
            self._ended = True
            raise self._ours(error) from error
        except BaseException:
            self.cancel()
            raise
        found = taken(self._backend, message)
        if isinstance(found, ServeError):
            self._ended = True
            raise found
        self._begun = True
        return found

    def cancel(self) -> None:
        if not self._ended:
            self._ended = True
            self._responses.cancel()

    def _ours(self, error: Exception) -> ServeError:
        if isinstance(error, BackPressureError):
            return _overloaded(self._backend, int(error.args[0]))
        if isinstance(error, RayActorError | ActorUnavailableError | DeploymentUnavailableError):
            return gone(self._backend, begun=self._begun)
        if isinstance(error, RayError):
            return failed(self._backend, repr(error))
        return Unavailable(f"backend {self._backend} can't be reached: {type(error).__name__}")
