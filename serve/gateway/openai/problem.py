"""The tree of errors in OpenAI's terms. https://platform.openai.com/docs/guides/error-codes"""

from __future__ import annotations

from serve.gateway.errors import ServeError

TYPES: dict[int, tuple[str, str | None]] = {
    400: ("invalid_request_error", None),
    401: ("authentication_error", "invalid_api_key"),
    403: ("permission_error", "model_access_denied"),
    404: ("invalid_request_error", "not_found"),
    405: ("invalid_request_error", "method_not_allowed"),
    408: ("timeout_error", "request_timeout"),
    413: ("invalid_request_error", "request_too_large"),
    415: ("invalid_request_error", "unsupported_media_type"),
    422: ("invalid_request_error", None),
    429: ("rate_limit_error", "rate_limit_exceeded"),
    431: ("invalid_request_error", "headers_too_large"),
    503: ("server_error", "service_unavailable"),
}
"""By status: the type, and the code of an error that brings none of its own."""

INTERNAL = ("server_error", None)

OWN_TYPE = frozenset({"insufficient_quota"})
"""Codes that are types as well."""


def error_body(error: ServeError) -> dict[str, object]:
    kind, code = TYPES.get(error.status, INTERNAL)
    code = error.openai_code or code
    if code in OWN_TYPE:
        kind = code
    return {"error": {"message": str(error), "type": kind, "param": error.param, "code": code}}
