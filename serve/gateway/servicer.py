"""The Open Inference Protocol over gRPC: ``inference.GRPCInferenceService``, through Serve's gRPC ingress.

The same door and the same data plane as HTTP: the key comes as the metadata ``authorization``, the
deadline is the call's own, an error of the tree becomes its gRPC code. Serve calls these methods by
their names.
"""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Iterable
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any, NamedTuple

import grpc  # type: ignore[import-untyped]

from serve.context import RequestContext
from serve.gateway.access_log import Line
from serve.gateway.errors import ClientGone, InternalError, RequestTimeout, ServeError
from serve.gateway.metrics import Served
from serve.gateway.open_inference import grpc_codec
from serve.gateway.open_inference.endpoints import EXTENSIONS, SERVER, server_version
from serve.gateway.open_inference.repository import check_parameters

if TYPE_CHECKING:
    from collections.abc import Iterator

    from serve.replica import IngressReplica

PROTOCOL = "open_inference_grpc"
SERVICE = "inference.GRPCInferenceService"
LONGEST_REQUEST_ID = 128
REQUEST_ID = "request_id"
"""Serve gives each call one and sends it with the answer; the client's own where it sends one by this name."""

Message = Any
Handler = Callable[[RequestContext], Awaitable[Message]]

logger = logging.getLogger("ray.serve")


class Servicer:
    """The service's methods over one replica."""

    def __init__(self, replica: IngressReplica) -> None:
        self._replica = replica

    async def ServerLive(self, _request: Message, grpc_context: Any) -> Message:  # noqa: N802 - the service's names
        async def answer(_: RequestContext) -> Message:
            return grpc_codec.message("ServerLiveResponse", live=self._replica.plane.live)

        return await self._open(grpc_context, "ServerLiveResponse", answer)

    async def ServerReady(self, _request: Message, grpc_context: Any) -> Message:  # noqa: N802
        async def answer(_: RequestContext) -> Message:
            return grpc_codec.message("ServerReadyResponse", ready=self._replica.plane.ready)

        return await self._open(grpc_context, "ServerReadyResponse", answer)

    async def ServerMetadata(self, request: Message, grpc_context: Any) -> Message:  # noqa: N802
        async def answer(_: RequestContext) -> Message:
            return grpc_codec.server_metadata(SERVER, server_version(), EXTENSIONS)

        return await self._answer(grpc_context, request, None, "ServerMetadataResponse", answer)

    async def ModelReady(self, request: Message, grpc_context: Any) -> Message:  # noqa: N802
        async def answer(context: RequestContext) -> Message:
            context.may_use(request.name)
            self._replica.plane.model(request.name, request.version or None)
            return grpc_codec.message("ModelReadyResponse", ready=True)

        return await self._answer(grpc_context, request, request.name, "ModelReadyResponse", answer)

    async def ModelMetadata(self, request: Message, grpc_context: Any) -> Message:  # noqa: N802
        async def answer(_: RequestContext) -> Message:
            model = self._replica.plane.model(request.name, request.version or None)
            return grpc_codec.model_metadata(model.name, model.version, model.metadata)

        return await self._answer(grpc_context, request, request.name, "ModelMetadataResponse", answer)

    async def ModelInfer(self, request: Message, grpc_context: Any) -> Message:  # noqa: N802
        async def answer(context: RequestContext) -> Message:
            return await self._infer(request, context)

        return await self._answer(grpc_context, request, request.model_name, "ModelInferResponse", answer)

    async def ModelStreamInfer(self, requests: Any, grpc_context: Any) -> AsyncIterator[Message]:  # noqa: N802
        """Each request of the stream is one of its own; an error is an answer too, and the stream goes on."""
        async for request in requests:

            async def answer(context: RequestContext, request: Message = request) -> Message:
                return await self._infer(request, context)

            recorder = _Recorder(grpc_context)
            found = await self._answer(recorder, request, request.model_name, "ModelInferResponse", answer)
            yield grpc_codec.message(
                "ModelStreamInferResponse", error_message=recorder.problem or "", infer_response=found
            )

    async def RepositoryIndex(self, request: Message, grpc_context: Any) -> Message:  # noqa: N802
        async def answer(_: RequestContext) -> Message:
            return grpc_codec.repository_index(self._replica.plane.index(), request)

        return await self._answer(grpc_context, request, None, "RepositoryIndexResponse", answer)

    async def RepositoryModelLoad(self, request: Message, grpc_context: Any) -> Message:  # noqa: N802
        async def answer(context: RequestContext) -> Message:
            check_parameters(list(request.parameters))
            await self._replica.plane.load(request.model_name, context)
            return grpc_codec.message("RepositoryModelLoadResponse")

        return await self._answer(grpc_context, request, request.model_name, "RepositoryModelLoadResponse", answer)

    async def RepositoryModelUnload(self, request: Message, grpc_context: Any) -> Message:  # noqa: N802
        async def answer(context: RequestContext) -> Message:
            check_parameters(list(request.parameters))
            await self._replica.plane.unload(request.model_name, context)
            return grpc_codec.message("RepositoryModelUnloadResponse")

        return await self._answer(grpc_context, request, request.model_name, "RepositoryModelUnloadResponse", answer)

    async def _infer(self, request: Message, context: RequestContext) -> Message:
        plane = self._replica.plane
        model = plane.model(request.model_name, request.model_version or None)
        decoded = grpc_codec.decode_request(request)
        if decoded.timeout_seconds is not None:
            context.shorten(decoded.timeout_seconds)
        result = await plane.infer(model.name, model.version, decoded.columns, decoded.outputs, context)
        return grpc_codec.encode_response(result, decoded)

    async def _open(self, grpc_context: Any, empty: str, handler: Handler) -> Message:
        """What an orchestrator asks: no key, no limits."""
        with _coded(grpc_context):
            return await handler(RequestContext())
        return grpc_codec.message(empty)

    async def _answer(
        self, grpc_context: Any, request: Message, model: str | None, empty: str, handler: Handler
    ) -> Message:
        admission = self._replica.admission
        context = RequestContext()
        began = time.perf_counter()
        admission.in_flight += 1
        error: ServeError | None = None
        answered = grpc_codec.message(empty)
        try:
            with _coded(grpc_context) as outcome:
                admission.require_room()
                # The client's own deadline needs no watching: gRPC cancels the call, and its work with it.
                seconds = admission.bounds.timeout_seconds
                try:
                    async with asyncio.timeout(seconds):
                        context = RequestContext(await admission.caller(_authorization(grpc_context)), None, seconds)
                        context.request_id = _request_id(grpc_context)
                        admission.enter(context, model)
                        answered = await handler(context)
                except TimeoutError as late:
                    raise RequestTimeout(seconds) from late
            error = outcome[0] if outcome else None
        except asyncio.CancelledError:
            error = ClientGone()
            raise
        finally:
            admission.in_flight -= 1
            if context.ticket is not None:
                context.ticket.leave()
            call = Call(empty.removesuffix("Response"), grpc_context, request, answered)
            self._record(call, context, error, time.perf_counter() - began)
        return answered

    def _record(self, call: Call, context: RequestContext, error: ServeError | None, seconds: float) -> None:
        code = error.grpc_code if error is not None else "OK"
        reason = type(error).__name__ if error is not None else None
        name, version = context.model or "", context.version or ""
        self._replica.meter.request(Served(PROTOCOL, name, version, code, context.rows, seconds, reason))
        status = error.status if error is not None else 200
        if self._replica.log.wants(status):
            self._replica.log.write(
                Line(
                    _request_id(call.grpc_context) or "-",
                    (_metadata(call.grpc_context.invocation_metadata(), "traceparent") or "")[:55] or None,
                    context.caller.id,
                    PROTOCOL,
                    "POST",
                    f"/{SERVICE}/{call.method}",
                    status,
                    reason,
                    context.model,
                    context.version,
                    context.rows,
                    call.request.ByteSize(),
                    call.answered.ByteSize(),
                    round(seconds, 6),
                )
            )


class Call(NamedTuple):
    """A call of the service, for its line in the access log."""

    method: str
    grpc_context: Any
    request: Message
    answered: Message


class _Recorder:
    """A call's context that keeps an error for the stream's next message instead of ending the call."""

    def __init__(self, grpc_context: Any) -> None:
        self._context = grpc_context
        self.problem: str | None = None

    def __getattr__(self, name: str) -> Any:
        return getattr(self._context, name)

    def set_code(self, _code: grpc.StatusCode) -> None:
        """Not the call's."""

    def set_details(self, details: str) -> None:
        self.problem = details


@contextmanager
def _coded(grpc_context: Any) -> Iterator[list[ServeError]]:
    """An error of the tree becomes the call's code and details; the list has it afterwards."""
    outcome: list[ServeError] = []
    try:
        yield outcome
    except ServeError as error:
        outcome.append(error)
    except Exception:
        logger.exception("a gRPC request failed")
        outcome.append(InternalError())
    if outcome:
        told = outcome[0]
        grpc_context.set_code(grpc.StatusCode[told.grpc_code])
        grpc_context.set_details(str(told))
        if again := [value.decode("ascii") for name, value in told.headers if name == b"retry-after"]:
            # Serve's context keeps the request's id beside it.
            grpc_context.set_trailing_metadata([("retry-after", again[0])])


def _request_id(grpc_context: Any) -> str:
    return (_metadata(grpc_context.trailing_metadata(), REQUEST_ID) or "")[:LONGEST_REQUEST_ID]


def _authorization(grpc_context: Any) -> bytes | None:
    value = _metadata(grpc_context.invocation_metadata(), "authorization")
    return None if value is None else value.encode("utf-8")


def _metadata(pairs: Iterable[tuple[str, str | bytes]], wanted: str) -> str | None:
    for name, value in pairs:
        if name.lower() == wanted:
            return value.decode("utf-8", "replace") if isinstance(value, bytes) else str(value)
    return None
