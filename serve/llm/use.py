"""What the use of a language model is, for the ledger."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from typing import Protocol

from serve.llm.backend import Tokens


@dataclass(frozen=True, slots=True)
class Use:
    """One request. ``model``: the name asked for; ``backend``: what answered.

    ``request_id``: the client may have chosen it. ``first_token_seconds`` is ``None`` where none came. ``dollars``:
    ``None`` where its price is not known, which is never told as 0. ``ended``: ``done``, ``gone`` (the client went) or
    an error's name. ``prompt``: the one of the registry that the request was filled from, empty where from none.
    """

    request_id: str
    at: datetime
    key: str
    model: str
    backend: str
    operation: str
    tokens: Tokens
    first_token_seconds: float | None
    seconds: float
    dollars: float | None
    ended: str
    prompt: str = ""
    prompt_version: str = ""


class Reservation(Protocol):
    """Dollars that a running request may come to."""

    async def confirm(self) -> None:
        """Wait, where a budget is nearly spent, for what others took of it: before the request is worked on.

        Raises:
            BudgetReached: nothing is reserved any more.
        """
        ...

    def extend(self, dollars: float, *, anyway: bool = False) -> None:
        """It may come to so much more. ``anyway``: whatever budget it passes, since it is under way.

        Raises:
            BudgetReached: nothing more is reserved then.
        """
        ...

    def settle(self, use: Use) -> None:
        """It has ended: its use takes the reservation's place, in the ledger and in the budgets."""
        ...


class Ledger(Protocol):
    """Keeps use, and refuses what would pass a budget."""

    def reserve(
        self,
        key: str,
        model: str,
        most_dollars: float,
        request_id: str = "",
        prompt: str = "",
        prompt_version: str = "",
    ) -> Reservation:
        """``request_id`` and the prompt stand in the ledger where this process is killed before the request has ended.

        Raises:
            BudgetReached: before the budget is passed; what runs already is counted with what it may come to.
        """
        ...
