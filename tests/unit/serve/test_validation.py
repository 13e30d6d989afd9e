"""Columns against the contract: lists and arrays alike, ranges, missing numbers, long strings."""

from __future__ import annotations

import math
import re
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from serve.gateway.errors import InputRejected
from serve.validation import FEW_ROWS, InputSchema, Ranges, Texts, Values
from spark_jobs.contract import Contract
from tests.unit.serve import tiny

LARGEST = float(np.finfo(np.float32).max)
LONG = FEW_ROWS + 5


def bounded(minimum: float | None = 0.0, maximum: float | None = 1439.0) -> Contract:
    """The small model's contract with bounds on its two numbers."""
    contract = tiny.contract()
    columns = tuple(
        column.model_copy(update={"minimum": minimum, "maximum": maximum}) if column.is_numeric else column
        for column in contract.columns
    )
    return contract.model_copy(update={"columns": columns})


def schema(contract: Contract | None = None, **options: Any) -> InputSchema:
    return InputSchema(tiny.NAME, contract or tiny.contract(), 5000, **options)


def batch(rows: int, **changed: Values) -> dict[str, Values]:
    good: dict[str, Values] = {
        "zone": ["a"] * rows,
        "depot": ["b"] * rows,
        "weight": [2.5] * rows,
        "hour": [3.5] * rows,
    }
    return good | changed


def placed(rows: int, row: int, value: object, good: object) -> list[object]:
    return [value if index == row else good for index in range(rows)]


def rejected(columns: Mapping[str, Values], message: str, contract: Contract | None = None, **options: Any) -> None:
    with pytest.raises(InputRejected) as caught:
        schema(contract, **options).arrays(columns)
    assert message in str(caught.value), str(caught.value)


@pytest.mark.parametrize("rows", [1, 3, LONG])
@pytest.mark.parametrize("ranges", ["reject", "clip", "pass"])
def test_a_batch_becomes_float32_and_object_arrays(rows: int, ranges: Ranges) -> None:
    sent = batch(rows, hour=placed(rows, 0, None, 3), depot=placed(rows, 0, None, "b"))
    found = schema(bounded(), ranges=ranges).arrays(sent)
    assert {name: (array.dtype, array.shape) for name, array in found.items()} == {
        "zone": (np.dtype(object), (rows,)),
        "depot": (np.dtype(object), (rows,)),
        "weight": (np.dtype(np.float32), (rows,)),
        "hour": (np.dtype(np.float32), (rows,)),
    }
    np.testing.assert_array_equal(found["hour"], np.array(placed(rows, 0, np.nan, 3), dtype=np.float32))
    assert found["depot"].tolist() == placed(rows, 0, "", "b")
    assert all(array.flags.writeable and array.flags.c_contiguous for array in found.values())


BAD: list[tuple[str, object, str]] = [
    ("weight", None, "expected a number, got null"),
    ("weight", True, "expected a number, got boolean True"),
    ("weight", "2.5", "expected a number, got string '2.5'"),
    ("weight", [1.0], "expected a number, got array [1.0]"),
    ("weight", math.nan, "expected a number, got nan"),
    ("weight", math.inf, "expected a number that float32 holds, got inf"),
    ("weight", 1e39, "expected a number that float32 holds, got 1e+39"),
    ("hour", False, "expected a number or null, got boolean False"),
    ("hour", {}, "expected a number or null, got object {}"),
    ("hour", -math.inf, "expected a number that float32 holds, got -inf"),
    ("hour", 10**400, "expected a number that float32 holds, got 1000"),
    ("zone", None, "expected a string, got null"),
    ("zone", 5, "expected a string, got number 5"),
    ("depot", 1.5, "expected a string or null, got number 1.5"),
    ("depot", "x" * 1025, "expected a string of at most 1024 characters, got 1025 characters"),
]


@pytest.mark.parametrize(("name", "value", "message"), BAD)
@pytest.mark.parametrize("rows", [1, 3, LONG, 200])
@pytest.mark.parametrize("ranges", ["reject", "clip", "pass"])
def test_a_wrong_value_is_named_with_its_column_and_row(
    name: str, value: object, message: str, rows: int, ranges: Ranges
) -> None:
    good = "a" if name in ("zone", "depot") else 1
    sent = batch(rows, **{name: placed(rows, rows - 1, value, good)})
    rejected(sent, f"column '{name}', row {rows - 1}: {message}", bounded(), ranges=ranges)


def test_a_null_beside_a_wrong_value_hides_nothing() -> None:
    for rows in (3, LONG):
        rejected(batch(rows, hour=[None] * (rows - 1) + ["7"]), f"row {rows - 1}: expected a number or null")
        rejected(batch(rows, hour=[None] * (rows - 1) + [True]), f"row {rows - 1}: expected a number or null")
        rejected(batch(rows, depot=[None] * (rows - 1) + [7]), f"row {rows - 1}: expected a string or null")


numbers = st.floats(width=32, allow_nan=False, allow_infinity=False) | st.integers(-(2**64), 2**64)


@settings(max_examples=150)
@given(st.lists(st.tuples(numbers, st.none() | numbers, st.text(max_size=4)), min_size=1, max_size=60))
def test_any_batch_is_converted_as_numpy_does_it_value_by_value(rows: list[tuple[Any, Any, str]]) -> None:
    weight, hour, zone = (list(column) for column in zip(*rows, strict=True))
    found = schema().arrays(batch(len(rows), weight=weight, hour=hour, zone=zone))
    np.testing.assert_array_equal(found["weight"], np.array(weight, dtype=np.float64).astype(np.float32))
    np.testing.assert_array_equal(found["hour"], np.array(hour, dtype=np.float64).astype(np.float32))
    assert found["zone"].tolist() == zone


@pytest.mark.parametrize("dtype", ["f2", "f4", "f8", ">f4", "i1", "i2", "i4", "i8", "u1", "u2", "u4", "u8"])
@pytest.mark.parametrize("rows", [1, LONG])
def test_arrays_of_any_numeric_dtype_are_numbers(dtype: str, rows: int) -> None:
    weight = np.arange(rows, dtype=dtype)
    found = schema().arrays(batch(rows, weight=weight, zone=np.array(["a"] * rows, dtype=object)))
    assert found["weight"].dtype == np.float32
    np.testing.assert_array_equal(found["weight"], np.arange(rows))
    assert found["zone"].tolist() == ["a"] * rows


def array(*values: object, dtype: Any = None) -> Any:
    return np.array(values, dtype=dtype)


@pytest.mark.parametrize(
    ("changed", "message"),
    [
        ({"weight": array(True, False)}, "column 'weight', row 0: expected a number, got boolean True"),
        ({"weight": array(1.0, np.nan)}, "column 'weight', row 1: expected a number, got nan"),
        ({"hour": array(1.0, np.inf)}, "column 'hour', row 1: expected a number that float32 holds, got inf"),
        ({"hour": array(1.0, -1e39)}, "column 'hour', row 1: expected a number that float32 holds, got -1e+39"),
        ({"weight": array(1j, 2j)}, "column 'weight', row 0: expected a number, got number 1j"),
        ({"weight": array("1", "2")}, "column 'weight', row 0: expected a number, got string '1'"),
        ({"weight": array("2024", "2025", dtype="M8[ns]")}, "column 'weight', row 0: expected a number, got number"),
        ({"weight": array(1.0, None, dtype=object)}, "column 'weight', row 1: expected a number, got null"),
        ({"weight": np.zeros((2, 1))}, "column 'weight': expected one value a row, got an array of shape [2, 1]"),
        ({"zone": np.zeros((2, 1))}, "column 'zone': expected one value a row, got an array of shape [2, 1]"),
        ({"zone": array(1.5, 2.5)}, "column 'zone', row 0: expected a string, got number 1.5"),
        ({"zone": array("a", None, dtype=object)}, "column 'zone', row 1: expected a string, got null"),
        ({"zone": array(b"a", b"b")}, "column 'zone', row 0: expected a string, got"),
    ],
)
def test_arrays_are_held_to_what_lists_are(changed: dict[str, Values], message: str) -> None:
    rejected(batch(2, **changed), message)


def test_nan_in_an_array_is_a_missing_number_where_the_column_may_lack_one() -> None:
    found = schema(bounded()).arrays(batch(2, hour=array(np.nan, 5.0), weight=array(0.0, 1439.0, dtype=np.float32)))
    np.testing.assert_array_equal(found["hour"], np.array([np.nan, 5.0], dtype=np.float32))


@pytest.mark.parametrize("rows", [1, 3, LONG])
@pytest.mark.parametrize("as_array", [True, False])
def test_what_is_beyond_its_bounds_is_refused_clipped_or_passed(rows: int, as_array: bool) -> None:
    def column(value: float) -> Values:
        values: Sequence[object] = placed(rows, rows - 1, value, 7.0)
        return np.array(values, dtype=np.float32) if as_array else values

    place = f"column 'weight', row {rows - 1}: expected a number from 0 to 1439, got 1500.0"
    rejected(batch(rows, weight=column(1500.0)), place, bounded())
    rejected(batch(rows, hour=column(-0.5)), "expected a number from 0 to 1439 or null, got -0.5", bounded())
    rejected(batch(rows, weight=column(-1.0)), "a number from 0, got -1.0", bounded(maximum=None))
    rejected(batch(rows, weight=column(2000.0)), "a number up to 1439, got 2000.0", bounded(minimum=None))
    sent = batch(rows, weight=column(1500.0), hour=column(-0.5))
    clipped = schema(bounded(), ranges="clip").arrays(sent)
    assert (clipped["weight"][-1], clipped["hour"][-1]) == (1439.0, 0.0)
    passed = schema(bounded(), ranges="pass").arrays(sent)
    assert (passed["weight"][-1], passed["hour"][-1]) == (1500.0, -0.5)


def test_bounds_are_included_as_float32_has_them() -> None:
    tenth = bounded(minimum=0.1, maximum=0.3)
    for values in ([0.1, 0.3], np.array([0.1, 0.3], dtype=np.float32), np.array([0.1, 0.3])):
        found = schema(tenth).arrays(batch(2, weight=values, hour=values))
        np.testing.assert_array_equal(found["weight"], np.array([0.1, 0.3], dtype=np.float32))


def test_a_missing_number_is_neither_out_of_range_nor_clipped() -> None:
    for ranges in ("reject", "clip", "pass"):
        found = schema(bounded(), ranges=ranges).arrays(batch(2, hour=[None, 3.0]))
        np.testing.assert_array_equal(found["hour"], np.array([np.nan, 3.0], dtype=np.float32))


def test_the_longest_string_may_be_set_and_a_batch_may_hold_more_than_one_of_it() -> None:
    for rows in (2, 300):
        texts = ["ü" * 10] * rows
        assert schema(longest_string=10).arrays(batch(rows, zone=texts))["zone"].tolist() == texts
        late = [*texts[:-1], "x" * 11]
        rejected(
            batch(rows, zone=late),
            f"column 'zone', row {rows - 1}: expected a string of at most 10 characters, got 11 characters",
            longest_string=10,
        )


def test_the_first_mistake_is_named_where_there_are_many() -> None:
    weight = [1.0, 2000.0, -5.0]
    rejected(batch(3, weight=weight, hour=weight), "column 'weight', row 1", bounded())


def test_a_model_of_one_column_is_checked_too() -> None:
    contract = tiny.contract()
    for kept in ("weight", "zone"):
        columns = tuple(column for column in contract.columns if column.role != "feature" or column.name == kept)
        one = schema(contract.model_copy(update={"columns": columns}))
        assert list(one.arrays({kept: batch(2)[kept]})) == [kept]
        with pytest.raises(InputRejected, match=re.escape(f"column '{kept}': expected a column of")):
            one.arrays({"other": [1.0]})


def outcome(columns: Mapping[str, Values], **options: Any) -> dict[str, list[object]] | str:
    try:
        return {name: [*map(str, array)] for name, array in schema(bounded(), **options).arrays(columns).items()}
    except InputRejected as error:
        return str(error)


floats = st.sampled_from([0.0, -0.0, 1.0, 1439.0, 1440.0, -1.0, math.nan, math.inf, -math.inf, 1e38])


@settings(max_examples=200)
@given(
    st.lists(st.tuples(floats, floats, st.text(max_size=4)), min_size=1, max_size=40),
    st.sampled_from(["reject", "clip", "pass"]),
    st.integers(1, 4),
)
def test_float32_arrays_and_known_texts_are_held_to_what_others_are(
    rows: list[tuple[float, float, str]], ranges: Ranges, longest: int
) -> None:
    weight, hour, zone = (list(column) for column in zip(*rows, strict=True))
    numbers: dict[str, Any] = {"weight": np.array(weight, np.float32), "hour": np.array(hour, np.float32)}
    known = Texts.of(np.array(zone, dtype=object), max(len(text.encode()) for text in zone))
    usual = outcome(batch(len(rows), **numbers, zone=known), ranges=ranges, longest_string=longest)
    # A column of float64 has the numbers go one by one, and shows the same ones.
    one_by_one: dict[str, Any] = {"weight": numbers["weight"], "hour": numbers["hour"].astype(np.float64)}
    assert usual == outcome(batch(len(rows), **one_by_one, zone=zone), ranges=ranges, longest_string=longest)


def test_only_texts_themselves_are_known_to_be_strings() -> None:
    known = Texts.of(np.array(["a"] * LONG, dtype=object), 1)
    with pytest.raises(ValueError, match="read-only"):
        known[0] = 5
    copy = known.copy()
    copy[3] = 5
    rejected(batch(LONG, zone=copy), "column 'zone', row 3: expected a string, got number 5")
    rejected(batch(LONG, weight=known), "column 'weight', row 0: expected a number, got string 'a'")
    found = schema().arrays(batch(LONG, zone=known))["zone"]
    assert type(found) is np.ndarray
    assert found.flags.writeable
