"""Load on a running ingress: HTTP/1.1 over raw sockets with keep-alive, and what became of every request.

A client sends, waits for the whole answer, and sends again, on one connection for as long as the server
keeps it; where it was refused it thinks before it comes again. Nothing is tried again: a connection that
ends without an answer is an outcome like any other, with the status 0.

An answer's time ends when its first bytes reach this machine's TCP, by the kernel's clock
(``SO_TIMESTAMPNS``), not when this process gets around to reading them: a generator that is late
itself, on cores that it shares with the server, must not count as the server's slowness. For heavy
load it runs in a process of its own: ``python -m tests.integration.serve.load``.
"""

from __future__ import annotations

import asyncio
import dataclasses
import json
import re
import socket
import struct
import sys
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

SO_TIMESTAMPNS = 35
"""As in Linux's ``asm-generic/socket.h``; Python's ``socket`` does not name it."""

TIMESPEC = struct.Struct("qq")
CHUNK = 256 * 1024
LENGTH = re.compile(rb"\r\ncontent-length: *(\d+)\r\n", re.IGNORECASE)
NO_ANSWER = 0
OK = 200


@dataclass(frozen=True, slots=True)
class Outcome:
    """What became of one request. ``at``: when it was sent (``time.time``); ``seconds``: until its answer."""

    status: int
    at: float
    seconds: float
    retry_after: str | None = None
    request_id: str | None = None
    version: str | None = None
    media_type: str | None = None
    body: str = ""
    problem: str = ""

    @property
    def clean(self) -> bool:
        """A refusal as it is promised: JSON that says why, when to come again, and which request it was."""
        if self.status not in (429, 503) or self.media_type != "application/json" or not self.request_id:
            return False
        return self.retry_after is not None and "error" in json.loads(self.body)


def post(path: str, body: bytes, *headers: str) -> bytes:
    """A request's bytes."""
    lines = [f"POST {path} HTTP/1.1", "host: ingress", "content-type: application/json", *headers]
    return "\r\n".join([*lines, f"content-length: {len(body)}", "", ""]).encode("ascii") + body


async def hammer(
    port: int,
    request: bytes,
    clients: int,
    seconds: float,
    *,
    think: float = 0.0,
    patience: float = 40.0,
    parts: bool = False,
    until: Callable[[], bool] | None = None,
) -> list[Outcome]:
    """Send ``request`` from this many clients for as long, and tell what became of each.

    ``think``: seconds between a refusal and a client's next request. ``patience``: after how long
    without an answer a request counts as hung. ``parts``: headers and body are sent one after the other,
    as most clients do. ``until``: ends it sooner, where it becomes true.
    """
    end = time.monotonic() + seconds
    found: list[Outcome] = []
    head, _, body = request.partition(b"\r\n\r\n")
    pieces = (head + b"\r\n\r\n", body) if parts else (request,)

    async def client(number: int) -> None:
        connection: _Connection | None = None
        # Not all in the same moment: that would be a load of another kind.
        await asyncio.sleep(min(0.2, think or 0.02) * number / clients)
        while time.monotonic() < end and not (until and until()):
            sent = time.time()
            try:
                if connection is None:
                    connection = await _Connection.open(port)
                outcome = await asyncio.wait_for(connection.ask(pieces), patience)
            except (OSError, EOFError, TimeoutError, ValueError) as error:
                outcome = Outcome(NO_ANSWER, sent, time.time() - sent, problem=f"{type(error).__name__}: {error}")
            found.append(outcome)
            if connection is not None and (outcome.status == NO_ANSWER or connection.ended):
                connection.close()
                connection = None
            if outcome.status == NO_ANSWER:
                await asyncio.sleep(0.05)
            if think and outcome.status != OK:
                await asyncio.sleep(think)
        if connection is not None:
            connection.close()

    await asyncio.gather(*(client(number) for number in range(clients)))
    return found


async def hammer_from_elsewhere(
    port: int, request: bytes, clients: int, seconds: float, *, think: float = 0.0
) -> list[Outcome]:
    """As :func:`hammer`, in a process of its own."""
    command = [sys.executable, "-m", __spec__.name, str(port), str(clients), str(seconds), str(think)]
    process = await asyncio.create_subprocess_exec(
        *command, stdin=asyncio.subprocess.PIPE, stdout=asyncio.subprocess.PIPE
    )
    output, _ = await process.communicate(request)
    if process.returncode:
        raise RuntimeError(f"the load generator ended with {process.returncode}")
    return [Outcome(**fields) for fields in json.loads(output)]


class _Connection:
    """One connection, read with the kernel's times of arrival."""

    def __init__(self, connected: socket.socket) -> None:
        self._socket = connected
        self._loop = asyncio.get_running_loop()
        self.ended = False

    @classmethod
    async def open(cls, port: int) -> _Connection:
        made = socket.socket()
        made.setblocking(False)
        made.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        made.setsockopt(socket.SOL_SOCKET, SO_TIMESTAMPNS, 1)
        try:
            await asyncio.get_running_loop().sock_connect(made, ("127.0.0.1", port))
        except BaseException:
            made.close()
            raise
        return cls(made)

    def close(self) -> None:
        self._socket.close()

    async def ask(self, pieces: Sequence[bytes]) -> Outcome:
        """Raises: OSError, EOFError (it ended without a whole answer), ValueError (not an answer)."""
        sent = time.time()
        for piece in pieces:
            await self._loop.sock_sendall(self._socket, piece)
            if piece is not pieces[-1]:
                await asyncio.sleep(0.001)
        data, arrived = await self._received()
        while (head := data.find(b"\r\n\r\n")) < 0:
            data += (await self._received())[0]
        length = LENGTH.search(data, 0, head + 2)
        if length is None:
            raise ValueError(f"an answer without its length: {data[:200]!r}")
        while len(data) < head + 4 + int(length[1]):
            data += (await self._received())[0]
        lines = data[:head].decode("latin-1").split("\r\n")
        fields = {name.lower(): value.strip() for name, _, value in (line.partition(":") for line in lines[1:])}
        self.ended = fields.get("connection", "").lower() == "close"
        status = int(lines[0].split()[1])
        return Outcome(
            status,
            sent,
            max(0.0, arrived - sent),
            fields.get("retry-after"),
            fields.get("x-request-id"),
            fields.get("model-version"),
            fields.get("content-type"),
            # Good answers would fill the memory.
            data[head + 4 :].decode("utf-8", "replace") if status != 200 else "",
        )

    async def _received(self) -> tuple[bytes, float]:
        readable: asyncio.Future[None] = self._loop.create_future()
        self._loop.add_reader(self._socket, lambda: readable.done() or readable.set_result(None))
        try:
            await readable
        finally:
            self._loop.remove_reader(self._socket)
        data, ancillary, _, _ = self._socket.recvmsg(CHUNK, socket.CMSG_SPACE(TIMESPEC.size))
        if not data:
            raise EOFError("the connection ended without a whole answer")
        for _, kind, stamp in ancillary:
            if kind == SO_TIMESTAMPNS:
                whole, nanoseconds = TIMESPEC.unpack(stamp)
                return data, whole + nanoseconds / 1e9
        return data, time.time()


def main() -> None:
    port, clients, seconds, think = sys.argv[1:]
    request = sys.stdin.buffer.read()
    outcomes = asyncio.run(hammer(int(port), request, int(clients), float(seconds), think=float(think)))
    shown: list[dict[str, Any]] = [dataclasses.asdict(outcome) for outcome in outcomes]
    json.dump(shown, sys.stdout)


if __name__ == "__main__":
    main()
