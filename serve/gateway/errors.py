"""Everything that can go wrong with a request, each with its HTTP status.

A transport turns these into its protocol's own shape; nothing else leaves the gateway. Arguments go
to ``super().__init__`` raw and are formatted in ``__str__``, so an error survives the way between
two of Ray's processes.

Errors::

    ServeError                       status   MLflow's error code
    ├── BadRequest                   400      BAD_REQUEST
    │   ├── MalformedRequest         400      BAD_REQUEST                not JSON, or not the protocol's shape
    │   └── InputRejected            400      INVALID_PARAMETER_VALUE    not what the contract asks for
    ├── NotFound                     404
    │   ├── PathNotFound             404      ENDPOINT_NOT_FOUND
    │   └── ModelNotFound            404      RESOURCE_DOES_NOT_EXIST    no such model or version
    ├── MethodNotAllowed             405      BAD_REQUEST
    ├── RequestTimeout               408      DEADLINE_EXCEEDED
    ├── BodyTooLarge                 413      BAD_REQUEST
    ├── UnsupportedMediaType         415      BAD_REQUEST
    ├── ClientGone                   499      CANCELLED                  nobody is there to answer
    ├── InternalError                500      INTERNAL_ERROR             a bug of ours, or the runtime failed
    └── Unavailable                  503      TEMPORARILY_UNAVAILABLE
        ├── NotReady                 503      TEMPORARILY_UNAVAILABLE
        └── Overloaded               503      TEMPORARILY_UNAVAILABLE    come back after Retry-After
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import ClassVar

SHOWN_CHARACTERS = 60


def shown(value: object) -> str:
    """A value as an error shows it: ``repr``, cut where it is long."""
    text = repr(value)
    return text if len(text) <= SHOWN_CHARACTERS else f"{text[:SHOWN_CHARACTERS]}…"


class ServeError(Exception):
    """Anything that a request is answered with instead of a result."""

    status: ClassVar[int] = 500
    mlflow_code: ClassVar[str] = "INTERNAL_ERROR"

    @property
    def headers(self) -> tuple[tuple[bytes, bytes], ...]:
        """Response headers that belong to the error."""
        return ()


class BadRequest(ServeError):
    """The client's mistake."""

    status = 400
    mlflow_code = "BAD_REQUEST"


class MalformedRequest(BadRequest):
    """The body is not JSON, or not of the protocol's shape. Raw: ``(reason,)``."""


class InputRejected(BadRequest):
    """A column is not what the contract asks for.

    Raw: ``(model, column, row, expected, came)``; ``row`` counts from 0 and is ``None`` where the
    mistake is the whole column's, ``column`` is ``None`` where it is the whole batch's.
    """

    mlflow_code = "INVALID_PARAMETER_VALUE"

    def __init__(self, model: str, column: str | None, row: int | None, expected: str, came: str) -> None:
        super().__init__(model, column, row, expected, came)
        self.model = model
        self.column = column
        self.row = row
        self.expected = expected
        self.came = came

    def __str__(self) -> str:
        place = [f"column {self.column!r}"] if self.column is not None else []
        place += [f"row {self.row}"] if self.row is not None else []
        return f"{', '.join([f'model {self.model}', *place])}: expected {self.expected}, got {self.came}"


class NotFound(ServeError):
    """There is no such thing here."""

    status = 404
    mlflow_code = "RESOURCE_DOES_NOT_EXIST"


class PathNotFound(NotFound):
    """No transport answers at this path. Raw: ``(path,)``."""

    mlflow_code = "ENDPOINT_NOT_FOUND"

    def __str__(self) -> str:
        return f"nothing is served at {shown(self.args[0])}"


class ModelNotFound(NotFound):
    """No such model, or not this version of it. Raw: ``(model, version, served)``."""

    def __init__(self, model: str, version: str | None, served: Sequence[str]) -> None:
        super().__init__(model, version, tuple(served))

    def __str__(self) -> str:
        model, version, served = self.args
        wanted = f"model {shown(model)}" + (f" version {shown(version)}" if version is not None else "")
        return f"{wanted} is not served here; served: {', '.join(served) or 'none'}"


class MethodNotAllowed(ServeError):
    """Raw: ``(method, allowed)``."""

    status = 405
    mlflow_code = "BAD_REQUEST"

    def __str__(self) -> str:
        return f"method {self.args[0]} is not allowed here, expected {self.args[1]}"

    @property
    def headers(self) -> tuple[tuple[bytes, bytes], ...]:
        return ((b"allow", str(self.args[1]).encode("ascii")),)


class RequestTimeout(ServeError):
    """Raw: ``(seconds,)``."""

    status = 408
    mlflow_code = "DEADLINE_EXCEEDED"

    def __str__(self) -> str:
        return f"the request was not read and answered within {self.args[0]:g} s"


class BodyTooLarge(ServeError):
    """Raw: ``(limit in bytes,)``."""

    status = 413
    mlflow_code = "BAD_REQUEST"

    def __str__(self) -> str:
        return f"the body is larger than {self.args[0]} bytes"

    @property
    def headers(self) -> tuple[tuple[bytes, bytes], ...]:
        # The rest of the body is not read, so this connection can't carry another request.
        return ((b"connection", b"close"),)


class UnsupportedMediaType(ServeError):
    """Raw: ``(header, value, expected)``."""

    status = 415
    mlflow_code = "BAD_REQUEST"

    def __str__(self) -> str:
        return f"{self.args[0]} {shown(self.args[1])} is not understood, expected {self.args[2]}"


class ClientGone(ServeError):
    """The client left before its request was read."""

    status = 499
    mlflow_code = "CANCELLED"

    def __str__(self) -> str:
        return "the client closed the connection"


class InternalError(ServeError):
    """A bug of ours, or the runtime failed. What happened is in the log, not in the answer. Raw: ``()``."""

    def __str__(self) -> str:
        return "the server failed at this request; its log has the reason under this request's x-request-id"


class Unavailable(ServeError):
    """Not now; the same request may succeed later."""

    status = 503
    mlflow_code = "TEMPORARILY_UNAVAILABLE"

    @property
    def headers(self) -> tuple[tuple[bytes, bytes], ...]:
        return ((b"retry-after", b"1"),)


class NotReady(Unavailable):
    def __str__(self) -> str:
        return "not every model is loaded"


class Overloaded(Unavailable):
    """Raw: ``(waiting,)``."""

    def __str__(self) -> str:
        return f"{self.args[0]} large batches are waiting already"
