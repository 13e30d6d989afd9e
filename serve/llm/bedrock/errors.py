"""What Bedrock says went wrong → what the client is told, and whether it is worth another try.

Bedrock names an error in a header before an answer (``ThrottlingException``) and in an event within one
(``throttlingException``). Its text goes on to the client where it speaks of the request, and to the log alone where it
speaks of us: it has the role's name and the account in it.

Errors, beside BackendError::

    Failure                     an attempt has failed: never leaves this package
    BackendError
    └── NotOffered              this account has not the model in this region
    Unavailable
    ├── NotReached              Bedrock can't be reached, or has no room
    └── CredentialsRefused      AWS does not take ours, or there are none
"""

from __future__ import annotations

import json
import logging
import re
from collections.abc import Mapping
from dataclasses import dataclass
from enum import Enum

from serve.gateway.errors import BackendError, ServeError, Unavailable
from serve.llm.backend import Tokens

logger = logging.getLogger("ray.serve")

TOO_LONG = re.compile(
    r"too long|maximum (context|number of tokens)|context (window|length)|exceeds? .*tokens", re.IGNORECASE
)
UNKNOWN = re.compile(r"model identifier is invalid", re.IGNORECASE)
SHOWN_CHARACTERS = 500


class Again(Enum):
    """Where the same request may have better luck, as long as nothing of an answer was passed on."""

    HERE = "here"
    ELSEWHERE = "elsewhere"
    NOWHERE = "nowhere"


class Failure(Exception):
    """An attempt has failed. Raw: ``(error, again)``: what to tell if it was the last.

    ``read``: whether the model may have read the prompt by then, which is billed. ``took``: the tokens, where they are
    known better than by a guess.
    """

    def __init__(self, error: ServeError, again: Again, *, read: bool = False, took: Tokens | None = None) -> None:
        super().__init__(error, again)
        self.error = error
        self.again = again
        self.read = read or took is not None
        self.took = took

    def __str__(self) -> str:
        return str(self.error)


class NotOffered(BackendError):
    """The model is not there, or not for us: nothing that is wrong with the request."""

    of_backend = True


class NotReached(Unavailable):
    """No answer could be had. Raw: ``(region, what happened)``."""

    def __str__(self) -> str:
        return f"Bedrock in {self.args[0]}: {self.args[1]}"


class CredentialsRefused(Unavailable):
    """Ours, not the client's. Raw: ``()``."""

    def __str__(self) -> str:
        return "AWS does not take this server's credentials; its log has the reason"


@dataclass(frozen=True, slots=True)
class _Kind:
    """``told``: what the client is told in place of Bedrock's own text, which is logged then. ``error``: its class."""

    status: int
    code: str | None
    again: Again
    told: str | None = None
    error: type[BackendError] = BackendError


_KINDS: Mapping[str, _Kind] = {
    "throttling": _Kind(429, "rate_limit_exceeded", Again.HERE),
    "modelnotready": _Kind(429, "rate_limit_exceeded", Again.HERE),
    "servicequotaexceeded": _Kind(429, "insufficient_quota", Again.ELSEWHERE, "Bedrock's quota for this is used up"),
    "validation": _Kind(400, "invalid_value", Again.NOWHERE),
    "accessdenied": _Kind(
        403, "permission_denied", Again.ELSEWHERE, "Bedrock does not let this server use the model", NotOffered
    ),
    "resourcenotfound": _Kind(
        404, "model_not_found", Again.ELSEWHERE, "Bedrock does not know this model in this region", NotOffered
    ),
    "modeltimeout": _Kind(504, "server_error", Again.NOWHERE),
    "modelerror": _Kind(502, "server_error", Again.NOWHERE),
    "modelstreamerror": _Kind(502, "server_error", Again.NOWHERE),
}

_NOT_NOW = ("internalserver", "serviceunavailable", "internalfailure")
_CREDENTIALS = (
    "unrecognizedclient",
    "invalidsignature",
    "invalidclienttokenid",
    "expiredtoken",
    "missingauthenticationtoken",
    "incompletesignature",
    "signaturedoesnotmatch",
)

_BY_STATUS = {400: "validation", 403: "accessdenied", 404: "resourcenotfound", 408: "modeltimeout", 424: "modelerror"}


def failure(region: str, name: str, message: str, status: int = 500) -> Failure:
    """Of an error's name, which may be one that this table does not have: its status says enough then."""
    key = re.sub(r"(exception|error)$", "", name.lower()) if name else ""
    key = "modelerror" if key == "model" else key
    if key not in _KINDS and key not in _NOT_NOW and key not in _CREDENTIALS:
        key = "throttling" if status == 429 else _BY_STATUS.get(status, "internalserver" if status >= 500 else key)
    if key == "validation" and UNKNOWN.search(message):
        key = "resourcenotfound"
    said = message[:SHOWN_CHARACTERS] or name or f"status {status}"
    if key in _CREDENTIALS:
        logger.warning("bedrock in %s: %s: %s", region, name, said)
        return Failure(CredentialsRefused(), Again.NOWHERE)
    if key in _NOT_NOW:
        return Failure(NotReached(region, said), Again.HERE)
    kind = _KINDS.get(key, _Kind(502, "server_error", Again.NOWHERE))
    if kind.told is not None:
        logger.warning("bedrock in %s: %s: %s", region, name, said)
    code = "context_length_exceeded" if key == "validation" and TOO_LONG.search(message) else kind.code
    return Failure(kind.error(kind.status, code, kind.told or said), kind.again, read=kind.status >= 500)


def refused(region: str, status: int, headers: Mapping[str, str], body: bytes) -> Failure:
    """Of an answer that is not one of 200."""
    try:
        document = json.loads(body)
    except ValueError:
        document = {}
    document = document if isinstance(document, dict) else {}
    # The header may go on with the place of the error's description: ``ThrottlingException:http://…``.
    name = headers.get("x-amzn-errortype") or str(document.get("__type", ""))
    name = name.split(":")[0].rpartition("#")[2]
    message = document.get("message") or document.get("Message") or ""
    return failure(region, name, str(message), status)
