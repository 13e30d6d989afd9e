"""A deployment with an engine as an ingress process calls it."""

from __future__ import annotations

import asyncio
import logging
import math
import time
from collections import deque
from collections.abc import Mapping
from typing import Any

import orjson
from ray import serve as ray_serve

from serve.gateway.errors import BackendError, Unavailable
from serve.handles import handle_of
from serve.llm.backend import Body, Completed, Operation, Tokens, Work
from serve.llm.deployed.calls import Call, HandleCall, ReplicaGone
from serve.llm.deployed.channel.client import Channels
from serve.llm.deployed.generations import State, generations, serving, states
from serve.llm.deployed.messages import Chunks, Message, Progress, Whole

ATTEMPTS = 3
"""How often a call is made whose replica dies before it says anything."""

PAUSE_SECONDS = 0.1

STATE_SECONDS = 1.0
"""How long it holds that nothing answers, and how long is waited before it is looked whether anything does."""

STALE_SECONDS = 3.0
"""How long what is known of where it runs holds: what is to go is kept for longer (``SETTLE_SECONDS``)."""

logger = logging.getLogger("ray.serve")


class DeployedBackend:
    """See :class:`serve.llm.backend.Backend`.

    ``deployment``: its name. ``application``: the Serve application that it is in, this process's where ``None``.
    ``followed``: it is in one for each version of its model, and the newest that is up is called. ``replicas``: of each
    one; where there is one alone, nothing is to be chosen for a call, and it goes over a channel.
    """

    def __init__(
        self,
        name: str,
        deployment: str,
        *,
        application: str | None = None,
        followed: bool = False,
        replicas: int = 1,
    ) -> None:
        self._name = name
        self._deployment = deployment
        self._followed = followed
        self._application = application
        self._handles: dict[str, Any] = {}
        self._channels = Channels(name, self._handle) if replicas == 1 else None
        self._able: frozenset[str] = frozenset()
        self._looked = -math.inf
        self._looking = asyncio.Lock()
        self._lookup: asyncio.Task[None] | None = None

    @property
    def name(self) -> str:
        return self._name

    async def ready(self) -> bool:
        await self._known(STALE_SECONDS if self._application in self._able else STATE_SECONDS)
        return self._application in self._able

    async def _known(self, seconds: float) -> None:
        """See that what is known is no older."""
        async with self._looking:
            if time.monotonic() - self._looked >= seconds:
                await self._look()
                self._looked = time.monotonic()

    async def _look(self) -> None:
        """One look at a time: Serve's own has no time limit, and each holds a thread."""
        if self._lookup is None:
            self._lookup = asyncio.get_running_loop().create_task(self._read())
        await asyncio.wait({self._lookup}, timeout=STATE_SECONDS)

    async def _read(self) -> None:
        """What is found is taken when it comes, also where nobody waits any more: later it is no longer so."""
        try:
            self._seen(await asyncio.to_thread(states, self._deployment))
        except Exception as error:  # noqa: BLE001 - what was known goes on
            logger.warning("backend %s: its state can't be read: %r", self._name, error)
        finally:
            self._lookup = None

    def _seen(self, found: Mapping[str, State]) -> None:
        self._able = frozenset(name for name, state in found.items() if state.answering)
        if not self._followed:
            self._application = self._own()
        elif (current := serving(generations(found, self._name))) is not None:
            self._application = current.application
        self._handles = {name: handle for name, handle in self._handles.items() if name in found}

    async def run(self, operation: Operation, body: Body, work: Work | None = None) -> Completed | DeployedStream:
        work = work or Work()
        try:
            text = orjson.dumps(dict(body))
        except TypeError as error:
            raise BackendError(400, "invalid_request_error", f"the request can't be passed on: {error}") from error
        for attempt in range(1, ATTEMPTS):
            try:
                return await self._run(operation, text, work)
            except ReplicaGone as error:
                why = error.__cause__ or error
                logger.warning("backend %s: attempt %d of %d: %r", self._name, attempt, ATTEMPTS, why)
                # It may be that it runs elsewhere now.
                self._looked = -math.inf
                await asyncio.sleep(PAUSE_SECONDS * attempt)
        return await self._run(operation, text, work)

    async def close(self) -> None:
        """Serve keeps the handles."""
        if self._channels is not None:
            await self._channels.close()

    async def _run(self, operation: Operation, body: bytes, work: Work) -> Completed | DeployedStream:
        in_vain = work.tokens or Tokens()
        application = await self._where()
        call = self._call(application, operation, body)
        first = await self._first(call, application, work, in_vain)
        if isinstance(first, Chunks):
            return DeployedStream(call, first, in_vain)
        if isinstance(first, Whole):
            document = orjson.loads(first.document)
            return Completed(document, in_vain + _used(document), first.version or None)
        raise Unavailable(f"backend {self._name} said nothing")

    def _own(self) -> str:
        return self._application or str(ray_serve.get_replica_context().app_name)

    async def _where(self) -> str:
        """The application to call: where that changes, never one that may have gone since it was last looked."""
        if not self._followed:
            return self._own()
        await self._known(STATE_SECONDS if self._application is None else STALE_SECONDS)
        if self._application is None:
            raise Unavailable(f"backend {self._name} is not there just now")
        return self._application

    def _handle(self, application: str) -> Any:
        if application not in self._handles:
            self._handles[application] = handle_of(self._deployment, application, stream=True)
        return self._handles[application]

    def _call(self, application: str, operation: Operation, body: bytes) -> Call:
        try:
            if self._channels is not None and (call := self._channels.call(application, operation, body)) is not None:
                return call
            return HandleCall(self._name, self._handle(application).run.remote(operation, body))
        except Exception as error:
            logger.warning("backend %s: there is no deployment to call: %r", self._name, error)
            raise Unavailable(f"backend {self._name} is not there") from error

    async def _first(self, call: Call, application: str, work: Work, in_vain: Tokens) -> Message | None:
        """The first message of an answer. Where no replica runs a handle waits for one, which may take minutes; this
        does not."""
        loop = asyncio.get_running_loop()
        message = loop.create_task(call.next())
        try:
            while True:
                while not (await asyncio.wait({message}, timeout=STATE_SECONDS))[0]:
                    await self._known(STATE_SECONDS)
                    if application not in self._able:
                        # Where another one answers, it is asked.
                        elsewhere = application != self._application
                        missing = Unavailable(f"backend {self._name} is not there")
                        raise ReplicaGone(self._name) if elsewhere else missing
                first = message.result()
                if not isinstance(first, Progress):
                    return first
                work.tokens = in_vain + first.tokens
                message = loop.create_task(call.next())
        except BaseException:
            # Also where the message has come, and whoever waited for it was cancelled in the same moment.
            call.cancel()
            message.cancel()
            raise


class DeployedStream:
    """See :class:`serve.llm.backend.Stream`. ``in_vain``: what replicas took that died before this one answered."""

    def __init__(self, call: Call, first: Chunks, in_vain: Tokens) -> None:
        self._call = call
        self._in_vain = in_vain
        self._waiting: deque[Mapping[str, Any]] = deque()
        self._tokens = Tokens()
        self.version = first.version or None
        self._take(first)

    @property
    def tokens(self) -> Tokens:
        return self._in_vain + self._tokens

    def __aiter__(self) -> DeployedStream:
        return self

    async def __anext__(self) -> Mapping[str, Any]:
        while not self._waiting:
            message = await self._call.next()
            if isinstance(message, Progress):
                self._tokens = message.tokens
                continue
            if not isinstance(message, Chunks):
                raise StopAsyncIteration
            self._take(message)
        return self._waiting.popleft()

    async def aclose(self) -> None:
        self._call.cancel()

    def _take(self, chunks: Chunks) -> None:
        self._waiting.extend(orjson.loads(line) for line in chunks.lines.split(b"\n"))
        self._tokens = chunks.tokens


def _used(document: Mapping[str, Any]) -> Tokens:
    usage = document.get("usage") or {}
    cached = (usage.get("prompt_tokens_details") or {}).get("cached_tokens")
    return Tokens(usage.get("prompt_tokens") or 0, usage.get("completion_tokens") or 0, cached or 0)
