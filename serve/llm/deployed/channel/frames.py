"""What goes over a channel: frames, each of a call, which has a number.

On the wire a frame is the call's number (4 bytes), its kind (1) and the length of its content (4), big-endian, and then
the content. What a message says beside its JSON is a line of JSON before it.
"""

from __future__ import annotations

import struct
from dataclasses import astuple, dataclass
from enum import IntEnum

import orjson

from serve.llm.backend import Operation, Tokens
from serve.llm.deployed.messages import Chunks, Full, Message, Progress, Refused, Whole

HEAD = struct.Struct("!IBI")


class Kind(IntEnum):
    """``CALL``, ``CANCEL`` and ``READ`` go to the replica, the others come from it.

    ``FAILED`` is what happened, for the log. ``READ`` is how many bytes of messages were read since the one before it.
    """

    CALL = 1
    CANCEL = 2
    CHUNKS = 3
    WHOLE = 4
    REFUSED = 5
    END = 6
    FULL = 7
    FAILED = 8
    PROGRESS = 9
    READ = 10


LAST = frozenset({Kind.REFUSED, Kind.FULL, Kind.END, Kind.FAILED})
"""After them comes no other of the call."""


@dataclass(frozen=True, slots=True)
class Frame:
    call: int
    kind: Kind
    content: bytes = b""

    @property
    def size(self) -> int:
        return HEAD.size + len(self.content)

    def encode(self) -> bytes:
        return HEAD.pack(self.call, self.kind, len(self.content)) + self.content


class Reader:
    """Frames out of what comes, in whichever pieces it does."""

    def __init__(self) -> None:
        self._left = bytearray()

    def feed(self, data: bytes) -> list[Frame]:
        """The frames that end in ``data``.

        Raises:
            ValueError: it is no frame's.
        """
        left = self._left
        left += data
        found, at = [], 0
        while len(left) - at >= HEAD.size:
            call, kind, length = HEAD.unpack_from(left, at)
            kind = Kind(kind)
            end = at + HEAD.size + length
            if end > len(left):
                break
            found.append(Frame(call, kind, bytes(left[at + HEAD.size : end])))
            at = end
        del left[:at]
        return found


def call_frame(number: int, operation: Operation, body: bytes) -> Frame:
    return Frame(number, Kind.CALL, _content([operation], body))


def called(frame: Frame) -> tuple[Operation, bytes]:
    """The operation and the body of a call."""
    [operation], body = _parts(frame)
    return operation, body


def read_frame(number: int, size: int) -> Frame:
    return Frame(number, Kind.READ, size.to_bytes(8))


def size_read(frame: Frame) -> int:
    return int.from_bytes(frame.content)


def message_frame(number: int, message: Message) -> Frame:
    match message:
        case Chunks(lines, tokens, version):
            return Frame(number, Kind.CHUNKS, _content([tokens.input, tokens.output, tokens.cached, version], lines))
        case Progress(tokens):
            return Frame(number, Kind.PROGRESS, _content([tokens.input, tokens.output, tokens.cached], b""))
        case Whole(document, version):
            return Frame(number, Kind.WHOLE, _content([version], document))
        case Refused():
            return Frame(number, Kind.REFUSED, _content(list(astuple(message)), b""))
        case Full(waiting):
            return Frame(number, Kind.FULL, _content([waiting], b""))


def message_of(frame: Frame) -> Message:
    """Raises: ValueError: it is no message."""
    said, content = _parts(frame)
    match frame.kind:
        case Kind.CHUNKS:
            *tokens, version = said
            return Chunks(content, Tokens(*tokens), version)
        case Kind.PROGRESS:
            return Progress(Tokens(*said))
        case Kind.WHOLE:
            return Whole(content, *said)
        case Kind.REFUSED:
            return Refused(*said)
        case Kind.FULL:
            return Full(*said)
        case _:
            raise ValueError(f"{frame.kind!r} is no message")


def _content(said: list[object], content: bytes) -> bytes:
    return orjson.dumps(said) + b"\n" + content


def _parts(frame: Frame) -> tuple[list, bytes]:  # type: ignore[type-arg] # of whatever is said
    said, _, content = frame.content.partition(b"\n")
    return orjson.loads(said), content
