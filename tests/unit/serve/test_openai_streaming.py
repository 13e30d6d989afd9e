"""Answers that come as they are made: whole, in time, and given up once nobody reads them."""

from __future__ import annotations

import asyncio
import json
import socket
import threading
from collections.abc import Awaitable, Callable, Iterator, Mapping
from pathlib import Path
from typing import Any

import httpx
import openai
import pytest
from starlette.types import Message

from serve import direct
from serve.caller import Limits
from serve.gateway import errors
from serve.gateway.streaming import MOST_HELD_BYTES
from tests.unit.serve import skipping
from tests.unit.serve.conftest import Client
from tests.unit.serve.language import (
    MESSAGES,
    SECONDS,
    WORDS,
    House,
    Scripted,
    Step,
    chat_chunks,
    chunk,
    house,
    listening,
    until,
)

CHAT = "/v1/chat/completions"
KEY = {"authorization": "Bearer any"}
BODY: dict[str, Any] = {"model": "small", "messages": MESSAGES, "stream": True}
FOR_EVER = 3600.0


@pytest.fixture
def inn(tmp_path: Path) -> Iterator[House]:
    with listening(house(tmp_path)) as made:
        yield made


def post(inn: House, headers: Mapping[str, str] = KEY) -> httpx.Response:
    return httpx.post(f"{inn.url}{CHAT}", json=BODY, headers={**KEY, **headers}, timeout=SECONDS)


def events(text: str) -> list[Any]:
    """Of a body of server-sent events, each one's data; the last, if it is the end, as it is."""
    *found, rest = text.split("\n\n")
    assert rest == ""
    assert all(event.startswith("data: ") and "\n" not in event for event in found)
    data = [event.removeprefix("data: ") for event in found]
    return [event if event == "[DONE]" else json.loads(event) for event in data]


@pytest.mark.parametrize("usage", [None, False, True])
def test_a_stream_is_the_backend_s_with_the_usage_where_it_was_asked_for(inn: House, usage: bool | None) -> None:
    inn.plane.steps = chat_chunks()
    options = {} if usage is None else {"stream_options": {"include_usage": usage}}
    chunks = list(inn.client().chat.completions.create(model="small", messages=MESSAGES, stream=True, **options))
    assert "".join(chunk.choices[0].delta.content or "" for chunk in chunks if chunk.choices) == "".join(WORDS)
    assert {chunk.model for chunk in chunks} == {"small"}
    assert [chunk.usage.total_tokens for chunk in chunks if chunk.usage] == ([10] if usage else [])
    assert all(chunk.choices for chunk in chunks[:-1])
    assert bool(chunks[-1].choices) is not usage
    assert all(("usage" in chunk.model_fields_set) is bool(usage) for chunk in chunks)
    (ran,) = inn.plane.ran
    assert ran[1] == {**BODY, "stream_options": {"include_usage": True}}
    until(lambda: inn.plane.closed == 1)


def test_the_async_client_is_streamed_to_too(inn: House) -> None:
    inn.plane.steps = [step for part in chat_chunks() for step in (part, 0.01)]

    async def ask() -> str:
        async with openai.AsyncOpenAI(
            base_url=f"{inn.url}/v1", api_key="any", max_retries=0, timeout=SECONDS
        ) as client:
            stream = await client.completions.create(model="small", prompt="A", stream=True)
            return "".join([json.dumps(part.choices[0].to_dict()) async for part in stream])

    assert WORDS[1] in asyncio.run(ask())
    assert inn.plane.ran[0][0] == "completions"


def test_usage_that_comes_with_the_last_words_is_taken_out_of_them_alone(inn: House) -> None:
    inn.plane.steps = [chunk({"content": "late"}, "stop", usage={"total_tokens": 3})]
    response = post(inn)
    (last, end) = events(response.text)
    assert last["choices"][0]["delta"] == {"content": "late"}
    assert "usage" not in last
    assert end == "[DONE]"


def test_a_stream_s_head_says_that_nothing_may_hold_it_up(inn: House) -> None:
    inn.plane.steps = chat_chunks(WORDS * 100)
    response = post(inn, {"accept-encoding": "gzip"})
    assert response.headers["content-type"] == "text/event-stream"
    assert response.headers["x-accel-buffering"] == "no"
    assert response.headers["cache-control"] == "no-store"
    assert response.headers["model-name"] == "small"
    assert not {"content-length", "content-encoding"} & response.headers.keys()
    assert len(events(response.text)) == 503
    assert response.text.endswith("data: [DONE]\n\n")


def test_an_error_before_the_first_chunk_has_its_status_and_one_after_it_is_the_last_event(inn: House) -> None:
    wrong = errors.BackendError(400, "context_length_exceeded", "too long", "messages")
    inn.plane.steps = [wrong]
    with pytest.raises(openai.BadRequestError):
        inn.client().chat.completions.create(**BODY)
    for error, kind, code in (
        (errors.BackendError(502, None, "the region went down"), "server_error", None),
        (RuntimeError("password=hunter2"), "server_error", None),
        (errors.RateLimited("the region", "its tokens", 1), "rate_limit_error", "rate_limit_exceeded"),
    ):
        inn.plane.steps = [*chat_chunks()[:3], error]
        said: list[str | None] = []
        with pytest.raises(openai.APIError) as raised:
            said += [part.choices[0].delta.content for part in inn.client().chat.completions.create(**BODY)]
        assert (raised.value.type, raised.value.code) == (kind, code)
        assert "hunter2" not in str(raised.value)
        body = post(inn).text
        assert len(events(body)) == 4
        assert list(events(body)[-1]) == ["error"]
        assert "[DONE]" not in body
    until(lambda: inn.plane.closed == 6)
    until(lambda: len(inn.served) == 7)
    assert {(served.code, served.reason) for served in inn.served} == {
        ("400", "BackendError"), ("502", "BackendError"), ("500", "InternalError"), ("429", "RateLimited"),
    }  # fmt: skip


def test_a_stream_is_recorded_at_its_end_with_all_that_it_sent(inn: House) -> None:
    looked = threading.Event()
    inn.plane.steps = [*chat_chunks()[:3], 0.3, looked, *chat_chunks()[3:]]
    with httpx.stream("POST", f"{inn.url}{CHAT}", json=BODY, headers=KEY, timeout=SECONDS) as response:
        pieces = response.iter_raw()
        first = next(pieces)
        assert inn.served == []
        assert inn.admission.in_flight == 1
        looked.set()
        whole = first + b"".join(pieces)
    until(lambda: inn.served)
    (served,) = inn.served
    assert (served.protocol, served.model, served.version, served.code) == ("openai", "small", "backend-7", "200")
    assert served.seconds > 0.3
    assert inn.admission.in_flight == 0
    (line,) = inn.lines()
    assert line["bytes_out"] == len(whole)
    assert (line["status"], line["caller"]) == (200, "k1")


def leave_in_the_middle(inn: House) -> None:
    for part in inn.client().chat.completions.create(**BODY):
        if part.choices[0].delta.content == WORDS[1]:
            inn.clients[-1].close()
            return
    raise AssertionError("the stream has ended")


@pytest.mark.parametrize("behind_ours", [False, True])
def test_a_client_that_goes_in_the_middle_stops_the_work(tmp_path: Path, behind_ours: bool) -> None:
    made = house(tmp_path, limits=Limits(concurrency=1))
    if behind_ours:
        direct.install(made.gateway)
    app = direct.Direct(made.gateway) if behind_ours else None
    try:
        with listening(made, app) as inn:
            inn.plane.steps = [*chat_chunks()[:3], FOR_EVER]
            leave_in_the_middle(inn)
            until(lambda: inn.plane.closed)
            assert inn.plane.cancelled == 1
            until(lambda: inn.served)
            assert (inn.served[0].code, inn.served[0].reason) == ("499", "ClientGone")
            until(lambda: inn.admission.in_flight == 0)
            (line,) = inn.lines()
            assert line["status"] == 499
            assert line["bytes_out"] > 0
            # Its slot is free again.
            inn.plane.steps = chat_chunks()
            assert post(inn).status_code == 200
    finally:
        direct._installed.clear()


@pytest.mark.parametrize("stream", [False, True])
def test_a_client_that_goes_before_its_answer_stops_the_work(inn: House, stream: bool) -> None:
    inn.plane.steps = [FOR_EVER]
    content = json.dumps({**BODY, "stream": stream}).encode()
    head = f"POST {CHAT} HTTP/1.1\r\nhost: a\r\nauthorization: Bearer any\r\ncontent-length: {len(content)}\r\n\r\n"
    host, port = inn.url.removeprefix("http://").split(":")
    with socket.create_connection((host, int(port))) as connection:
        # In two pieces: what is left of a body must not be taken for the client's going, nor hide it.
        connection.sendall(head.encode() + content[:10])
        connection.sendall(content[10:])
        until(lambda: inn.plane.ran)
        assert inn.plane.cancelled == 0
    until(lambda: inn.plane.cancelled)
    until(lambda: inn.served)
    assert (inn.served[0].code, inn.served[0].reason) == ("499", "ClientGone")
    until(lambda: inn.admission.in_flight == 0)
    assert inn.plane.closed == 0


def test_a_client_that_stays_is_answered_on_the_same_connection_again_and_again(inn: House) -> None:
    with httpx.Client(base_url=inn.url, headers=KEY, timeout=SECONDS) as client:
        for turn in range(6):
            inn.plane.steps = [0.01, *chat_chunks()]
            response = client.post(CHAT, json={**BODY, "stream": turn % 2 == 0})
            assert response.status_code == 200
            assert ("[DONE]" in response.text) is (turn % 2 == 0)
    assert inn.plane.cancelled == 0


def test_a_limit_of_requests_at_once_counts_a_stream_to_its_end(tmp_path: Path) -> None:
    with listening(house(tmp_path, limits=Limits(concurrency=1))) as inn:
        refused = threading.Event()
        inn.plane.steps = [*chat_chunks()[:2], refused, *chat_chunks()[2:]]
        with httpx.stream("POST", f"{inn.url}{CHAT}", json=BODY, headers=KEY, timeout=SECONDS) as response:
            assert response.headers["x-ratelimit-remaining-concurrency"] == "0"
            assert post(inn).status_code == 429
            refused.set()
            response.read()
        until(lambda: inn.admission.in_flight == 0)
        assert post(inn).status_code == 200


class Wire:
    """An ASGI server of one request, that counts what is sent and may stop taking it."""

    def __init__(self, inn: House) -> None:
        self._inn = inn
        self._asked = False
        self.sent: list[Message] = []
        self.taking = asyncio.Event()
        self.taking.set()
        self.gone = asyncio.Event()

    async def receive(self) -> Message:
        if not self._asked:
            self._asked = True
            return {"type": "http.request", "body": json.dumps(BODY).encode(), "more_body": False}
        await self.gone.wait()
        return {"type": "http.disconnect"}

    async def send(self, message: Message) -> None:
        if message["type"] == "http.response.body":
            await self.taking.wait()
        self.sent.append(message)

    async def run(self) -> None:
        scope = {"type": "http", "method": "POST", "path": CHAT, "headers": [(b"authorization", b"Bearer any")]}
        await self._inn.gateway(scope, self.receive, self.send)

    @property
    def bodies(self) -> list[bytes]:
        return [message["body"] for message in self.sent if message["type"] == "http.response.body"]

    @property
    def text(self) -> str:
        return b"".join(self.bodies).decode()


def on_the_wire(inn: House, doing: Callable[[Wire], Awaitable[None]]) -> Wire:
    async def run() -> Wire:
        wire = Wire(inn)
        await doing(wire)
        return wire

    return skipping.run(run())


def test_the_time_limit_is_one_of_pauses_and_not_of_a_stream_s_length(tmp_path: Path) -> None:
    made = house(tmp_path, seconds=30.0)
    made.plane.steps = [step for part in chat_chunks() for step in (part, 10.0)]

    async def long(wire: Wire) -> None:
        started = asyncio.get_running_loop().time()
        await wire.run()
        assert asyncio.get_running_loop().time() - started > 30.0

    assert events(on_the_wire(made, long).text)[-1] == "[DONE]"
    made.plane.steps = [*chat_chunks()[:2], FOR_EVER]
    broken = events(on_the_wire(made, Wire.run).text)
    assert len(broken) == 3
    assert broken[-1]["error"]["code"] == "request_timeout"
    assert made.plane.closed == 2
    assert made.plane.cancelled == 1
    made.plane.steps = [FOR_EVER]
    late = on_the_wire(made, Wire.run)
    assert (late.sent[0]["status"], json.loads(late.text)["error"]["code"]) == (408, "request_timeout")
    assert made.plane.cancelled == 2
    assert [served.code for served in made.served] == ["200", "408", "408"]


def test_chunks_that_are_there_at_once_go_out_in_one_piece(tmp_path: Path) -> None:
    made = house(tmp_path)
    many: list[Step] = [chunk({"content": "x"})] * 50
    made.plane.steps = [*many, 0.05, *many, 0.05, *many]
    wire = on_the_wire(made, Wire.run)
    counts = [len(events(body.decode())) for body in wire.bodies]
    assert counts == [50, 50, 51]
    assert [message.get("more_body") for message in wire.sent[1:]] == [True, True, False]


def long_stream() -> list[Step]:
    """Each chunk gives way once, as a backend's do."""
    return [step for _ in range(500) for step in (chunk({"content": "x" * 1000}), 0.0)]


def test_a_client_that_reads_slowly_slows_its_stream(tmp_path: Path) -> None:
    made = house(tmp_path)
    made.plane.steps = long_stream()

    async def slow(wire: Wire) -> None:
        wire.taking.clear()
        running = asyncio.create_task(wire.run())
        await asyncio.sleep(0.2)
        assert 0 < made.plane.pulled * 1000 < 3 * MOST_HELD_BYTES
        wire.taking.set()
        await running

    wire = on_the_wire(made, slow)
    assert len(events(wire.text)) == 501
    assert made.plane.pulled == 500


def test_a_client_that_reads_no_more_ends_its_stream(tmp_path: Path) -> None:
    made = house(tmp_path, seconds=0.2)
    made.plane.steps = long_stream()

    async def stops(wire: Wire) -> None:
        wire.taking.clear()
        await wire.run()

    wire = on_the_wire(made, stops)
    assert wire.bodies == []
    assert made.plane.closed == 1
    assert [(served.code, served.reason) for served in made.served] == [("408", "RequestTimeout")]
    assert made.admission.in_flight == 0


@pytest.mark.parametrize("steps", [[*chat_chunks()[:2], FOR_EVER], [FOR_EVER]])
def test_a_request_that_serve_cancels_is_given_up_and_recorded(tmp_path: Path, steps: list[Step]) -> None:
    made = house(tmp_path)
    made.plane.steps = steps

    async def cancelled(wire: Wire) -> None:
        running = asyncio.create_task(wire.run())
        while not made.plane.ran or (len(steps) > 1 and not wire.bodies):  # noqa: ASYNC110 - it has no event
            await asyncio.sleep(0.001)
        running.cancel()
        with pytest.raises(asyncio.CancelledError):
            await running

    on_the_wire(made, cancelled)
    assert made.plane.cancelled == 1
    assert made.plane.closed == (1 if len(steps) > 1 else 0)
    assert [(served.code, served.reason) for served in made.served] == [("499", "ClientGone")]
    assert made.admission.in_flight == 0


def test_a_client_that_has_gone_when_the_answer_begins_stops_it(tmp_path: Path) -> None:
    made = house(tmp_path)
    made.plane.steps = [*chat_chunks()[:2], FOR_EVER]

    async def gone(wire: Wire) -> None:
        running = asyncio.create_task(wire.run())
        while not wire.bodies:  # noqa: ASYNC110 - it has no event
            await asyncio.sleep(0.001)
        wire.gone.set()
        await running

    on_the_wire(made, gone)
    assert (made.plane.cancelled, made.plane.closed) == (1, 1)
    assert [served.code for served in made.served] == ["499"]


def test_a_stream_that_can_t_be_closed_has_ended_all_the_same(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    async def fails(self: Scripted) -> None:
        raise RuntimeError("the ledger is full")

    monkeypatch.setattr(Scripted, "aclose", fails)
    made = house(tmp_path)
    made.plane.steps = chat_chunks()
    response = Client(made.gateway).post(CHAT, json=BODY, headers=KEY)
    assert events(response.text)[-1] == "[DONE]"
    assert "the ledger is full" in caplog.text
    assert [served.code for served in made.served] == ["200"]
