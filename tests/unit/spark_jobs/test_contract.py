"""The contract is read back as it was written, and nothing else is taken for one."""

from __future__ import annotations

import json
from datetime import UTC, datetime, timedelta, timezone
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import ValidationError

from spark_jobs.contract import (
    FILE_NAME,
    CategoricalProfile,
    Column,
    Contract,
    ContractBroken,
    ContractTampered,
    ContractUnreadable,
    NumericProfile,
    SourceCount,
    Split,
    parse_contract,
    read_contract,
)

DAY = timedelta(days=1)
START = datetime(2024, 1, 1, tzinfo=UTC)

finite = st.floats(allow_nan=False, allow_infinity=False)


@st.composite
def numeric_profiles(draw: st.DrawFn) -> NumericProfile:
    quantiles = tuple(sorted(draw(st.lists(finite, min_size=13, max_size=13))))
    bins = len(set(quantiles)) - 1
    histogram = tuple(draw(st.lists(st.integers(0, 10**9), min_size=bins, max_size=bins)))
    return NumericProfile(
        count=draw(st.integers(1, 10**9)),
        missing=draw(st.integers(0, 10**9)),
        mean=draw(finite),
        std=draw(finite),
        quantiles=quantiles,
        histogram=histogram,
    )


categorical_profiles = st.builds(
    CategoricalProfile,
    count=st.integers(0, 10**9),
    missing=st.integers(0, 10**9),
    frequencies=st.dictionaries(st.text(), st.integers(0, 10**9), max_size=5),
)


@st.composite
def contracts(draw: st.DrawFn) -> Contract:
    number = draw(numeric_profiles())
    return Contract(
        view=draw(st.text(min_size=1)),
        grain=draw(st.text()),
        prediction_lead_minutes=draw(st.integers(0, 10**6)),
        reporting_timezone="Europe/Zurich",
        columns=(
            Column(name="id", dtype="string", role="key", description=draw(st.text())),
            Column(name="at", dtype="timestamp", role="event_time", description=""),
            Column(name="happened", dtype="int32", role="label", description=""),
            Column(
                name="height", dtype="float32", role="feature", description="", minimum=draw(finite), profile=number
            ),
            Column(name="kind", dtype="string", role="feature", description="", profile=draw(categorical_profiles)),
        ),
        splits={
            "train": Split(start=START, end=START + DAY, rows=draw(st.integers(0, 10**9))),
            "validation": Split(start=START + DAY, end=START + 2 * DAY, rows=1),
            "test": Split(start=START + 2 * DAY, end=START + 3 * DAY, rows=1),
        },
        sources=(SourceCount(table="t", read=3, kept=2, quarantined={"tall-enough": 1}),),
    )


def example(**changes: Any) -> dict[str, Any]:
    """A valid contract as JSON has it, without its digest."""
    none: dict[str, Any] = {"count": 0, "missing": 9, "mean": None, "std": None, "quantiles": [], "histogram": []}
    columns: list[dict[str, Any]] = [
        {"name": "id", "dtype": "string", "role": "key", "description": ""},
        {"name": "at", "dtype": "timestamp", "role": "event_time", "description": ""},
        {"name": "happened", "dtype": "int32", "role": "label", "description": ""},
        {"name": "height", "dtype": "float32", "role": "feature", "description": "", "profile": none},
    ]
    return {
        "view": "v",
        "grain": "one thing",
        "prediction_lead_minutes": 0,
        "reporting_timezone": "UTC",
        "columns": columns,
        "splits": {
            "train": {"start": "2024-01-01T00:00:00Z", "end": "2024-01-02T00:00:00Z", "rows": 9},
            "validation": {"start": "2024-01-02T00:00:00Z", "end": "2024-01-03T00:00:00Z", "rows": 1},
            "test": {"start": "2024-01-03T00:00:00Z", "end": "2024-01-04T00:00:00Z", "rows": 1},
        },
        "sources": [],
        **changes,
    }


@given(contracts())
def test_a_contract_is_read_back_as_it_was_written(contract: Contract) -> None:
    read = parse_contract(contract.to_json(), "here")
    assert read == contract
    assert read.digest == contract.digest


@given(contracts(), st.data())
def test_any_number_changed_in_the_file_is_noticed(contract: Contract, data: st.DataObject) -> None:
    document = json.loads(contract.to_json())
    where = data.draw(st.sampled_from([("splits", "train", "rows"), ("columns", 3, "profile", "count")]))
    place = document
    for step in where[:-1]:
        place = place[step]
    place[where[-1]] += 1
    with pytest.raises(ContractTampered, match="was changed after it was written"):
        parse_contract(json.dumps(document), "here")


def test_a_contract_without_a_digest_is_taken_for_a_changed_one() -> None:
    with pytest.raises(ContractTampered):
        parse_contract(json.dumps(example()), "here")


def test_the_order_of_keys_and_the_white_space_of_the_file_do_not_matter() -> None:
    contract = Contract.model_validate(example())
    document = json.loads(contract.to_json())
    backwards = json.dumps(dict(reversed(document.items())), separators=(",", ":"))
    assert parse_contract(backwards, "here") == contract


def test_an_instant_is_the_same_in_whatever_zone_it_is_written() -> None:
    in_tokyo = START.astimezone(timezone(timedelta(hours=9)))
    utc, tokyo = Split(start=START, end=START + DAY, rows=1), Split(start=in_tokyo, end=in_tokyo + DAY, rows=1)
    assert tokyo.model_dump_json() == utc.model_dump_json()


@pytest.mark.parametrize(
    ("changes", "complaint"),
    [
        ({"format": 2}, "format"),
        ({"surprise": 1}, "surprise: Extra inputs are not permitted"),
        ({"prediction_lead_minutes": -1}, "prediction_lead_minutes"),
        ({"columns": example()["columns"] * 2}, "columns named twice: at, happened, height, id"),
        ({"columns": example()["columns"][:3]}, "at least one feature"),
        ({"columns": example()["columns"][1:2] + example()["columns"][3:]}, "one column must have the role label"),
        ({"splits": {"train": example()["splits"]["train"]}}, "splits must be train, validation and test"),
        (
            {"splits": {**example()["splits"], "test": example()["splits"]["train"]}},
            "before the one before it ends",
        ),
        ({"sources": [{"table": "t", "read": 3, "kept": 1, "quarantined": {"a": 1}}]}, "3 rows read, but 1 kept"),
    ],
)
def test_what_is_not_a_contract_is_refused_with_the_place_and_the_reason(
    changes: dict[str, Any], complaint: str
) -> None:
    with pytest.raises(ContractUnreadable, match="here is not a contract") as refused:
        parse_contract(json.dumps(example(**changes)), "here")
    assert complaint in str(refused.value)


@pytest.mark.parametrize(
    "profile",
    [
        {"quantiles": (2.0, 1.0), "histogram": (1,)},
        {"quantiles": (1.0, 2.0), "histogram": ()},
        {"quantiles": (1.0, 1.0), "histogram": (5,)},
        {"quantiles": (1.0, 2.0), "histogram": (1,), "mean": None},
        {"quantiles": (1.0, float("nan")), "histogram": (1,)},
    ],
)
def test_a_profile_that_contradicts_itself_is_refused(profile: dict[str, Any]) -> None:
    with pytest.raises(ValidationError):
        NumericProfile.model_validate({"count": 1, "missing": 0, "mean": 1.0, "std": 0.0, **profile})


@pytest.mark.parametrize(("dtype", "role"), [("int32", "feature"), ("float32", "attribute")])
def test_a_profile_belongs_to_a_feature_of_its_own_kind(dtype: str, role: str) -> None:
    profile = NumericProfile(count=0, missing=0, mean=None, std=None, quantiles=(), histogram=())
    with pytest.raises(ValidationError):
        Column.model_validate({"name": "a", "dtype": dtype, "role": role, "description": "", "profile": profile})


@pytest.mark.parametrize(
    ("found", "complaint"),
    [
        ({"id": "string", "at": "timestamp", "happened": "int32"}, "missing height"),
        ({"id": "string", "at": "timestamp", "happened": "int32", "height": "float64"}, "height is float64, expected"),
        (
            {"id": "string", "at": "timestamp", "happened": "int32", "height": "float32", "age": "int32"},
            "not in the contract: age",
        ),
    ],
)
def test_a_table_that_breaks_the_contract_is_told_how(found: dict[str, str], complaint: str) -> None:
    with pytest.raises(ContractBroken, match=complaint):
        Contract.model_validate(example()).check_columns(found, "the table")


def test_a_vocabulary_is_what_came_often_enough_in_alphabetical_order() -> None:
    profile = CategoricalProfile(count=60, missing=0, frequencies={"z": 50, "b": 5, "a": 5})
    assert profile.vocabulary(at_least=5) == ("a", "b", "z")
    assert profile.vocabulary(at_least=6) == ("z",)


def test_a_contract_is_found_by_its_file_and_by_its_folder(tmp_path: Path) -> None:
    contract = Contract.model_validate(example())
    (tmp_path / FILE_NAME).write_text(contract.to_json(), encoding="utf-8")
    assert read_contract(tmp_path) == read_contract(tmp_path / FILE_NAME) == contract


@pytest.mark.parametrize("content", [None, b"\xff\xfe", b"{", b"[]", b"{}"])
def test_a_file_that_holds_no_contract_is_named(tmp_path: Path, content: bytes | None) -> None:
    if content is not None:
        (tmp_path / FILE_NAME).write_bytes(content)
    with pytest.raises(ContractUnreadable, match=FILE_NAME if content is not None else str(tmp_path)):
        read_contract(tmp_path)
