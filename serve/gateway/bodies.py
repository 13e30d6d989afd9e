"""Bodies within their limit: read, decompressed, compressed."""

from __future__ import annotations

import asyncio
import zlib
from collections.abc import Mapping

from starlette.types import Receive

from serve.gateway.errors import BodyTooLarge, ClientGone, MalformedRequest, UnsupportedMediaType

WINDOW_BITS = {b"gzip": 31, b"x-gzip": 31, b"deflate": 15}
"""RFC 9110's content codings, as zlib names their formats."""

RAW_DEFLATE = -15
"""What some clients send as ``deflate``: the stream without zlib's header."""

LEVEL = 1
SMALLEST_COMPRESSED = 2048
"""Below this a compressed body saves no packet."""

LARGEST_ON_THE_LOOP = 64 * 1024


async def read(headers: Mapping[bytes, bytes], receive: Receive, limit: int) -> bytes:
    """The whole body, decompressed.

    A declared length over ``limit`` bytes is refused unread, a chunked or compressed body once it
    passes it.

    Raises:
        BodyTooLarge, ClientGone, UnsupportedMediaType, MalformedRequest
    """
    encoding = headers.get(b"content-encoding", b"identity").strip().lower()
    if encoding != b"identity" and encoding not in WINDOW_BITS:
        raise UnsupportedMediaType("content-encoding", encoding.decode("latin-1"), "gzip, deflate or none")
    declared = headers.get(b"content-length", b"0")
    if not declared.isdigit() or int(declared[:20]) > limit:
        raise BodyTooLarge(limit)
    body = await _read(receive, limit)
    if encoding == b"identity":
        return body
    return await asyncio.to_thread(decompressed, body, encoding, limit)


async def _read(receive: Receive, limit: int) -> bytes:
    chunks: list[bytes] = []
    size = 0
    while True:
        message = await receive()
        if message["type"] == "http.disconnect":
            raise ClientGone
        chunk = message.get("body", b"")
        size += len(chunk)
        if size > limit:
            raise BodyTooLarge(limit)
        chunks.append(chunk)
        if not message.get("more_body", False):
            return chunks[0] if len(chunks) == 1 else b"".join(chunks)


def decompressed(body: bytes, encoding: bytes, limit: int) -> bytes:
    """Never holds more than ``limit`` bytes, whatever the body expands to.

    Raises:
        BodyTooLarge: it expands to more.
        MalformedRequest: it is not of this encoding, is cut off, or goes on after its end.
    """
    raw = encoding == b"deflate" and body[:1] and body[0] & 0x0F != zlib.DEFLATED
    stream = zlib.decompressobj(RAW_DEFLATE if raw else WINDOW_BITS[encoding])
    try:
        found = stream.decompress(body, limit + 1)
    except zlib.error as error:
        raise MalformedRequest(f"the body is not {encoding.decode('ascii')}: {error}") from error
    if len(found) > limit:
        raise BodyTooLarge(limit)
    if not stream.eof or stream.unused_data:
        raise MalformedRequest(f"the body is not one whole {encoding.decode('ascii')} stream")
    return found


def accepted(header: bytes) -> bytes | None:
    """The coding to answer in: gzip or deflate, where the client takes one of them."""
    for offer in header.lower().split(b","):
        coding, _, weight = offer.partition(b";")
        if coding.strip() in (b"gzip", b"deflate") and weight.replace(b" ", b"") not in (b"q=0", b"q=0.0", b"q=0.00"):
            return coding.strip()
    return None


async def compressed(body: bytes, coding: bytes) -> bytes:
    """``body`` in this coding; large ones in a thread."""
    if len(body) <= LARGEST_ON_THE_LOOP:
        return _compress(body, coding)
    return await asyncio.to_thread(_compress, body, coding)


def _compress(body: bytes, coding: bytes) -> bytes:
    stream = zlib.compressobj(LEVEL, zlib.DEFLATED, WINDOW_BITS[coding])
    return stream.compress(body) + stream.flush()
