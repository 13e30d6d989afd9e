"""Everything that can go wrong with a request, each with its HTTP status.

A transport turns these into its protocol's own shape; nothing else leaves the gateway. Arguments go
to ``super().__init__`` raw and are formatted in ``__str__``, so an error survives the way between
two of Ray's processes.

Errors::

    ServeError                       status   gRPC's code          MLflow's error code
    ├── BadRequest                   400      INVALID_ARGUMENT     BAD_REQUEST
    │   ├── MalformedRequest         400      INVALID_ARGUMENT     BAD_REQUEST              not the protocol's shape
    │   ├── InputRejected            400      INVALID_ARGUMENT     INVALID_PARAMETER_VALUE  not what the contract asks
    │   └── ParameterRejected        400      INVALID_ARGUMENT     INVALID_PARAMETER_VALUE  not what may be asked for
    ├── Unauthenticated              401      UNAUTHENTICATED      UNAUTHENTICATED          no key, or not a good one
    ├── Forbidden                    403      PERMISSION_DENIED    PERMISSION_DENIED        this key may not do this
    ├── NotFound                     404      NOT_FOUND            RESOURCE_DOES_NOT_EXIST
    │   ├── PathNotFound             404      UNIMPLEMENTED        ENDPOINT_NOT_FOUND
    │   └── ModelNotFound            404      NOT_FOUND            RESOURCE_DOES_NOT_EXIST  no such model or version
    ├── MethodNotAllowed             405      UNIMPLEMENTED        BAD_REQUEST
    ├── RequestTimeout               408      DEADLINE_EXCEEDED    DEADLINE_EXCEEDED
    ├── BodyTooLarge                 413      RESOURCE_EXHAUSTED   BAD_REQUEST
    ├── UnsupportedMediaType         415      INVALID_ARGUMENT     BAD_REQUEST
    ├── RateLimited                  429      RESOURCE_EXHAUSTED   REQUEST_LIMIT_EXCEEDED   after Retry-After again
    ├── BudgetReached                429      RESOURCE_EXHAUSTED   REQUEST_LIMIT_EXCEEDED   no dollars are left
    ├── HeadersTooLarge              431      RESOURCE_EXHAUSTED   BAD_REQUEST
    ├── ClientGone                   499      CANCELLED            CANCELLED                nobody is there to answer
    ├── InternalError                500      INTERNAL             INTERNAL_ERROR           a bug of ours
    ├── BackendError                 502      INTERNAL             INTERNAL_ERROR           or as a model's server says
    └── Unavailable                  503      UNAVAILABLE          TEMPORARILY_UNAVAILABLE
        ├── NotReady                 503      UNAVAILABLE          TEMPORARILY_UNAVAILABLE  not loaded, or not now
        ├── Overloaded               503      UNAVAILABLE          TEMPORARILY_UNAVAILABLE  after Retry-After again
        └── ModelFailed              503      UNAVAILABLE          TEMPORARILY_UNAVAILABLE  its runtime failed
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import ClassVar

SHOWN_CHARACTERS = 60


def shown(value: object) -> str:
    """A value as an error shows it: ``repr``, cut where it is long."""
    try:
        text = repr(value)
    except RecursionError:
        return f"a {type(value).__name__} that is nested too deeply"
    return text if len(text) <= SHOWN_CHARACTERS else f"{text[:SHOWN_CHARACTERS]}…"


class ServeError(Exception):
    """Anything that a request is answered with instead of a result."""

    status: int = 500
    grpc_code: ClassVar[str] = "INTERNAL"
    mlflow_code: ClassVar[str] = "INTERNAL_ERROR"
    openai_code: str | None = None
    param: str | None = None
    """The parameter of a request in OpenAI's protocol that it speaks of."""

    @property
    def headers(self) -> tuple[tuple[bytes, bytes], ...]:
        """Response headers that belong to the error."""
        return ()


class BadRequest(ServeError):
    """The client's mistake."""

    status = 400
    grpc_code = "INVALID_ARGUMENT"
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


class ParameterRejected(BadRequest):
    """A parameter of a request to a language model is not one that may be asked for.

    Raw: ``(param, reason, code)``; ``code`` is OpenAI's.
    """

    mlflow_code = "INVALID_PARAMETER_VALUE"

    def __init__(self, param: str, reason: str, code: str = "invalid_value") -> None:
        super().__init__(param, reason, code)
        self.param = param
        self.openai_code = code

    def __str__(self) -> str:
        return f"{self.args[0]}: {self.args[1]}"


class Unauthenticated(ServeError):
    """No key came, or not a good one. Raw: ``(reason,)``; the reason never quotes the key."""

    status = 401
    grpc_code = "UNAUTHENTICATED"
    mlflow_code = "UNAUTHENTICATED"

    @property
    def headers(self) -> tuple[tuple[bytes, bytes], ...]:
        return ((b"www-authenticate", b"Bearer"),)


class Forbidden(ServeError):
    """Whoever calls is known, and may not do this. Raw: ``(caller, what)``."""

    status = 403
    grpc_code = "PERMISSION_DENIED"
    mlflow_code = "PERMISSION_DENIED"

    def __str__(self) -> str:
        return f"{self.args[0]} may not {self.args[1]}"


class NotFound(ServeError):
    """There is no such thing here."""

    status = 404
    grpc_code = "NOT_FOUND"
    mlflow_code = "RESOURCE_DOES_NOT_EXIST"


class PathNotFound(NotFound):
    """No transport answers at this path. Raw: ``(path,)``."""

    grpc_code = "UNIMPLEMENTED"
    mlflow_code = "ENDPOINT_NOT_FOUND"

    def __str__(self) -> str:
        return f"nothing is served at {shown(self.args[0])}"


class ModelNotFound(NotFound):
    """No such model, or not this version of it. Raw: ``(model, version, served)``."""

    openai_code = "model_not_found"

    def __init__(self, model: str, version: str | None, served: Sequence[str]) -> None:
        super().__init__(model, version, tuple(served))

    def __str__(self) -> str:
        model, version, served = self.args
        wanted = f"model {shown(model)}" + (f" version {shown(version)}" if version is not None else "")
        return f"{wanted} is not served here; served: {', '.join(served) or 'none'}"


class MethodNotAllowed(ServeError):
    """Raw: ``(method, allowed)``."""

    status = 405
    grpc_code = "UNIMPLEMENTED"
    mlflow_code = "BAD_REQUEST"

    def __str__(self) -> str:
        return f"method {self.args[0]} is not allowed here, expected {self.args[1]}"

    @property
    def headers(self) -> tuple[tuple[bytes, bytes], ...]:
        return ((b"allow", str(self.args[1]).encode("ascii")),)


class RequestTimeout(ServeError):
    """Raw: ``(seconds,)``."""

    status = 408
    grpc_code = "DEADLINE_EXCEEDED"
    mlflow_code = "DEADLINE_EXCEEDED"

    def __str__(self) -> str:
        return f"the request was not read and answered within {self.args[0]:g} s"


class BodyTooLarge(ServeError):
    """Raw: ``(limit in bytes,)``."""

    status = 413
    grpc_code = "RESOURCE_EXHAUSTED"
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
    grpc_code = "INVALID_ARGUMENT"
    mlflow_code = "BAD_REQUEST"

    def __str__(self) -> str:
        return f"{self.args[0]} {shown(self.args[1])} is not understood, expected {self.args[2]}"


class RateLimited(ServeError):
    """A limit of the key or of the model is reached.

    Raw: ``(whose, limit, retry_after)``: ``whose`` is ``"key reports"`` or ``"model parcels"``, ``limit``
    says which with its number and unit, ``retry_after`` is in seconds.
    """

    status = 429
    grpc_code = "RESOURCE_EXHAUSTED"
    mlflow_code = "REQUEST_LIMIT_EXCEEDED"

    def __init__(self, whose: str, limit: str, retry_after: float) -> None:
        super().__init__(whose, limit, retry_after)

    def __str__(self) -> str:
        whose, limit, retry_after = self.args
        return f"{whose}: the limit of {limit} is reached; try again in {retry_after:.3g} s"

    @property
    def headers(self) -> tuple[tuple[bytes, bytes], ...]:
        return ((b"retry-after", str(max(1, math.ceil(self.args[2]))).encode("ascii")),)


NO_RETRY = ((b"x-should-retry", b"false"),)
"""OpenAI's clients retry each 429 that does not say so."""


class BudgetReached(ServeError):
    """A budget of the key or of the model would be passed.

    Raw: ``(whose, limit, until)``: ``limit`` says which with its dollars, ``until`` when it begins anew.
    """

    status = 429
    grpc_code = "RESOURCE_EXHAUSTED"
    mlflow_code = "REQUEST_LIMIT_EXCEEDED"
    openai_code = "insufficient_quota"

    def __init__(self, whose: str, limit: str, until: str) -> None:
        super().__init__(whose, limit, until)

    @property
    def headers(self) -> tuple[tuple[bytes, bytes], ...]:
        return NO_RETRY

    def __str__(self) -> str:
        whose, limit, until = self.args
        return f"{whose}: the budget of {limit} would be passed; it begins anew {until}"


class HeadersTooLarge(ServeError):
    """Raw: ``(limit in bytes,)``."""

    status = 431
    grpc_code = "RESOURCE_EXHAUSTED"
    mlflow_code = "BAD_REQUEST"

    def __str__(self) -> str:
        return f"the headers are larger than {self.args[0]} bytes"


class ClientGone(ServeError):
    """The client left before its request was read."""

    status = 499
    grpc_code = "CANCELLED"
    mlflow_code = "CANCELLED"

    def __str__(self) -> str:
        return "the client closed the connection"


class InternalError(ServeError):
    """A bug of ours. What happened is in the log, not in the answer. Raw: ``()``."""

    def __str__(self) -> str:
        return "the server failed at this request; its log has the reason under this request's x-request-id"


class BackendError(ServeError):
    """What the server of a language model says of a request, in OpenAI's terms.

    Raw: ``(status, code, message, param)``: the HTTP status for the client, OpenAI's code or ``None``, the text, and
    the parameter that it speaks of or ``None``.

    ``of_backend``: it says something of the backend alone, so another one may well answer.
    """

    status = 502
    of_backend = False

    def __init__(self, status: int, code: str | None, message: str, param: str | None = None) -> None:
        super().__init__(status, code, message, param)
        self.status = status
        self.openai_code = code
        self.param = param

    @property
    def headers(self) -> tuple[tuple[bytes, bytes], ...]:
        if self.openai_code == BudgetReached.openai_code:
            return NO_RETRY
        return ((b"retry-after", b"1"),) if self.status in (429, 503) else ()

    def __str__(self) -> str:
        return str(self.args[2])


class Unavailable(ServeError):
    """Not now; the same request may succeed later."""

    status = 503
    grpc_code = "UNAVAILABLE"
    mlflow_code = "TEMPORARILY_UNAVAILABLE"

    @property
    def headers(self) -> tuple[tuple[bytes, bytes], ...]:
        return ((b"retry-after", b"1"),)


class NotReady(Unavailable):
    """Raw: ``()``, or ``(model,)``."""

    def __str__(self) -> str:
        return f"model {self.args[0]} is not ready" if self.args else "not every model is loaded"


class Overloaded(Unavailable):
    """More is waiting than may. Raw: ``(waiting, what)``, such as ``(16, "large batches")``."""

    def __init__(self, waiting: int, what: str = "large batches") -> None:
        super().__init__(waiting, what)

    def __str__(self) -> str:
        return f"{self.args[0]} {self.args[1]} are waiting already"


class ModelFailed(Unavailable):
    """The runtime failed at inputs that keep to the contract. What happened is in the log. Raw: ``(model,)``."""

    def __str__(self) -> str:
        return f"model {self.args[0]} failed at this request; the log has the reason under its x-request-id"

    @property
    def headers(self) -> tuple[tuple[bytes, bytes], ...]:
        # It may well fail again: nothing says that waiting helps.
        return ()
