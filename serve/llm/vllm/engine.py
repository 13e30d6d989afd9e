"""An in-process vLLM engine behind vLLM's own OpenAI layer. Imports vLLM: for a replica alone."""

from __future__ import annotations

import json
import types
import uuid
from collections.abc import AsyncIterator, Callable, Mapping
from contextlib import aclosing
from contextvars import ContextVar
from pathlib import Path
from typing import Any

from fastapi.responses import JSONResponse
from pydantic import TypeAdapter, ValidationError
from starlette.datastructures import State
from vllm.engine.arg_utils import AsyncEngineArgs
from vllm.entrypoints.launchers.api_server.app_state import init_app_state
from vllm.entrypoints.launchers.cli_args import make_arg_parser, validate_parsed_serve_args
from vllm.entrypoints.openai.chat_completion.protocol import ChatCompletionRequest
from vllm.entrypoints.openai.completion.protocol import CompletionRequest
from vllm.entrypoints.pooling.embed.protocol import EmbeddingRequest
from vllm.entrypoints.serve import create_error_response
from vllm.entrypoints.serve.engine.protocol import ErrorInfo, ErrorResponse
from vllm.entrypoints.serve.exception_handling.handlers.validation import clean_loc_for_param
from vllm.entrypoints.serve.lora.protocol import LoadLoRAAdapterRequest, UnloadLoRAAdapterRequest
from vllm.exceptions import VLLMValidationError
from vllm.logger import init_logger
from vllm.sampling_params import RequestOutputKind
from vllm.usage.usage_lib import UsageContext
from vllm.utils.argparse_utils import FlexibleArgumentParser
from vllm.v1.engine.async_llm import AsyncLLM
from vllm.v1.engine.exceptions import EngineDeadError
from vllm.v1.metrics.ray_wrappers import RayPrometheusStatLogger

from serve.llm.backend import Body, Operation, Tokens
from serve.llm.deployed.engine import AdapterRefused, EngineSettingsError, Tally
from serve.llm.deployed.messages import Refused, Whole
from serve.llm.deployed.refusals import GONE, not_done, objection, rejection
from serve.llm.vllm.liveness import Liveness
from serve.llm.vllm.refusals import refusal, without_value
from serve.llm.vllm.request import misshapen, translated, unknown
from serve.llm.vllm.schemas import STRICT, Schemas, strict

EVENT = "data: "
DONE = "[DONE]"

JSON_ENCODINGS = ("float", "base64")

REQUESTS: Mapping[Operation, TypeAdapter[Any]] = {
    "chat": TypeAdapter(ChatCompletionRequest),
    "completions": TypeAdapter(CompletionRequest),
    "embeddings": TypeAdapter(EmbeddingRequest),
}

logger = init_logger(__name__)


TALLY: ContextVar[Tally | None] = ContextVar("TALLY", default=None)
"""Of the call whose task this is. An aborted call reports no usage, and chunks may hold tokens back."""


def _checked_and_counted(engine: Any, schemas: Schemas) -> Callable[..., AsyncIterator[Any]]:
    """The engine's ``generate``, to which all of vLLM's own layer comes down."""
    generate, processor = engine.generate, engine.output_processor

    async def counting(prompt: Any, parameters: Any, request_id: str, **named: Any) -> AsyncIterator[Any]:
        tally = TALLY.get() or Tally()
        if parameters.structured_outputs is not None:
            await schemas.check(parameters.structured_outputs)
        if parameters.output_kind == RequestOutputKind.FINAL_ONLY:
            tally.unfinished[request_id] = _unfinished(processor, request_id)
        # Closed here and now, and not when it happens to be collected: that is what aborts it in the engine.
        async with aclosing(generate(prompt, parameters, request_id, **named)) as outputs:
            async for output in outputs:
                tally.unfinished.pop(request_id, None)
                _note(tally, output)
                yield output

    return counting


def _unfinished(processor: Any, request_id: str) -> Callable[[], Tokens]:
    """What reads the tokens of a request of which vLLM tells nothing before its end."""
    inputs = cached = 0
    outputs: dict[str, int] = {}

    def read() -> Tokens:
        nonlocal inputs, cached
        # Each of its choices is a request of its own, and is forgotten when it has ended.
        for name in processor.external_req_ids.get(request_id, ()):
            if (state := processor.request_states.get(name)) is not None and not state.is_prefilling:
                inputs, cached = state.prompt_len, max(cached, state.num_cached_tokens or 0)
                outputs[name] = state.detokenizer.num_output_tokens()
        return Tokens(inputs, sum(outputs.values()), cached)

    return read


def _note(tally: Tally, output: Any) -> None:
    tally.inputs[output.request_id] = len(output.prompt_token_ids or ())
    # With the first output alone: later ones of the same prompt don't say it again.
    tally.cached.setdefault(output.request_id, output.num_cached_tokens or 0)
    tally.output += sum(len(choice.token_ids) for choice in output.outputs)


class VllmEngine:
    """See :class:`serve.llm.deployed.engine.Engine`. Made by :meth:`start`, on the event loop that it runs on."""

    def __init__(self, engine: Any, state: Any, schemas: Schemas, stall_seconds: float) -> None:
        self._engine = engine
        self._liveness = Liveness(engine.is_sleeping, stall_seconds)
        self._schemas = schemas
        self._models = state.openai_serving_models
        self._chat = getattr(state, "openai_serving_chat", None)
        self._completions = getattr(state, "openai_serving_completion", None)
        self._embeddings = getattr(state, "serving_embedding", None)

    @classmethod
    async def start(cls, name: str, words: list[str], stall_seconds: float) -> VllmEngine:
        """Load the model. It blocks, for as long as that takes.

        ``words``: of vLLM's command line. ``stall_seconds``: how long the engine may take nothing before it is held to
        hang.

        Raises:
            EngineSettingsError: vLLM does not take these arguments.
        """
        try:
            arguments = make_arg_parser(FlexibleArgumentParser(prog=name)).parse_args(words)
            validate_parsed_serve_args(arguments)
            config = AsyncEngineArgs.from_cli_args(arguments).create_engine_config(
                usage_context=UsageContext.OPENAI_API_SERVER
            )
        except SystemExit as error:
            # vLLM's parser has said on standard error which one.
            # Its names alone: a value may be a token.
            given = " ".join(each.partition("=")[0] for each in words if each.startswith("--"))
            raise EngineSettingsError(name, f"vLLM does not take one of the arguments {given}") from error
        except (ValueError, TypeError) as error:
            raise EngineSettingsError(name, f"vLLM does not take the settings: {error}") from error
        engine: Any = AsyncLLM.from_vllm_config(
            config, usage_context=UsageContext.OPENAI_API_SERVER, stat_loggers=[RayPrometheusStatLogger]
        )
        schemas = Schemas()
        engine.generate = _checked_and_counted(engine, schemas)
        state = State()
        await init_app_state(engine, state, arguments, await engine.get_supported_tasks())
        return cls(engine, state, schemas, stall_seconds)

    async def answer(
        self, operation: Operation, body: Body, tally: Tally
    ) -> Whole | Refused | AsyncIterator[str | Refused]:
        # Of the caller's task, which a stream is read in too.
        TALLY.set(tally)
        STRICT.set(strict(body))
        try:
            return await self._answer(operation, body)
        except ValidationError as error:
            return _rejected(error)
        except RecursionError:
            return refusal(operation, 400, "the request is nested too deeply")
        except EngineDeadError:
            return Refused(503, None, GONE)
        except Exception as error:  # noqa: BLE001 - vLLM's own layer knows which of them are the client's mistakes
            return self._refused(operation, create_error_response(error).error, error)

    def running(self) -> int:
        count: int = self._engine.get_num_unfinished_requests()
        return count

    async def check_health(self) -> None:
        await self._engine.check_health()
        self._liveness.check()

    def shutdown(self) -> None:
        self._schemas.stop()
        self._engine.shutdown()

    async def load_adapter(self, name: str, folder: Path) -> None:
        """Raises: AdapterRefused: it is none, or another model's."""
        self._taken(await self._models.load_lora_adapter(LoadLoRAAdapterRequest(lora_name=name, lora_path=str(folder))))

    async def unload_adapter(self, name: str) -> None:
        """Raises: AdapterRefused: there is none of this name."""
        lora = self._models.lora_requests.get(name)
        self._taken(await self._models.unload_lora_adapter(UnloadLoRAAdapterRequest(lora_name=name)))
        await self._engine.remove_lora(lora.lora_int_id)

    @staticmethod
    def _taken(found: Any) -> None:
        if isinstance(found, ErrorResponse):
            raise AdapterRefused(found.error.message)

    async def _answer(self, operation: Operation, body: Body) -> Whole | Refused | AsyncIterator[str | Refused]:
        handler = {"chat": self._chat, "completions": self._completions, "embeddings": self._embeddings}[operation]
        if handler is None:
            return not_done(operation)
        if (objected := misshapen(operation, body) or objection(operation, body)) is not None:
            return objected
        # Two requests of one id would be mixed up, and clients don't choose the engine's.
        request = REQUESTS[operation].validate_python({**translated(body), "request_id": uuid.uuid4().hex})
        if (unheard := unknown(request.model_extra or {}, body)) is not None:
            return unheard
        if operation == "embeddings":
            if request.encoding_format not in JSON_ENCODINGS:
                return Refused(400, "invalid_value", f"expected one of {JSON_ENCODINGS}", "encoding_format")
            found = await handler(request)
        elif operation == "chat":
            found = await handler.create_chat_completion(request)
        else:
            found = await handler.create_completion(request)
        if isinstance(found, ErrorResponse):
            return self._refused(operation, found.error)
        if isinstance(found, JSONResponse):
            return Whole(bytes(found.body))
        if isinstance(found, types.AsyncGeneratorType):
            return self._texts(operation, found)
        return Whole(found.model_dump_json().encode())

    async def _texts(self, operation: Operation, events: Any) -> AsyncIterator[str | Refused]:
        async with aclosing(events):
            async for event in events:
                text = event.removeprefix(EVENT).rstrip()
                if text == DONE:
                    return
                if text.startswith('{"error"'):
                    yield self._refused(operation, ErrorResponse(**json.loads(text)).error)
                    return
                yield text

    def _refused(self, operation: Operation, error: ErrorInfo, cause: Exception | None = None) -> Refused:
        if self._engine.errored:
            return Refused(503, None, GONE)
        if error.code >= 500:
            logger.error("a request for %s failed: %s", operation, error.message, exc_info=cause)
        return refusal(operation, error.code, error.message, error.param)


def _rejected(error: ValidationError) -> Refused:
    first = error.errors(include_url=False, include_input=False)[0]
    first["msg"] = without_value(first["msg"])
    cause = first.get("ctx", {}).get("error")
    if isinstance(cause, VLLMValidationError):
        return rejection(first, cause.parameter)
    # Where pydantic tries several classes it puts their names into the place of an error.
    location = tuple(part for part in first["loc"] if not (isinstance(part, str) and part[:1].isupper()))
    return rejection(first, clean_loc_for_param(location) if location else None)
