"""A body never takes more memory than its limit, however it is sent, and is understood however it is packed."""

from __future__ import annotations

import asyncio
import contextlib
import gzip
import tracemalloc
import zlib

import pytest
from hypothesis import given
from hypothesis import strategies as st
from starlette.types import Receive

from serve.gateway import bodies
from serve.gateway.errors import BodyTooLarge, ClientGone, MalformedRequest, ServeError, UnsupportedMediaType

LIMIT = 10_000


def sender(*chunks: bytes, gone: bool = False) -> Receive:
    messages = [{"type": "http.request", "body": chunk, "more_body": True} for chunk in chunks]
    messages.append({"type": "http.disconnect"} if gone else {"type": "http.request", "body": b""})
    left = iter(messages)

    async def receive() -> dict[str, object]:
        return next(left)

    return receive


def read(*chunks: bytes, gone: bool = False, **headers: bytes) -> bytes:
    fields = {name.replace("_", "-").encode(): value for name, value in headers.items()}
    return asyncio.run(bodies.read(fields, sender(*chunks, gone=gone), LIMIT))


def test_a_body_in_pieces_is_whole() -> None:
    assert read(b"one ", b"two") == b"one two"


RAW = zlib.compressobj(wbits=-15)
PACKED = {
    "gzip": gzip.compress(b"text" * 100),
    "x-gzip": gzip.compress(b"text" * 100),
    "deflate": zlib.compress(b"text" * 100),
    "GZIP": gzip.compress(b"text" * 100),
}


@pytest.mark.parametrize("coding", PACKED)
def test_a_packed_body_is_unpacked(coding: str) -> None:
    assert read(PACKED[coding], content_encoding=coding.encode()) == b"text" * 100


def test_deflate_without_zlib_s_header_is_understood_as_most_servers_do() -> None:
    packed = RAW.compress(b"text" * 100) + RAW.flush()
    assert read(packed, content_encoding=b"deflate") == b"text" * 100


def test_a_coding_that_nobody_speaks_is_refused() -> None:
    with pytest.raises(UnsupportedMediaType, match="'br' is not understood, expected gzip, deflate or none"):
        read(b"x", content_encoding=b"br")


@pytest.mark.parametrize(
    "packed",
    [b"not gzip", PACKED["gzip"][:-5], PACKED["gzip"] + b"more", b"", gzip.compress(b"a") + gzip.compress(b"b")],
    # Not by their bytes, which have the time in them: workers that run side by side must agree on the names.
    ids=["no gzip", "cut off", "more behind it", "nothing", "two streams"],
)
def test_what_is_not_one_whole_stream_is_the_client_s_mistake(packed: bytes) -> None:
    with pytest.raises(MalformedRequest, match="gzip"):
        read(packed, content_encoding=b"gzip")


@pytest.mark.parametrize("declared", [str(LIMIT + 1).encode(), str(2**30).encode(), b"9" * 5000, b"-1", b"ten"])
def test_a_declared_length_over_the_limit_is_refused_unread(declared: bytes) -> None:
    async def receive() -> dict[str, object]:
        raise AssertionError("it was read")

    with pytest.raises(BodyTooLarge):
        asyncio.run(bodies.read({b"content-length": declared}, receive, LIMIT))


def test_a_body_without_a_length_is_refused_once_it_passes_the_limit() -> None:
    with pytest.raises(BodyTooLarge):
        read(*[b"x" * 1000] * 11)
    assert len(read(*[b"x" * 1000] * 10)) == LIMIT


def test_a_bomb_is_refused_without_being_blown_up() -> None:
    bomb = gzip.compress(bytes(200 * 2**20), 9)
    assert len(bomb) < 250_000
    tracemalloc.start()
    with pytest.raises(BodyTooLarge):
        bodies.decompressed(bomb, b"gzip", LIMIT)
    assert tracemalloc.get_traced_memory()[1] < 2**20
    tracemalloc.stop()


def test_a_client_that_goes_away_while_it_sends_is_noticed() -> None:
    with pytest.raises(ClientGone):
        read(b"half", gone=True)


@given(st.binary(max_size=300), st.sampled_from([b"gzip", b"deflate"]))
def test_any_bytes_are_unpacked_or_refused_and_nothing_else(packed: bytes, coding: bytes) -> None:
    with contextlib.suppress(ServeError):
        assert len(bodies.decompressed(packed, coding, LIMIT)) <= LIMIT


@given(st.binary(max_size=5000), st.sampled_from([b"gzip", b"deflate"]))
def test_what_is_packed_here_is_unpacked_here(body: bytes, coding: bytes) -> None:
    packed = asyncio.run(bodies.compressed(body, coding))
    assert bodies.decompressed(packed, coding, LIMIT) == body


@pytest.mark.parametrize(
    ("header", "coding"),
    [
        (b"gzip", b"gzip"),
        (b"gzip, deflate, br, zstd", b"gzip"),
        (b"br;q=1.0, deflate;q=0.5", b"deflate"),
        (b"GZip", b"gzip"),
        (b"gzip;q=0", None),
        (b"gzip; q=0.0, identity", None),
        (b"br", None),
        (b"", None),
        (b"identity;q=1, *;q=0", None),
    ],
)
def test_the_answer_is_packed_only_in_a_coding_that_the_client_takes(header: bytes, coding: bytes | None) -> None:
    assert bodies.accepted(header) == coding
