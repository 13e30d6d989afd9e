"""What a replica says to an ingress process. JSON travels as it was made, and is read once, where it arrives."""

from __future__ import annotations

from dataclasses import dataclass

from serve.llm.backend import Tokens


@dataclass(frozen=True)
class Chunks:
    """Some chunks of a stream, one JSON text a line, and the tokens of all that came so far.

    ``version``: what answers, where it is a version of the registry.
    """

    lines: bytes
    tokens: Tokens
    version: str = ""


@dataclass(frozen=True)
class Whole:
    """An answer in one document."""

    document: bytes
    version: str = ""


@dataclass(frozen=True)
class Progress:
    """Nothing is to be told yet, and so much has been taken."""

    tokens: Tokens


@dataclass(frozen=True)
class Refused:
    """No answer, or no more of one: the arguments of ``serve.gateway.errors.BackendError``."""

    status: int
    code: str | None
    message: str
    param: str | None = None


@dataclass(frozen=True)
class Full:
    """No answer: it takes no more. ``waiting``: calls that wait already."""

    waiting: int


Message = Chunks | Progress | Whole | Refused | Full
