"""Tensors as raw bytes: the extension "Binary Tensor Data", and gRPC's raw contents.

Elements are little-endian and in row-major order; a BOOL is one byte; BF16 is the upper half of a
float32; a BYTES element is its length in four bytes and then, here, UTF-8.
"""

from __future__ import annotations

from collections.abc import Iterable

import numpy as np
from msgspec import UNSET

from serve.gateway.errors import MalformedRequest, shown
from serve.gateway.open_inference.datatypes import BF16, BOOL, DATATYPES, Datatype
from serve.gateway.open_inference.document import InputTensor
from serve.runtimes.base import Array
from serve.validation import Texts, Values

LENGTH_BYTES = 4
FP32 = DATATYPES["FP32"]
FLOAT32 = np.dtype("<f4")


class BinaryData:
    """What follows a body's JSON: each column's bytes after those of the one before it."""

    def __init__(self, body: bytes, start: int) -> None:
        self._body = body
        self._offset = start
        self._floats: dict[int, Array] = {}

    def floats(self, tensor: InputTensor) -> Array | None:
        """The next column where it is a usual one of FP32; ``None`` where :meth:`column` can tell."""
        shape, parameters = tensor.shape, tensor.parameters
        if tensor.datatype is not FP32 or not parameters or len(shape) != 1 or tensor.data is not UNSET:
            return None
        size = parameters.get("binary_data_size")
        start, rows = self._offset, shape[0]
        if type(size) is not int or size != rows * FLOAT32.itemsize or not 0 <= size <= len(self._body) - start:
            return None
        self._offset = start + size
        # A part of an array takes a third of the time of an array. Columns of an even alignment share one.
        first, aligned = divmod(start, FLOAT32.itemsize)
        whole = self._floats.get(aligned)
        if whole is None:
            count = (len(self._body) - aligned) // FLOAT32.itemsize
            whole = self._floats[aligned] = np.ndarray((count,), FLOAT32, self._body, aligned)
        return whole[first : first + rows]

    def column(self, name: str, datatype: Datatype, rows: int, size: object, where: str) -> Values:
        """The next column, whose input says that it has ``size`` bytes.

        Raises:
            MalformedRequest: it has not, or they are not ``rows`` elements.
        """
        left = len(self._body) - self._offset
        if type(size) is not int or not 0 <= size <= left:
            raise MalformedRequest(
                f"{where}.parameters.binary_data_size: expected a number of bytes, {left} of which are left "
                f"in the body, got {shown(size)}"
            )
        start, self._offset = self._offset, self._offset + size
        return decode(self._body, start, self._offset, name, datatype, rows, where)

    def require_end(self) -> None:
        """Raises: MalformedRequest, where bytes are left that belong to no input."""
        if left := len(self._body) - self._offset:
            raise MalformedRequest(f"the body: {left} bytes follow that are no input's binary_data_size")


def decode(body: bytes, start: int, end: int, name: str, datatype: Datatype, rows: int, where: str) -> Values:
    """``body[start:end]`` as a column of ``rows``: an array that looks at those bytes; of strings a list or ``Texts``.

    Raises:
        MalformedRequest: the bytes are more or fewer than ``rows`` elements have, or are none of these.
    """
    if datatype.wire is None:
        return _texts(body, start, end, name, rows, where)
    expected = rows * datatype.wire.itemsize
    if end - start != expected:
        raise MalformedRequest(
            f"{where}: column {name!r}: expected {expected} bytes for {rows} x {datatype.name}, got {end - start}"
        )
    array: Array = np.frombuffer(body, datatype.wire, rows, start) if rows else np.empty(0, datatype.wire)
    if datatype is BF16:
        return (array.astype(np.uint32) << 16).view(np.float32)
    if datatype is BOOL:
        return _booleans(array, name, where)
    return array


def encode(array: Array) -> bytes:
    """An array's elements as raw bytes; an object array's are ``str`` (or ``bytes``)."""
    if array.dtype == object:
        return encode_texts(array.ravel().tolist())
    return array.astype(array.dtype.newbyteorder("<"), copy=False).tobytes()


def encode_texts(values: Iterable[str | bytes]) -> bytes:
    """Strings as BYTES elements."""
    parts: list[bytes] = []
    for value in values:
        raw = value.encode() if isinstance(value, str) else value
        parts.append(len(raw).to_bytes(LENGTH_BYTES, "little"))
        parts.append(raw)
    return b"".join(parts)


def _booleans(array: Array, name: str, where: str) -> Array:
    if len(array) and array.max() > 1:
        row = int(np.argmax(array > 1))
        raise MalformedRequest(f"{where}: column {name!r}, row {row}: expected a byte 0 or 1, got {array[row]}")
    return array.view(np.bool_)


def _texts(body: bytes, start: int, end: int, name: str, rows: int, where: str) -> Values:
    if rows * LENGTH_BYTES > end - start:
        raise MalformedRequest(
            f"{where}: column {name!r}: expected at least {rows * LENGTH_BYTES} bytes for {rows} x BYTES, "
            f"got {end - start}"
        )
    texts: Values | None
    if rows >= MANY_ROWS and end - start <= rows * MANY_BYTES:
        texts = _many_texts(body[start:end], rows)
    else:
        texts = _short_texts(body, start, end, rows)
    return _any_texts(body, start, end, name, rows, where) if texts is None else texts


MANY_ROWS = 256
"""From here on numpy's overhead pays."""

MANY_BYTES = 64
"""Of an element on average: beyond them a loop is faster, as its time depends on the rows alone."""

SHORT = 255
"""The bytes of a string whose length leaves three of its four bytes zero."""

WORD = np.dtype("<u8")
PADDING = bytes(LENGTH_BYTES + SHORT + WORD.itemsize)
"""Behind a column, so that each of its elements may be read in whole words, as many as the longest has."""

MASKS = np.array([2 ** (8 * kept) - 1 for kept in range(WORD.itemsize + 1)], np.uint64)
"""By the number of a word's bytes that belong to an element: what keeps these."""

MIX = np.uint64(0x9E3779B97F4A7C15)
SLOT_BITS = 13
SLOT_MASK = np.uint64(2**SLOT_BITS - 1)
SHIFTS = (np.uint64(51), np.uint64(38), np.uint64(25))
"""Where in a hash the number of a slot begins, in one round after the other."""


class _Texts(dict[bytes, str]):
    """Elements with their lengths → their texts. A column's strings are few and come again."""

    def __missing__(self, element: bytes) -> str:
        if element[1:LENGTH_BYTES] != b"\0\0\0" or len(element) != LENGTH_BYTES + element[0]:
            raise ValueError
        self[element] = text = element[LENGTH_BYTES:].decode()
        return text


def _short_texts(body: bytes, start: int, end: int, rows: int) -> list[str] | None:
    """The strings where none has more than 255 bytes, in a loop as tight as can be; ``None`` where one is not fine."""
    values: list[str] = []
    texts = _Texts()
    append = values.append
    offset = start
    try:
        for _ in range(rows):
            first = offset
            offset += LENGTH_BYTES + body[offset]
            append(texts[body[first:offset]])
    except (IndexError, ValueError):
        return None
    return values if offset == end else None


def _many_texts(raw: bytes, rows: int) -> Texts | None:
    """The strings of a column of many ``rows``: of rows that are alike one is decoded.

    ``None`` where one is not short, or not fine: :func:`_any_texts` reads these, or says what is wrong.
    """
    elements = _short_elements(raw, rows)
    if elements is None:
        return None
    starts, sizes = elements
    longest = int(sizes.max())
    first = _first_alike(_words(raw + PADDING, starts, sizes, longest))
    distinct = np.flatnonzero(first == np.arange(rows))
    spans = zip(starts[distinct].tolist(), sizes[distinct].tolist(), strict=True)
    texts: Array = np.empty(rows, np.object_)
    try:
        texts[distinct] = [raw[start + LENGTH_BYTES : start + size].decode() for start, size in spans]
    except UnicodeDecodeError:
        return None
    return Texts.of(texts[first], longest - LENGTH_BYTES)


def _short_elements(raw: bytes, rows: int) -> tuple[Array, Array] | None:
    """Where the elements [N] start, and their sizes; ``None`` where ``raw`` is not ``rows`` short ones.

    Those of one length, as codes are, need one look. Else every place where four bytes are a small number
    is the start of one, but where strings are empty or hold NULs. Whether each ends where the next one
    starts tells; if not, a loop goes from one to the next.
    """
    lengths = np.ndarray((len(raw) - LENGTH_BYTES + 1,), "<u4", raw, 0, (1,))
    width, rest = divmod(len(raw), rows)
    if not rest and width <= LENGTH_BYTES + SHORT and (lengths[::width] == width - LENGTH_BYTES).all():
        return np.arange(0, len(raw), width), np.full(rows, width)
    starts = np.flatnonzero(lengths <= SHORT)
    if len(starts) == rows:
        sizes = _sizes(raw, starts)
        ends = starts + sizes
        if starts[0] == 0 and ends[-1] == len(raw) and (ends[:-1] == starts[1:]).all():
            return starts, sizes
    starts = _one_after_another(raw, rows)
    if len(starts) < rows or (lengths[starts] > SHORT).any():
        return None
    return starts, _sizes(raw, starts)


def _sizes(raw: bytes, starts: Array) -> Array:
    """The sizes [N] of the short elements that start there, their lengths' bytes included."""
    return np.frombuffer(raw, np.uint8)[starts].astype(np.intp) + LENGTH_BYTES


def _one_after_another(raw: bytes, rows: int) -> Array:
    """Where the elements [N] start if they are short; none where such ones would not end with ``raw``."""
    starts = []
    offset = 0
    try:
        for _ in range(rows):
            starts.append(offset)
            offset += LENGTH_BYTES + raw[offset]
    except IndexError:
        starts.clear()
    return np.array(starts if offset == len(raw) else [], np.intp)


def _words(padded: bytes, starts: Array, sizes: Array, longest: int) -> list[Array]:
    """The elements, lengths included, as words of eight bytes: the first words [N] of all, the second ones, and so on.

    Behind an element's end they are zero. As they tell its length, two elements are alike where all their words are.
    """
    at_each_byte = np.ndarray((len(padded) - WORD.itemsize + 1,), WORD, padded, 0, (1,))
    words = []
    for done in range(0, longest, WORD.itemsize):
        kept = np.minimum(np.maximum(sizes - done, 0), WORD.itemsize)
        words.append(at_each_byte[starts + done] & MASKS[kept])
    return words


def _first_alike(words: list[Array]) -> Array:
    """For each row [N] one that is like it in all ``words``, most often the same one for all that are alike.

    A table has a slot for each hash of a row, and a row in it. Those that find a row there that is not
    alike take other slots in the next round. Who is left over after the last one stands for itself: it is
    decoded more often than it need be, but never taken for another.
    """
    hashes = words[0] * MIX
    for word in words[1:]:
        hashes = ((hashes >> SHIFTS[0]) ^ hashes ^ word) * MIX
    left = np.arange(len(hashes))
    found = left.copy()
    row_of = np.empty(1 << SLOT_BITS, np.intp)
    for shift in SHIFTS:
        slots = ((hashes[left] >> shift) & SLOT_MASK).astype(np.intp)
        row_of[slots] = left
        others = row_of[slots]
        alike = words[0][others] == words[0][left]
        for word in words[1:]:
            alike &= word[others] == word[left]
        found[left[alike]] = others[alike]
        left = left[~alike]
        if not len(left):
            break
    return found


def _any_texts(body: bytes, start: int, end: int, name: str, rows: int, where: str) -> list[str]:
    values: list[str] = []
    offset = start
    for row in range(rows):
        first = offset + LENGTH_BYTES
        offset = first + int.from_bytes(body[offset:first], "little")
        if first > end or offset > end:
            raise MalformedRequest(
                f"{where}: column {name!r}, row {row}: expected a length and a string within {end - start} bytes, "
                f"got a length of {offset - first} at byte {first - LENGTH_BYTES - start}"
            )
        values.append(_text(body[first:offset], name, row, where))
    if offset != end:
        raise MalformedRequest(
            f"{where}: column {name!r}: expected {offset - start} bytes for {rows} x BYTES, got {end - start}"
        )
    return values


def _text(raw: bytes, name: str, row: int, where: str) -> str:
    try:
        return raw.decode()
    except UnicodeDecodeError as error:
        raise MalformedRequest(f"{where}: column {name!r}, row {row}: expected UTF-8, got {shown(raw[:60])}") from error
