"""Language models as the gateway's transports see them."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Protocol

from serve.caller import Caller
from serve.context import RequestContext
from serve.llm.backend import Completed, Operation, Stream


class LanguagePlane(Protocol):
    """Names that clients ask for, each behind routes to backends, with budgets and a ledger."""

    def names(self, caller: Caller) -> list[str]:
        """Those that this caller may use, sorted."""
        ...

    async def run(
        self, operation: Operation, body: Mapping[str, Any], context: RequestContext, request_id: str
    ) -> Completed | Stream:
        """Answer a request in OpenAI's JSON, whose ``model`` is the name asked for.

        ``context`` gets ``model`` and, as ``version``, the backend that answered. A stream must be closed by whoever
        iterates it, at its end and where the client has gone: its use is written down then.

        Raises:
            ServeError: Forbidden, before it is said whether there is such a model; ModelNotFound, RateLimited,
                BudgetReached, BackendError, Unavailable…
        """
        ...
