"""Names of language models, their routes, and what becomes of a request: the plane that the transports call.

A request goes to the routes of the lowest priority first, among equals by weight. Where a backend has no room, is down,
would pass a budget or has not what is asked for, the next one is asked, until the first byte; what is wrong with the
request itself is said at once. Where none answers, that which may answer a moment later is told of before others.
"""

from __future__ import annotations

import random
import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

from serve.caller import Caller
from serve.context import RequestContext
from serve.gateway.errors import (
    BackendError,
    BudgetReached,
    InternalError,
    ModelNotFound,
    RateLimited,
    ServeError,
    Unavailable,
)
from serve.llm.backend import Backend, Body, Completed, Operation, Stream, Tokens, Work
from serve.llm.ledger.cost import AcceleratorTime, Pricing, guessed_input
from serve.llm.prompts.filling import filled
from serve.llm.prompts.lookup import Prompts
from serve.llm.settings import LanguageModel, Route
from serve.llm.use import Ledger, Reservation, Use

PASSING = frozenset({408, 429, 500, 502, 503, 504})
"""What another backend may well answer: the statuses of a server that has no room, or that failed."""

LASTING = frozenset({"unsupported_parameter", "unsupported_operation", "unknown_parameter", BudgetReached.openai_code})
"""OpenAI's codes of what a backend has not, or must not, and another may: some have parameters of their own."""


@dataclass(frozen=True)
class Priced:
    """A backend, and what it costs. ``shared``: the time of its accelerators, where all ingress replicas have them."""

    backend: Backend
    pricing: Pricing
    shared: AcceleratorTime | None = None


class Router:
    """See :class:`serve.llm.plane.LanguagePlane`. ``backends``: by their names in the settings."""

    def __init__(
        self,
        models: Mapping[str, LanguageModel],
        backends: Mapping[str, Priced],
        ledger: Ledger,
        prompts: Prompts,
        *,
        chance: random.Random | None = None,
    ) -> None:
        self._models = models
        self._backends = backends
        self._ledger = ledger
        self._prompts = prompts
        self._chance = chance or random.Random()  # noqa: S311  it spreads load, and keeps no secret

    def names(self, caller: Caller) -> list[str]:
        return sorted(name for name in self._models if caller.may_use(name))

    async def ready(self) -> bool:
        """Whether each name has a backend that would answer."""
        names = {route.backend for model in self._models.values() for route in model.routes}
        able = {name for name in names if await self._backends[name].backend.ready()}
        return all(any(route.backend in able for route in model.routes) for model in self._models.values())

    async def run(
        self, operation: Operation, body: Mapping[str, Any], context: RequestContext, request_id: str
    ) -> Completed | Stream:
        name = str(body["model"])
        context.may_use(name)
        model = self._models.get(name)
        if model is None:
            raise ModelNotFound(name, None, self.names(context.caller))
        context.model = name
        if context.ticket is not None:
            context.ticket.model(name)
        if operation == "chat":
            # Only now: nobody without the right to the model, or past a limit, has it looked up.
            body, template = await filled(body, self._prompts)
            if template is not None:
                context.prompt, context.prompt_version = template.name, template.version
        told: ServeError | None = None
        version = None
        for route in self._ordered(model.routes):
            if told is not None and (gone := context.abandoned()) is not None:
                raise gone
            try:
                return await self._by(route, operation, body, context, request_id)
            except ServeError as error:
                if not _passes(error):
                    raise
                if told is None or _for_a_moment(error) or not _for_a_moment(told):
                    told, version = error, context.version
        context.version = version
        raise told or AssertionError(name)

    async def close(self) -> None:
        for priced in self._backends.values():
            await priced.backend.close()
        self._prompts.close()

    def _ordered(self, routes: Sequence[Route]) -> Iterator[Route]:
        for priority in sorted({route.priority for route in routes}):
            left = [route for route in routes if route.priority == priority]
            while left:
                [chosen] = self._chance.choices(left, [route.weight for route in left])
                left.remove(chosen)
                yield chosen

    async def _by(
        self, route: Route, operation: Operation, body: Body, context: RequestContext, request_id: str
    ) -> Completed | Stream:
        priced = self._backends[route.backend]
        most = priced.pricing.most(operation, body)
        reservation = self._ledger.reserve(
            context.caller.account, str(context.model), most, request_id, context.prompt, context.prompt_version
        )
        await reservation.confirm()
        account = _Account(priced, reservation, most, operation, context, request_id)
        context.version = route.backend
        work = Work(again=account.again)
        try:
            found = await priced.backend.run(operation, {**body, "model": route.adapter or route.backend}, work)
        except BaseException as error:
            account.settle(_taken(work, error, body), _ending(error))
            raise
        account.answered(found.version)
        context.version = found.version or context.version
        if isinstance(found, Completed):
            account.settle(found.tokens, "done")
            return found
        return _Counted(found, account)


class _Account:
    """One request at one backend: what it took goes into the ledger once."""

    def __init__(
        self,
        priced: Priced,
        reservation: Reservation,
        most: float,
        operation: Operation,
        context: RequestContext,
        request_id: str,
    ) -> None:
        self._priced = priced
        self._reservation = reservation
        self._most = most
        self._operation = operation
        self._context = context
        self._request_id = request_id
        self._charge = priced.pricing.begin()
        self._at = datetime.now(UTC)
        self._began = time.monotonic()
        self._enough_until = self._began + priced.pricing.most_seconds
        self._first: float | None = None
        self._settled = False
        self._version: str | None = None

    def answered(self, version: str | None) -> None:
        self._first = time.monotonic() - self._began
        self._version = version

    def again(self) -> None:
        """Raises: BudgetReached."""
        self._reservation.extend(self._most)

    def goes_on(self) -> None:
        """Of a stream that may last longer than was reserved: more is, in time for others to be refused."""
        seconds = self._priced.pricing.most_seconds
        while self._enough_until - time.monotonic() < seconds / 2:
            self._enough_until += seconds
            self._reservation.extend(self._most, anyway=True)

    def settle(self, tokens: Tokens, ended: str) -> None:
        if self._settled:
            return
        self._settled = True
        self._reservation.settle(
            Use(
                request_id=self._request_id,
                at=self._at,
                key=self._context.caller.account,
                model=str(self._context.model),
                backend=self._priced.backend.name + (f"/{self._version}" if self._version else ""),
                operation=self._operation,
                tokens=tokens,
                first_token_seconds=self._first,
                seconds=time.monotonic() - self._began,
                dollars=self._charge.dollars(tokens),
                ended=ended,
                prompt=self._context.prompt,
                prompt_version=self._context.prompt_version,
            )
        )


class _Counted:
    """A stream that is written down when it ends, however it ends."""

    def __init__(self, stream: Stream, account: _Account) -> None:
        self._stream = stream
        self._account = account

    @property
    def tokens(self) -> Tokens:
        return self._stream.tokens

    @property
    def version(self) -> str | None:
        return self._stream.version

    def __aiter__(self) -> _Counted:
        return self

    async def __anext__(self) -> Mapping[str, Any]:
        self._account.goes_on()
        try:
            return await anext(self._stream)
        except StopAsyncIteration:
            self._account.settle(self._stream.tokens, "done")
            raise
        except BaseException as error:
            self._account.settle(self._stream.tokens, _ending(error))
            raise

    async def aclose(self) -> None:
        try:
            await self._stream.aclose()
        finally:
            self._account.settle(self._stream.tokens, "gone")


def _passes(error: ServeError) -> bool:
    """Whether another backend may be asked."""
    return _for_a_moment(error) or _for_longer(error)


def _for_a_moment(error: ServeError) -> bool:
    """Whether the same backend may soon answer the same request."""
    if isinstance(error, BackendError):
        return error.status in PASSING and error.openai_code not in LASTING
    return isinstance(error, Unavailable | RateLimited)


def _for_longer(error: ServeError) -> bool:
    return error.openai_code in LASTING or (isinstance(error, BackendError) and error.of_backend)


def _refused(error: BaseException) -> bool:
    """Whether the request was not worked on."""
    if isinstance(error, BackendError):
        return error.status < 500 and error.status != 408
    return isinstance(error, ServeError) and not isinstance(error, InternalError)


def _taken(work: Work, error: BaseException, body: Body) -> Tokens:
    """What a call without an answer took. Whoever sells answers has read the prompt by then, unless it said that it
    would not."""
    if work.tokens is not None:
        return work.tokens
    return Tokens() if _refused(error) else Tokens(guessed_input(body))


def _ending(error: BaseException) -> str:
    if isinstance(error, ServeError):
        return type(error).__name__
    return InternalError.__name__ if isinstance(error, Exception) else "gone"
