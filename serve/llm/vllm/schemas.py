"""What an answer is to be held to, tried before vLLM has it, which compiles it on the event loop and without a limit.

vLLM's own choice of who holds answers is llguidance here, always: it is what they are tried with. Imports vLLM.
"""

from __future__ import annotations

import functools
import json
from contextvars import ContextVar
from typing import Any

from vllm.exceptions import VLLMValidationError
from vllm.v1.structured_output.backend_guidance import serialize_guidance_grammar
from vllm.v1.structured_output.backend_types import StructuredOutputOptions
from vllm.v1.structured_output.request import get_structured_output_key

from serve.llm.backend import Body
from serve.llm.deployed.schemas import Part, Verdicts, faults, said_of

STRICT: ContextVar[bool] = ContextVar("STRICT", default=False)
"""Of the call whose task this is: whether nothing in its schema may be passed over."""


def strict(body: Body) -> bool:
    form = body.get("response_format")
    schema = form.get("json_schema") if isinstance(form, dict) else None
    return isinstance(schema, dict) and schema.get("strict") is True


class Schemas:
    """Those that were tried."""

    def __init__(self) -> None:
        self._verdicts: Verdicts[str] = Verdicts()

    async def check(self, wanted: Any) -> None:
        """``wanted``: vLLM's ``StructuredOutputsParams``, whose schema is told to be lenient unless the call is strict.

        Raises:
            VLLMValidationError: it is wrong, or takes too much.
            SchemasUntried: it can't be tried.
        """
        if wanted.json is not None and not STRICT.get():
            wanted.json = _lenient(wanted.json)
        try:
            kind, text = get_structured_output_key(wanted)
            if kind == StructuredOutputOptions.JSON_OBJECT:
                return
            serialized = serialize_guidance_grammar(kind, text)
        except (ValueError, KeyError, TypeError, AttributeError) as error:
            raise VLLMValidationError(f"what the answer is to be held to can't be read: {error}") from error
        if wrong := await self._verdicts.of(serialized, functools.partial(_tried, serialized)):
            raise VLLMValidationError(wrong)

    def stop(self) -> None:
        self._verdicts.stop()


def _tried(serialized: str) -> str:
    """What is wrong with it; empty where nothing is."""
    found = faults([Part("matcher", "response_format", serialized)])
    return f"the schema {said_of(*found)}" if found is not None else ""


def _lenient(schema: Any) -> Any:
    """Keywords that llguidance does not know are passed over, as OpenAI and others do."""
    if isinstance(schema, str):
        try:
            schema = json.loads(schema)
        except ValueError:
            return schema
    return {"x-guidance": {"lenient": True}, **schema} if isinstance(schema, dict) else schema
