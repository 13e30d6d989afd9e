"""OpenAI's API for language models, as its own clients call it.

The gateway checks what a request may be; what a model can do is for its backend to say.
https://platform.openai.com/docs/api-reference
"""

from __future__ import annotations

from serve.gateway.openai.endpoints import ENDPOINTS
from serve.gateway.openai.problem import error_body
from serve.gateway.transport import Transport

TRANSPORT = Transport(prefixes=("/v1",), endpoints=ENDPOINTS, error_body=error_body)
