"""What vLLM says of a request that it doesn't answer, in OpenAI's terms.

Statuses: vLLM's 422 and 501 are 400 here, as at OpenAI. Codes: OpenAI's where it has one for the case.
https://platform.openai.com/docs/guides/error-codes
"""

from __future__ import annotations

import re

from serve.llm.backend import Operation
from serve.llm.deployed.messages import Refused
from serve.llm.deployed.refusals import FAILED, short, too_long

TOO_LONG = re.compile(r"context length|maximum model length|max_model_len|maximum input length", re.IGNORECASE)

VALUE = re.compile(r" \(parameter=.*\)\Z", re.DOTALL)
"""What vLLM puts at the end of an error: the parameter, which an answer has a field for, and its value."""


def refusal(operation: Operation, status: int, message: str, param: str | None = None) -> Refused:
    """vLLM's own error."""
    said = short(without_value(message))
    if status == 503:
        return Refused(503, "server_overloaded", said)
    if status >= 500 and status != 501:
        return Refused(500, "server_error", FAILED)
    if status == 404:
        return Refused(404, "model_not_found", said, "model")
    if TOO_LONG.search(message):
        return too_long(operation, said)
    return Refused(400, "invalid_value" if param else "invalid_request_error", said, param)


def without_value(message: str) -> str:
    return VALUE.sub("", message)
