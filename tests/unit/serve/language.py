"""A plane of language models that answers what a test says, and the gateway over it behind a real HTTP server."""

from __future__ import annotations

import asyncio
import json
import threading
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import openai
import uvicorn
from starlette.types import ASGIApp

from serve.caller import Caller, Limits
from serve.context import RequestContext
from serve.dataplane import DataPlane
from serve.gateway.access_log import AccessLog
from serve.gateway.admission import Admission, Bounds
from serve.gateway.asgi import Gateway
from serve.gateway.errors import ModelNotFound, Unauthenticated
from serve.gateway.metrics import Meter, Served
from serve.gateway.transports import transports
from serve.limits.limiter import Limiter
from serve.llm.backend import Completed, Operation, Stream, Tokens

Step = Mapping[str, Any] | float | threading.Event | Exception
"""A chunk, a pause in seconds or until something is set, or what is raised."""

WORDS = ("A", " parcel", " is", " late", "é\u2028")
MESSAGES = [{"role": "user", "content": "What is late?"}]
USAGE = {"prompt_tokens": 5, "completion_tokens": 5, "total_tokens": 10}
SECONDS = 30.0


def chunk(delta: dict[str, Any] | None, finish: str | None = None, **more: object) -> dict[str, Any]:
    choices = [] if delta is None else [{"index": 0, "delta": delta, "finish_reason": finish}]
    head = {"id": "chatcmpl-1", "object": "chat.completion.chunk", "created": 1, "model": "backend-7"}
    return {**head, "choices": choices, **more}


def chat_chunks(words: Sequence[str] = WORDS) -> list[Step]:
    """As OpenAI sends them where the usage is asked for: it is null but in the last, which has no choices."""
    return [
        chunk({"role": "assistant", "content": ""}, usage=None),
        *(chunk({"content": word}, usage=None) for word in words),
        chunk({}, "stop", usage=None),
        chunk(None, usage=USAGE),
    ]


ANSWERS: dict[str, dict[str, Any]] = {
    "chat": {
        "id": "chatcmpl-1", "object": "chat.completion", "created": 1, "model": "backend-7",
        "choices": [
            {"index": 0, "message": {"role": "assistant", "content": "".join(WORDS)}, "finish_reason": "stop"}
        ],
        "usage": USAGE,
    },
    "completions": {
        "id": "cmpl-1", "object": "text_completion", "created": 1, "model": "backend-7",
        "choices": [{"index": 0, "text": " late", "finish_reason": "length", "logprobs": None}],
        "usage": USAGE,
    },
    "embeddings": {
        "object": "list", "model": "backend-7", "usage": {"prompt_tokens": 2, "total_tokens": 2},
        "data": [{"object": "embedding", "index": 0, "embedding": [0.25, -0.5]}],
    },
}  # fmt: skip


@dataclass
class Plane:
    """Its models do what ``steps`` say; ``ran``, ``cancelled`` and ``closed`` are what became of its work."""

    models: tuple[str, ...] = ("small", "large")
    steps: Sequence[Step] = ()
    ran: list[tuple[str, dict[str, Any], str]] = field(default_factory=list)
    cancelled: int = 0
    closed: int = 0
    pulled: int = 0

    def names(self, caller: Caller) -> list[str]:
        return sorted(name for name in self.models if caller.may_use(name))

    async def run(
        self, operation: Operation, body: Mapping[str, Any], context: RequestContext, request_id: str
    ) -> Completed | Stream:
        context.may_use(body["model"])
        if body["model"] not in self.models:
            raise ModelNotFound(body["model"], None, self.names(context.caller))
        if context.ticket is not None:
            context.ticket.model(body["model"])
        context.model, context.version = body["model"], "backend-7"
        self.ran.append((operation, dict(body), request_id))
        steps = list(self.steps)
        # What comes before the first chunk is before the answer.
        while steps and not isinstance(steps[0], Mapping):
            await self.take(steps.pop(0))
        if not body.get("stream"):
            return Completed(ANSWERS[operation], Tokens(5, 5))
        return Scripted(self, steps)

    async def take(self, step: Step) -> None:
        if isinstance(step, Exception):
            raise step
        assert isinstance(step, float | threading.Event)
        try:
            if isinstance(step, float):
                await asyncio.sleep(step)
            else:
                while not step.is_set():  # noqa: ASYNC110 - a thread sets it
                    await asyncio.sleep(0.005)
        except asyncio.CancelledError:
            self.cancelled += 1
            raise


class Scripted:
    tokens = Tokens()
    version: str | None = None

    def __init__(self, plane: Plane, steps: Sequence[Step]) -> None:
        self._plane = plane
        self._steps = list(steps)

    def __aiter__(self) -> Scripted:
        return self

    async def __anext__(self) -> Mapping[str, Any]:
        while self._steps:
            step = self._steps.pop(0)
            if isinstance(step, Mapping):
                self._plane.pulled += 1
                return step
            await self._plane.take(step)
        raise StopAsyncIteration

    async def aclose(self) -> None:
        await asyncio.sleep(0)
        self._plane.closed += 1


class Keys:
    """``Bearer any`` may use all models, ``Bearer small`` the small one."""

    def authenticate_now(self, authorization: bytes | None) -> Caller | None:
        callers = {b"Bearer any": Caller("k1", "any", ("*",)), b"Bearer small": Caller("k2", "small", ("small",))}
        if authorization not in callers:
            raise Unauthenticated("expected a key, got none that is known")
        return callers[authorization]

    async def authenticate(self, authorization: bytes | None) -> Caller:
        raise AssertionError(authorization)


@dataclass
class House:
    """A gateway over a plane, with what it records."""

    plane: Plane
    gateway: Gateway
    admission: Admission
    meter: Meter
    log: AccessLog
    folder: Path
    url: str = ""
    clients: list[openai.OpenAI] = field(default_factory=list)

    def client(self, key: str = "any") -> openai.OpenAI:
        made = openai.OpenAI(base_url=f"{self.url}/v1", api_key=key, max_retries=0, timeout=2 * SECONDS)
        self.clients.append(made)
        return made

    @property
    def served(self) -> list[Served]:
        return list(self.meter._served)

    def lines(self) -> list[dict[str, Any]]:
        self.log.close()
        return [json.loads(line) for file in self.folder.glob("*.jsonl") for line in file.read_text().splitlines()]


def house(
    folder: Path, *, seconds: float = 30, limits: Limits | None = None, models: dict[str, Limits] | None = None
) -> House:
    plane, meter, log = Plane(), Meter(), AccessLog(folder, 1.0)
    data = DataPlane([], None)
    data.language = plane
    limiter = Limiter(limits or Limits(), models or {})
    admission = Admission(Bounds(1_000_000, seconds), Keys(), limiter, clock=time.monotonic)
    gateway = Gateway(data, transports(docs=True, language=True), admission, meter, log)
    return House(plane, gateway, admission, meter, log, folder)


def in_a_thread(server: uvicorn.Server) -> Callable[[], None]:
    """With an event loop of its own."""
    thread = threading.Thread(target=server.run, daemon=True)
    thread.start()
    return lambda: thread.join(SECONDS)


@contextmanager
def listening(
    inn: House, app: ASGIApp | None = None, start: Callable[[uvicorn.Server], Callable[[], None]] = in_a_thread
) -> Iterator[House]:
    """The house behind a uvicorn; ``app`` is what it serves, if not the gateway itself.

    ``start``: where it runs; gives what waits for its end.
    """
    config = uvicorn.Config(app or inn.gateway, port=0, lifespan="off", log_level="warning", http="httptools")
    server = uvicorn.Server(config)
    wait = start(server)
    until(lambda: server.started)
    inn.url = f"http://127.0.0.1:{server.servers[0].sockets[0].getsockname()[1]}"
    yield inn
    for client in inn.clients:
        client.close()
    server.should_exit = True
    wait()


def until(true: Callable[[], object]) -> None:
    """Wait for what another thread does."""
    last = time.monotonic() + SECONDS
    while not true():
        assert time.monotonic() < last, "it did not come true"
        time.sleep(0.005)
