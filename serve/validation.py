"""Columns of a request → the arrays that a model takes, as its contract says."""

from __future__ import annotations

import math
import struct
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from itertools import chain
from operator import itemgetter
from typing import Any, Literal, Protocol, cast

import numpy as np
from numpy.typing import NDArray

from serve.gateway.errors import InputRejected, shown
from serve.runtimes.base import Array
from spark_jobs.contract import Column

Values = Sequence[object] | NDArray[Any]
"""The values of one column: as JSON gives them (``float``, ``int``, ``str``, ``bool``, ``None``, lists,
dicts), or an array ``[N]``: of numbers, where NaN is a missing one, or of ``str`` (dtype ``object``)."""


class Texts(np.ndarray[tuple[int], np.dtype[Any]]):
    """An array ``[N]`` of nothing but ``str``, not to be written to, so that nobody need look at each.

    ``longest``: no string has more characters. A part or a copy of it is not known to be like that.
    """

    longest: float = math.inf

    @classmethod
    def of(cls, array: Array, longest: int) -> Texts:
        array.flags.writeable = False
        texts = array.view(cls)
        texts.longest = longest
        return texts


Ranges = Literal["reject", "clip", "pass"]
"""What becomes of a number beyond its column's bounds: the batch is refused, the number is set to the
bound, or it stays. A missing number is never beyond them."""

LONGEST = 1024  # characters of a string

NULL = type(None)
NUMBERS = frozenset({float, int})
NUMBERS_OR_NULL = NUMBERS | {NULL}
TEXTS = frozenset({str})
JSON_NAMES = {bool: "boolean", str: "string", list: "array", dict: "object"}
LARGEST = float(np.finfo(np.float32).max)

OVERFLOWS = (struct.error, OverflowError)
"""What ``struct`` raises at a value that is no number, or an integer that no float holds."""

FLOAT32 = np.dtype(np.float32)
OBJECT = np.dtype(object)

FEW_ROWS = 16
"""Up to here it is faster to convert all columns' values at once, each of a known type, than column by column."""

JOINED = 64


@dataclass(frozen=True, slots=True)
class _Rule:
    """What one column takes. ``kinds`` are the Python types that are legal in it."""

    name: str
    expected: str
    in_range: str
    nullable: bool
    kinds: frozenset[type]
    low: float = -LARGEST
    high: float = LARGEST


class Features(Protocol):
    """What a contract says of a model's inputs: all of them, and those that are numbers and strings."""

    @property
    def features(self) -> tuple[Column, ...]: ...
    @property
    def numeric(self) -> tuple[Column, ...]: ...
    @property
    def categorical(self) -> tuple[Column, ...]: ...


class InputSchema:
    """The check of one model's inputs. Made once; called for every request.

    ``ranges`` is what becomes of numbers beyond the contract's bounds, ``longest_string`` counts characters.
    """

    def __init__(
        self, model: str, contract: Features, max_rows: int, *, ranges: Ranges = "reject", longest_string: int = LONGEST
    ) -> None:
        self.model = model
        self.max_rows = max_rows
        self.ranges = ranges
        self.longest_string = longest_string
        self.columns = {column.name: column for column in contract.features}
        self._numeric = tuple(_number(column, ranges) for column in contract.numeric)
        self._categorical = tuple(_string(column) for column in contract.categorical)
        self._names = [rule.name for rule in (*self._numeric, *self._categorical)]
        self._split = len(self._numeric)
        self._pick = _picker(self._names)
        self._bounded = any((rule.low, rule.high) != (-LARGEST, LARGEST) for rule in self._numeric)
        # [C, 1]: a comparison with a table [C, N] is one of each column with its own.
        self._low = np.array([[rule.low] for rule in self._numeric], dtype=np.float32)
        self._high = np.array([[rule.high] for rule in self._numeric], dtype=np.float32)
        self._required = np.array([[not rule.nullable] for rule in self._numeric])

    def arrays(self, columns: Mapping[str, Values]) -> dict[str, Array]:
        """Check a batch and convert it.

        The answer has a float32 ``[N]`` array per numeric feature (a missing number is NaN) and an object
        ``[N]`` array of ``str`` per categorical one (null is ``""``, which the graph reads as unknown).

        Raises:
            InputRejected: it names the column and the row, what was expected and what came.
        """
        values = self._ordered(columns)
        rows = self._rows(columns, values)
        arrays = [*self._numbers(values[: self._split], rows), *self._strings(values[self._split :], rows)]
        return dict(zip(self._names, arrays, strict=True))

    def _ordered(self, columns: Mapping[str, Values]) -> tuple[Values, ...]:
        """The columns in the order of the rules: numbers, then strings."""
        try:
            values = self._pick(columns)
        except KeyError:
            values = ()
        if values and len(columns) == len(values):
            return values
        missing = next((name for name in self.columns if name not in columns), None)
        if missing is not None:
            kind = "strings" if self.columns[missing].is_categorical else "numbers"
            raise InputRejected(self.model, missing, None, f"a column of {kind}", "no such column")
        extra = next(name for name in columns if name not in self.columns)
        raise InputRejected(self.model, extra, None, "no column of this name", "one")

    def _rows(self, columns: Mapping[str, Values], values: tuple[Values, ...]) -> int:
        """The batch's rows, once the columns' lengths are right."""
        lengths = set(map(len, values))
        if len(lengths) > 1:
            first = next(iter(self.columns))
            rows = len(columns[first])
            name = next(name for name in self.columns if len(columns[name]) != rows)
            expected = f"{rows} rows, as in column {first!r}"
            raise InputRejected(self.model, name, None, expected, f"{len(columns[name])} rows")
        rows = lengths.pop()
        if not 1 <= rows <= self.max_rows:
            raise InputRejected(self.model, None, None, f"1 to {self.max_rows} rows", f"{rows} rows")
        return rows

    def _numbers(self, values: Sequence[Values], rows: int) -> Array:
        """The numeric columns as a float32 table ``[C, N]``."""
        table = _joined(values, rows)
        if table is None and rows <= FEW_ROWS:
            table = self._few(values, rows)
        if table is None:
            table = self._many(values, rows)
        fine = (table >= self._low) & (table <= self._high) if self._bounded else np.isfinite(table)
        return table if np.count_nonzero(fine) == fine.size else self._settled(table, fine, values)

    def _few(self, values: Sequence[Values], rows: int) -> Array | None:
        """The table of short lists, all of them at once; ``None`` where it takes a look at each column."""
        flat = _flat(values, rows)
        kinds = set(map(type, flat))
        if not kinds <= NUMBERS:
            if not kinds <= NUMBERS_OR_NULL:
                return None
            for rule, column in zip(self._numeric, values, strict=True):
                if not rule.nullable and None in column:
                    return None
            flat = [math.nan if value is None else value for value in flat]
        buffer = bytearray(len(flat) * FLOAT32.itemsize)
        try:
            struct.pack_into(f"{len(flat)}f", buffer, 0, *flat)
        except OVERFLOWS:
            return None
        return np.ndarray((len(values), rows), FLOAT32, buffer)

    def _many(self, values: Sequence[Values], rows: int) -> Array:
        """The table of long lists and of arrays, one by one. To look at each value's type costs more than all else."""
        buffer = bytearray(len(values) * rows * FLOAT32.itemsize)
        table: Array = np.ndarray((len(values), rows), FLOAT32, buffer)
        pack_into = struct.Struct(f"{rows}f").pack_into
        lists: dict[int, Values] = {}
        # What float32 does not hold becomes an infinity, and is refused as one.
        with np.errstate(over="ignore"):
            for index, (rule, given) in enumerate(zip(self._numeric, values, strict=True)):
                column = self._plain(rule, given)
                if isinstance(column, np.ndarray):
                    table[index] = column
                    continue
                numbers = lists[index] = column
                if rule.nullable and None in column:
                    numbers = [math.nan if value is None else value for value in column]
                try:
                    pack_into(buffer, index * rows * FLOAT32.itemsize, *numbers)
                except OVERFLOWS:
                    self._check_kinds(rule, column)
                    table[index] = [_as_float64(value) for value in column]
        # Of all that JSON has, numbers and booleans alone can be packed, and these as 0 and 1.
        for index in np.flatnonzero(((table == 0) | (table == 1)).any(axis=1)).tolist():
            self._check_kinds(self._numeric[index], lists.get(index, ()))
        return table

    def _settled(self, table: Array, fine: Array, values: Sequence[Values]) -> Array:
        """The table with what is not fine dealt with: a missing number may be, one beyond a bound is clipped."""
        missing = np.isnan(table)
        wrong = (missing & self._required) | np.isinf(table)
        clips = self.ranges == "clip"
        if not clips:
            wrong |= ~(fine | missing)
        if np.count_nonzero(wrong):
            column, row = (int(index) for index in np.argwhere(wrong)[0])
            raise self._out_of_range(self._numeric[column], row, float(table[column, row]), values[column])
        return np.clip(table, self._low, self._high) if clips else table

    def _out_of_range(self, rule: _Rule, row: int, value: float, values: Values) -> InputRejected:
        expected = rule.in_range
        if not math.isfinite(value):
            expected = rule.expected if math.isnan(value) else "a number that float32 holds"
        came = values[row].item() if isinstance(values, np.ndarray) else values[row]
        return InputRejected(self.model, rule.name, row, expected, shown(came))

    def _strings(self, values: Sequence[Values], rows: int) -> Array:
        """The categorical columns as an object table ``[C, N]`` of ``str``."""
        texts: Sequence[Any] = _flat(values, rows) if rows <= FEW_ROWS else ()
        try:
            # Short columns, all of them at once: what can be joined is strings.
            fine = rows <= FEW_ROWS and len("".join(texts)) <= self.longest_string
        except TypeError:
            fine = False
        if not fine:
            texts = [self._texts(rule, column) for rule, column in zip(self._categorical, values, strict=True)]
        return np.array(texts, dtype=OBJECT).reshape(len(values), rows)

    def _texts(self, rule: _Rule, values: Values) -> Sequence[str]:
        """A column's strings, null as ``""``."""
        if isinstance(values, Texts) and values.longest <= self.longest_string:
            return cast("Sequence[str]", values)
        texts: Any = self._plain(rule, values)
        try:
            self._check_lengths(rule, texts)
        except TypeError:
            self._check_kinds(rule, texts)
            texts = ["" if value is None else value for value in texts]
            self._check_lengths(rule, texts)
        return cast("Sequence[str]", texts)

    def _check_lengths(self, rule: _Rule, texts: Sequence[str]) -> None:
        """Raises: TypeError, where one is not a string. To join many costs a fifth of asking each for its length."""
        for start in range(0, len(texts), JOINED):
            some = texts[start : start + JOINED]
            if len("".join(some)) > self.longest_string and len(longest := max(some, key=len)) > self.longest_string:
                expected = f"a string of at most {self.longest_string} characters"
                row = start + some.index(longest)
                raise InputRejected(self.model, rule.name, row, expected, f"{len(longest)} characters")

    def _plain(self, rule: _Rule, values: Values) -> Values:
        """A list as it is, an array of numbers too where the column takes them; another array as a list that fits."""
        if not isinstance(values, np.ndarray):
            return values
        if values.ndim != 1:
            came = f"an array of shape {list(values.shape)}"
            raise InputRejected(self.model, rule.name, None, "one value a row", came)
        if values.dtype.kind in "iuf" and float in rule.kinds:
            return values
        # Dates become numbers in ``tolist``, and can be packed as some: they stay what they are, and are refused.
        objects: Sequence[object] = list(values) if values.dtype.kind in "mM" else values.tolist()
        self._check_kinds(rule, objects)
        return objects

    def _check_kinds(self, rule: _Rule, values: Values) -> None:
        if not set(map(type, values)) <= rule.kinds:
            row = next(index for index, value in enumerate(values) if type(value) not in rule.kinds)
            came = (
                "null" if values[row] is None else f"{JSON_NAMES.get(type(values[row]), 'number')} {shown(values[row])}"
            )
            raise InputRejected(self.model, rule.name, row, rule.expected, came)


def _number(column: Column, ranges: Ranges) -> _Rule:
    low, high = column.minimum, column.maximum
    if ranges == "pass":
        low = high = None
    or_null = " or null" if column.nullable else ""
    return _Rule(
        name=column.name,
        expected=f"a number{or_null}",
        in_range=f"{_range(low, high)}{or_null}",
        nullable=column.nullable,
        kinds=NUMBERS_OR_NULL if column.nullable else NUMBERS,
        low=-LARGEST if low is None else max(-LARGEST, low),
        high=LARGEST if high is None else min(LARGEST, high),
    )


def _string(column: Column) -> _Rule:
    expected = "a string or null" if column.nullable else "a string"
    kinds = TEXTS | {NULL} if column.nullable else TEXTS
    return _Rule(column.name, expected, expected, column.nullable, kinds)


def _range(low: float | None, high: float | None) -> str:
    if low is None:
        return "a number" if high is None else f"a number up to {high:.12g}"
    return f"a number from {low:.12g}" if high is None else f"a number from {low:.12g} to {high:.12g}"


def _picker(names: Sequence[str]) -> Callable[[Mapping[str, Values]], tuple[Values, ...]]:
    return itemgetter(*names) if len(names) > 1 else lambda columns: (columns[names[0]],)


def _flat(values: Sequence[Values], rows: int) -> list[Any]:
    return [column[0] for column in values] if rows == 1 else list(chain.from_iterable(values))


def _joined(values: Sequence[Values], rows: int) -> Array | None:
    """The table ``[C, N]`` of float32 arrays, which binary tensors are; ``None`` where others are among them."""
    arrays = [column for column in values if type(column) is np.ndarray and column.ndim == 1]
    if len(arrays) < len(values) or {column.dtype for column in arrays} != {FLOAT32}:
        return None
    return np.concatenate(arrays).reshape(len(values), rows)


def _as_float64(value: Any) -> float:
    """A number as float64; beyond it, an infinity, which is refused later on. Null is NaN."""
    if value is None:
        return math.nan
    try:
        return float(value)
    except OverflowError:
        return math.inf
