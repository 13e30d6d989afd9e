"""How this engine's parts refuse a request."""

from __future__ import annotations

from serve.llm.deployed.messages import Refused
from serve.llm.deployed.refusals import short


class Rejected(Exception):
    """The request is not answered. Raw: ``(refused,)``."""

    def __init__(self, refused: Refused) -> None:
        super().__init__(refused)
        self.refused = refused


def rejected(param: str, reason: str, code: str = "invalid_value") -> Rejected:
    return Rejected(Refused(400, code, short(f"{param}: {reason}"), param))
