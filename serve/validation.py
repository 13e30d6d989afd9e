"""Columns of a request → the arrays that a model takes, as its contract says."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from serve.gateway.errors import InputRejected, shown
from serve.runtimes.base import Array
from spark_jobs.contract import Column, Contract

Values = Sequence[object]
"""The values of one column, as JSON gives them: ``float``, ``int``, ``str``, ``bool``, ``None``, lists, dicts."""

NULL = type(None)
NUMBERS = frozenset({float, int})
TEXTS = frozenset({str})
LARGEST = float(np.finfo(np.float32).max)


@dataclass(frozen=True, slots=True)
class _Rule:
    """What one column takes. ``kinds`` are the Python types that are legal in it."""

    name: str
    expected: str
    kinds: frozenset[type]


class InputSchema:
    """The check of one model's inputs. Made once; called for every request."""

    def __init__(self, model: str, contract: Contract, max_rows: int) -> None:
        self.model = model
        self.max_rows = max_rows
        self.columns = {column.name: column for column in contract.features}
        self._numeric = tuple(_rule(column, NUMBERS, "a number") for column in contract.numeric)
        self._categorical = tuple(_rule(column, TEXTS, "a string") for column in contract.categorical)

    def arrays(self, columns: Mapping[str, Values]) -> dict[str, Array]:
        """Check a batch and convert it.

        The answer has a float32 ``[N]`` array per numeric feature (null is NaN) and an object ``[N]``
        array of ``str`` per categorical one (null is ``""``, which the graph reads as unknown).

        Raises:
            InputRejected: it names the column and the row, what was expected and what came.
        """
        rows = self._rows(columns)
        arrays = self._numbers(columns, rows)
        for rule in self._categorical:
            values = columns[rule.name]
            kinds = set(map(type, values))
            if not kinds <= rule.kinds:
                raise self._wrong(rule, values)
            array = np.empty(rows, dtype=object)
            array[:] = ["" if value is None else value for value in values] if NULL in kinds else values
            arrays[rule.name] = array
        return arrays

    def _rows(self, columns: Mapping[str, Values]) -> int:
        """The batch's rows, once its set of columns and their lengths are right."""
        if columns.keys() != self.columns.keys():
            missing = next((name for name in self.columns if name not in columns), None)
            if missing is not None:
                raise InputRejected(self.model, missing, None, self._described(missing), "no such column")
            extra = next(name for name in columns if name not in self.columns)
            raise InputRejected(self.model, extra, None, "no column of this name", "one")
        lengths = set(map(len, columns.values()))
        rows = len(columns[next(iter(self.columns))])
        if len(lengths) > 1:
            name = next(name for name in self.columns if len(columns[name]) != rows)
            first = next(iter(self.columns))
            raise InputRejected(
                self.model, name, None, f"{rows} rows, as in column {first!r}", f"{len(columns[name])} rows"
            )
        if not 1 <= rows <= self.max_rows:
            raise InputRejected(self.model, None, None, f"1 to {self.max_rows} rows", f"{rows} rows")
        return rows

    def _numbers(self, columns: Mapping[str, Values], rows: int) -> dict[str, Array]:
        rules = self._numeric
        for rule in rules:
            values = columns[rule.name]
            if not set(map(type, values)) <= rule.kinds:
                raise self._wrong(rule, values)
        if not rules:
            return {}
        # One conversion for all columns costs a tenth of one each; float64 first, to see what overflows.
        try:
            table = np.array([columns[rule.name] for rule in rules], dtype=np.float64)  # [C, N]
        except OverflowError:
            table = np.full((len(rules), rows), np.inf)
        if (too_large := np.abs(table) > LARGEST).any():
            column, row = np.argwhere(too_large)[0]
            rule = rules[column]
            value = columns[rule.name][row]
            raise InputRejected(self.model, rule.name, int(row), "a number that float32 holds", shown(value))
        table = table.astype(np.float32)
        return {rule.name: table[index] for index, rule in enumerate(rules)}

    def _wrong(self, rule: _Rule, values: Values) -> InputRejected:
        row = next(index for index, value in enumerate(values) if type(value) not in rule.kinds)
        came = "null" if values[row] is None else f"{_json_name(values[row])} {shown(values[row])}"
        return InputRejected(self.model, rule.name, row, rule.expected, came)

    def _described(self, name: str) -> str:
        return f"a column of {'strings' if self.columns[name].is_categorical else 'numbers'}"


def _rule(column: Column, kinds: frozenset[type], expected: str) -> _Rule:
    if column.nullable:
        return _Rule(column.name, f"{expected} or null", kinds | {NULL})
    return _Rule(column.name, expected, kinds)


def _json_name(value: object) -> str:
    names = {bool: "boolean", str: "string", list: "array", dict: "object"}
    return names.get(type(value), "number")
