"""What is published is what is read: the codec of the online store's values, and the entity of a row."""

from __future__ import annotations

import math
import struct
from datetime import UTC, datetime, timedelta, timezone
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from spark_jobs.contract import Dtype
from spark_jobs.online import (
    LONGEST_ENTITY,
    Field,
    OnlineError,
    Schema,
    Unpublishable,
    Value,
    decode,
    encode,
    entity_of,
    instant,
    instant_text,
    shortest,
)
from tests import synthetic

VALUES: dict[Dtype, st.SearchStrategy[Any]] = {
    "string": st.text(),
    "int32": st.integers(-(2**31), 2**31 - 1),
    "int64": st.integers(-(2**63), 2**63 - 1),
    "float32": st.floats(width=32, allow_nan=False, allow_infinity=False),
    "float64": st.floats(allow_nan=False, allow_infinity=False),
    "timestamp": st.datetimes(timezones=st.just(UTC)),
}

EXTREMES: list[tuple[Dtype, Value]] = [
    ("string", ""),
    ("string", "señal 🚀 \0 ｅ\u0301"),
    ("int32", -(2**31)),
    ("int64", 2**63 - 1),
    ("int64", -(2**63)),
    ("float32", -0.0),
    ("float32", 1.401298464324817e-45),
    ("float32", 3.4028234663852886e38),
    ("float64", -0.0),
    ("float64", 5e-324),
    ("float64", 1.7976931348623157e308),
    ("timestamp", datetime(1, 1, 1, tzinfo=UTC)),
    ("timestamp", datetime(9999, 12, 31, 23, 59, 59, 999_999, tzinfo=UTC)),
]


def schema(*keys: Field) -> Schema:
    return Schema("orders", "c" * 64, "at", keys, (Field("size", "float32"),))


def bits(value: Value) -> Value | bytes:
    """What tells -0.0 from 0.0 as well."""
    return struct.pack("<d", value) if isinstance(value, float) else value


@pytest.mark.parametrize("dtype", VALUES)
@given(data=st.data())
def test_a_value_of_each_dtype_is_read_as_it_was_written(dtype: Dtype, data: st.DataObject) -> None:
    value = data.draw(VALUES[dtype] | st.none())
    found = decode(encode(value, dtype), dtype)
    assert (type(found), bits(found)) == (type(value), bits(value))


@pytest.mark.parametrize(("dtype", "value"), EXTREMES)
def test_so_are_the_extremes(dtype: Dtype, value: Value) -> None:
    assert bits(decode(encode(value, dtype), dtype)) == bits(value)


@pytest.mark.parametrize("dtype", ["float32", "float64"])
@given(value=st.floats(allow_nan=False, allow_infinity=False, width=32))
def test_a_number_is_one_that_dynamodb_takes(dtype: Dtype, value: float) -> None:
    [(kind, text)] = encode(value, dtype).items()
    magnitude = abs(float(str(text)))
    assert kind == "S" or magnitude == 0 or 1e-130 <= magnitude < 1e126
    assert kind == "N" or bits(value) == bits(-0.0)


@pytest.mark.parametrize(
    ("value", "text"),
    [(0.1, "0.1"), (59.37, "59.37"), (16_777_216.0, "16777216.0"), (1e-45, "1e-45"), (123_456.79, "123456.79")],
)
def test_a_float32_is_its_shortest_decimal_not_that_of_its_float64(value: float, text: str) -> None:
    assert shortest(struct.unpack("<f", struct.pack("<f", value))[0]) == text


@pytest.mark.parametrize("dtype", VALUES)
def test_missing_is_null_of_every_dtype(dtype: Dtype) -> None:
    assert encode(None, dtype) == {"NULL": True}
    assert decode({"NULL": True}, dtype) is None


def test_nan_is_how_a_float_is_missing_in_a_view() -> None:
    assert encode(math.nan, "float32") == {"NULL": True}


@pytest.mark.parametrize("value", [math.inf, -math.inf])
def test_an_infinite_value_cannot_be_published(value: float) -> None:
    with pytest.raises(Unpublishable, match="infinite"):
        encode(value, "float64")


@pytest.mark.parametrize(
    ("dtype", "stored"),
    [
        ("string", {"N": "1"}),
        ("int32", {"S": "1"}),
        ("int32", {"N": "2147483648"}),
        ("int64", {"N": "1.5"}),
        ("float32", {"N": "1e39"}),
        ("float32", {"S": "nan"}),
        ("timestamp", {"S": "2024-01-01"}),
        ("float64", {}),
    ],
)
def test_what_is_not_of_the_dtype_is_not_read(dtype: Dtype, stored: dict[str, str]) -> None:
    with pytest.raises((ValueError, OverflowError)):
        decode(stored, dtype)


@given(st.lists(st.datetimes(timezones=st.just(UTC)), min_size=2, max_size=2))
def test_the_texts_of_instants_are_in_order_of_time(instants: list[datetime]) -> None:
    earlier, later = sorted(instants)
    assert instant_text(earlier) <= instant_text(later)
    assert instant(instant_text(earlier)) == earlier


def test_an_instant_is_the_same_text_from_every_time_zone() -> None:
    there = datetime(2024, 1, 1, 2, tzinfo=timezone(timedelta(hours=2)))
    assert instant_text(there) == "2024-01-01T00:00:00.000000Z"


def test_an_entity_is_the_values_of_the_key_columns_in_the_order_of_the_contract() -> None:
    keys = schema(Field("shop", "string"), Field("number", "int64"), Field("opened", "timestamp"))
    assert (
        entity_of(keys, ["Café “1”", 2**63 - 1, datetime(2024, 1, 1, tzinfo=UTC)])
        == '["Café “1”",9223372036854775807,"2024-01-01T00:00:00.000000Z"]'
    )


@given(st.lists(st.tuples(st.text(max_size=3), st.text(max_size=3)), min_size=2, max_size=2, unique=True))
def test_two_keys_are_two_entities(keys: list[tuple[str, str]]) -> None:
    one, other = (entity_of(schema(Field("a", "string"), Field("b", "string")), key) for key in keys)
    assert one != other


def test_zero_is_one_entity_whatever_its_sign() -> None:
    key = schema(Field("at", "float64"))
    assert entity_of(key, [-0.0]) == entity_of(key, [0.0]) == "[0.0]"


@pytest.mark.parametrize(
    ("value", "reason"),
    [(None, "id, a key, is missing"), ("x" * LONGEST_ENTITY, "more than 2,048 bytes")],
)
def test_a_row_without_a_usable_key_is_of_no_entity(value: Value, reason: str) -> None:
    with pytest.raises(Unpublishable, match=reason):
        entity_of(schema(Field("id", "string")), [value])


def test_the_schema_of_a_contract_is_its_keys_and_features_without_label_and_attributes() -> None:
    contract = synthetic.contract_for(synthetic.table(100), features=("size", "shop"))
    found = Schema.of(contract)
    assert found.keys == (Field("order_id", "string"),)
    assert found.features == (Field("size", "float32"), Field("shop", "string"))
    assert found.contract == contract.digest


def test_a_view_without_a_key_cannot_be_published() -> None:
    contract = synthetic.contract_for(synthetic.table(100))
    columns = tuple(
        column.model_copy(update={"role": "attribute"}) if column.role == "key" else column
        for column in contract.columns
    )
    with pytest.raises(OnlineError, match="no column with the role key"):
        Schema.of(contract.model_copy(update={"columns": columns}))
