"""The fields ``prompt`` and ``variables`` of a chat request: what they may be, and what becomes of them.

They are this project's own; OpenAI's client sends them by ``extra_body``.
"""

from __future__ import annotations

from typing import Any

from serve.gateway.errors import ParameterRejected, shown
from serve.llm.backend import Body
from serve.llm.prompts.lookup import Prompts
from serve.llm.prompts.template import Template
from training.prompts import Address

EXPECTED = "expected NAME@ALIAS or NAME/VERSION"


async def filled(body: Body, prompts: Prompts) -> tuple[dict[str, Any], Template | None]:
    """A chat's body as a backend takes it, the prompt's messages before its own; and the version, if it names one.

    Raises:
        ParameterRejected, PromptNotFound, Unavailable: see :meth:`Prompts.template` and :meth:`Template.fill`.
    """
    plain = dict(body)
    prompt, variables = plain.pop("prompt", None), plain.pop("variables", None)
    if variables is not None and type(variables) is not dict:
        raise ParameterRejected("variables", f"expected an object, got {shown(variables)}", "invalid_type")
    if prompt is None:
        if variables:
            raise ParameterRejected("variables", "expected none where prompt names none")
        return plain, None
    if type(prompt) is not str:
        raise ParameterRejected("prompt", f"{EXPECTED}, got {shown(prompt)}", "invalid_type")
    address = Address.parse(prompt)
    if address is None:
        raise ParameterRejected("prompt", f"{EXPECTED}, got {shown(prompt)}")
    messages = plain.get("messages")
    if messages is not None and type(messages) is not list:
        raise ParameterRejected("messages", f"expected an array, got {shown(messages)}", "invalid_type")
    template = await prompts.template(address)
    return {**plain, "messages": [*template.fill(variables or {}), *(messages or [])]}, template
