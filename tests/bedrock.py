"""A stand-in for Amazon Bedrock on a loopback port: its wire format, its signatures and its bad days.

What it answers is scripted, request by request. ``tests/integration/serve/llm/test_bedrock_stand_in.py`` shows that
boto3 takes it for the real one; nothing here is shared with the code under test, nor with botocore.
"""

from __future__ import annotations

import asyncio
import base64
import contextlib
import hashlib
import hmac
import json
import re
import struct
import threading
import time
import zlib
from collections import deque
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import quote, unquote

ACCESS_KEY = "AKIDSTANDIN"
SECRET_KEY = "stand-in/secret+key"
PATH = re.compile(r"/model/([^/]+)/(converse-stream|converse|invoke)")
CREDENTIAL = re.compile(r"AWS4-HMAC-SHA256 Credential=(\S+?), ?SignedHeaders=(\S+?), ?Signature=([0-9a-f]{64})")
CHECKED_SECONDS = 0.01


@dataclass(frozen=True)
class Turn:
    """An answer. ``after``: so many events of a stream; then ``then`` comes: ``cut``, ``stall`` or an exception's name.

    ``document``: in place of a Converse answer, as InvokeModel has it.
    """

    content: tuple[dict[str, Any], ...] = ({"text": "Hello there."},)
    stop: str = "end_turn"
    usage: Mapping[str, int] = field(default_factory=lambda: {"inputTokens": 7, "outputTokens": 5, "totalTokens": 12})
    first_seconds: float = 0
    between_seconds: float = 0
    after: int | None = None
    then: str = "cut"
    document: Mapping[str, Any] | None = None
    headers: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True)
class Refusal:
    status: int
    name: str
    message: str = "no"
    first_seconds: float = 0


@dataclass(frozen=True)
class Asked:
    region: str
    model: str
    action: str
    body: dict[str, Any]
    headers: Mapping[str, str]


class Forged(Exception):
    """The signature is not that of the request."""


def frame(headers: Mapping[str, str], payload: bytes) -> bytes:
    """A message of an event stream. https://smithy.io/2.0/aws/amazon-eventstream.html"""
    head = b"".join(
        struct.pack("!B", len(name)) + name.encode() + b"\x07" + struct.pack("!H", len(value.encode())) + value.encode()
        for name, value in headers.items()
    )
    prelude = struct.pack("!II", 16 + len(head) + len(payload), len(head))
    message = prelude + struct.pack("!I", zlib.crc32(prelude)) + head + payload
    return message + struct.pack("!I", zlib.crc32(message))


def event(name: str, document: Mapping[str, Any]) -> bytes:
    headers = {":event-type": name, ":content-type": "application/json", ":message-type": "event"}
    return frame(headers, json.dumps(document).encode())


def exception(name: str, message: str = "no") -> bytes:
    headers = {":exception-type": name, ":content-type": "application/json", ":message-type": "exception"}
    return frame(headers, json.dumps({"message": message}).encode())


def events(turn: Turn) -> list[bytes]:
    """A turn as a stream: words come one by one, and arguments in pieces of five characters."""
    found = [event("messageStart", {"role": "assistant"})]
    for index, block in enumerate(turn.content):
        if "toolUse" in block:
            use = block["toolUse"]
            start = {"toolUse": {name: use[name] for name in ("toolUseId", "name")}}
            found.append(event("contentBlockStart", {"start": start, "contentBlockIndex": index}))
            text = json.dumps(use["input"]) if use["input"] else ""
            deltas = [{"toolUse": {"input": text[at : at + 5]}} for at in range(0, len(text), 5)]
        elif "reasoningContent" in block:
            thought = block["reasoningContent"]["reasoningText"]
            deltas = [{"reasoningContent": {"text": word}} for word in words(thought["text"])]
            deltas.append({"reasoningContent": {"signature": thought.get("signature", "c2ln")}})
        else:
            deltas = [{"text": word} for word in words(block["text"])]
        found += [event("contentBlockDelta", {"delta": delta, "contentBlockIndex": index}) for delta in deltas]
        found.append(event("contentBlockStop", {"contentBlockIndex": index}))
    found.append(event("messageStop", {"stopReason": turn.stop}))
    found.append(event("metadata", {"usage": dict(turn.usage), "metrics": {"latencyMs": 1}}))
    return found


def words(text: str) -> list[str]:
    return re.findall(r"\S*\s*", text)[:-1]


def converse(turn: Turn) -> dict[str, Any]:
    return {
        "output": {"message": {"role": "assistant", "content": list(turn.content)}},
        "stopReason": turn.stop,
        "usage": dict(turn.usage),
        "metrics": {"latencyMs": 1},
    }


class StandIn:
    """Answers from ``turns``, the first first; where none is left, a plain one.

    ``refusing``: by region, and before ``turns``; ``down``: regions that hang up without an answer. ``open``: its
    connections now; ``gone``: clients that left while they were answered.
    """

    def __init__(self) -> None:
        self.turns: deque[Turn | Refusal] = deque()
        self.refusing: dict[str, Refusal] = {}
        self.down: set[str] = set()
        self.asked: list[Asked] = []
        self.open = 0
        self.most_open = 0
        self.connections = 0
        self.gone = 0
        self.port = 0
        self.secret = SECRET_KEY

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    @contextlib.contextmanager
    def running(self) -> Iterator[StandIn]:
        loop = asyncio.new_event_loop()
        started = threading.Event()
        stop = asyncio.Event()

        async def serve() -> None:
            server = await asyncio.start_server(self._connected, "127.0.0.1", 0, backlog=1024)
            self.port = server.sockets[0].getsockname()[1]
            started.set()
            await stop.wait()
            server.close()
            others = asyncio.all_tasks() - {asyncio.current_task()}
            for task in others:
                task.cancel()
            await asyncio.gather(*others, return_exceptions=True)

        thread = threading.Thread(target=loop.run_until_complete, args=(serve(),), daemon=True)
        thread.start()
        started.wait()
        try:
            yield self
        finally:
            loop.call_soon_threadsafe(stop.set)
            thread.join()
            loop.close()

    def saw(self, what: str, count: int, seconds: float = 60) -> bool:
        """Whether ``open``, ``gone``… comes to ``count`` before the time is up."""
        end = time.monotonic() + seconds
        while getattr(self, what) != count and time.monotonic() < end:
            time.sleep(CHECKED_SECONDS)
        return bool(getattr(self, what) == count)

    async def _connected(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.connections += 1
        self.open += 1
        self.most_open = max(self.open, self.most_open)
        try:
            held: bytes | None = b""
            while held is not None:
                held = await self._answered(held, reader, writer)
        except (ConnectionError, asyncio.IncompleteReadError, asyncio.CancelledError):
            # The client has gone, or the stand-in is to stop.
            pass
        finally:
            self.open -= 1
            writer.close()

    async def _answered(self, held: bytes, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> bytes | None:
        """What has come of the next request already; ``None``: there is none."""
        head = (held + await reader.readuntil(b"\r\n\r\n")).decode("latin-1")
        line, *rest = head.split("\r\n")
        method, target, _ = line.split(" ")
        headers = {
            name.strip().lower(): value.strip() for name, _, value in (each.partition(":") for each in rest if each)
        }
        body = await reader.readexactly(int(headers.get("content-length", 0)))
        found = PATH.fullmatch(target)
        assert found is not None
        assert method == "POST"
        try:
            region = self._signed(method, target, headers, body)
        except Forged as error:
            await self._refuse(writer, Refusal(403, "InvalidSignatureException", str(error)))
            return b""
        self.asked.append(Asked(region, unquote(found[1]), found[2], json.loads(body), headers))
        if region in self.down:
            return None
        turn = self.refusing.get(region) or (self.turns.popleft() if self.turns else Turn())
        leaving = asyncio.create_task(reader.read(1))
        answering = asyncio.create_task(self._answer(writer, turn, found[2]))
        try:
            await asyncio.wait({leaving, answering}, return_when=asyncio.FIRST_COMPLETED)
            if not answering.done():
                self.gone += 1
                return None
            if not answering.result():
                return None
            return leaving.result() if leaving.done() else b""
        finally:
            for task in (leaving, answering):
                task.cancel()
            await asyncio.gather(leaving, answering, return_exceptions=True)

    async def _answer(self, writer: asyncio.StreamWriter, turn: Turn | Refusal, action: str) -> bool:
        if isinstance(turn, Refusal):
            await asyncio.sleep(turn.first_seconds)
            await self._refuse(writer, turn)
            return True
        if action == "converse-stream":
            return await self._stream(writer, turn)
        await asyncio.sleep(turn.first_seconds)
        document = json.dumps(converse(turn) if turn.document is None else turn.document).encode()
        if turn.after is not None:
            writer.write(_head(200, {"content-type": "application/json", "content-length": str(len(document))}))
            writer.write(document[: turn.after])
            await writer.drain()
            return False
        headers = {"content-type": "application/json", "content-length": str(len(document)), **turn.headers}
        writer.write(_head(200, headers) + document)
        await writer.drain()
        return True

    async def _stream(self, writer: asyncio.StreamWriter, turn: Turn) -> bool:
        writer.write(_head(200, {"content-type": "application/vnd.amazon.eventstream", "transfer-encoding": "chunked"}))
        await writer.drain()
        await asyncio.sleep(turn.first_seconds)
        for number, message in enumerate(events(turn)):
            if number == turn.after:
                if turn.then == "cut":
                    return False
                if turn.then == "stall":
                    await asyncio.Event().wait()
                if turn.then != "end":
                    writer.write(_chunk(exception(turn.then)))
                break
            writer.write(_chunk(message))
            await writer.drain()
            await asyncio.sleep(turn.between_seconds)
        writer.write(_chunk(b""))
        await writer.drain()
        return True

    async def _refuse(self, writer: asyncio.StreamWriter, refusal: Refusal) -> None:
        document = json.dumps({"message": refusal.message}).encode()
        headers = {"content-type": "application/json", "content-length": str(len(document))}
        headers["x-amzn-errortype"] = f"{refusal.name}:http://internal.amazon.com/coral/com.amazon.bedrock/"
        writer.write(_head(refusal.status, headers) + document)
        await writer.drain()

    def _signed(self, method: str, target: str, headers: Mapping[str, str], body: bytes) -> str:
        """The region that a request was signed for. Raises: Forged."""
        found = CREDENTIAL.fullmatch(headers.get("authorization", ""))
        if found is None:
            raise Forged("there is no signature")
        key_id, day, region, service, kind = found[1].split("/")
        names = found[2].split(";")
        if key_id != ACCESS_KEY or service != "bedrock" or kind != "aws4_request" or "host" not in names:
            raise Forged(f"signed for {found[1]}")
        path, _, query = target.partition("?")
        asked = "\n".join(
            (
                method,
                quote(path, safe="/~"),
                query,
                *(f"{name}:{headers[name]}" for name in names),
                "",
                found[2],
                hashlib.sha256(body).hexdigest(),
            )
        )
        at = headers["x-amz-date"]
        scope = f"{day}/{region}/{service}/{kind}"
        to_sign = f"AWS4-HMAC-SHA256\n{at}\n{scope}\n{hashlib.sha256(asked.encode()).hexdigest()}"
        key = f"AWS4{self.secret}".encode()
        for part in (day, region, service, kind):
            key = hmac.digest(key, part.encode(), "sha256")
        if not hmac.compare_digest(hmac.digest(key, to_sign.encode(), "sha256").hex(), found[3]):
            raise Forged("the signature is another's")
        return region


def _head(status: int, headers: Mapping[str, str]) -> bytes:
    lines = [f"HTTP/1.1 {status} -", *(f"{name}: {value}" for name, value in headers.items())]
    return ("\r\n".join(lines) + "\r\n\r\n").encode("latin-1")


def _chunk(data: bytes) -> bytes:
    return f"{len(data):x}\r\n".encode() + data + b"\r\n"


def image(block: Mapping[str, Any]) -> bytes:
    """An image's bytes, as they came."""
    return base64.b64decode(block["image"]["source"]["bytes"], validate=True)
