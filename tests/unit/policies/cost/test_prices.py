"""The tables of prices, and the assumptions."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from pydantic import ValidationError

from policies.cost import PricesError
from policies.cost.prices import FOLDER, UnknownPrice, read_table, shipped
from policies.cost.usage import FILE, assumed, read_usage

PRICE = {"usd": 1, "unit": "hour", "as_of": "2026-01-01", "source": "https://example.com"}
TABLE: dict[str, Any] = {"cloud": "aws", "currency": "USD", "regions": {"us-east-1": {"a": PRICE}}}


@pytest.mark.parametrize("file", sorted(FOLDER.glob("*.json")), ids=lambda file: file.name)
def test_each_price_has_a_date_and_the_providers_page(file: Path) -> None:
    table = read_table(file)
    assert table.cloud == file.stem
    for prices in table.regions.values():
        for key, price in prices.items():
            assert ("aws.amazon.com" if table.cloud == "aws" else "azure.microsoft.com") in price.source, key
            assert price.query is None or price.query.api == table.cloud


def test_the_cloud_that_nobody_knows_and_the_key_that_is_missing() -> None:
    with pytest.raises(UnknownPrice, match="no prices of gcp"):
        shipped().of("gcp", "us-east-1", "a")
    with pytest.raises(UnknownPrice, match=r"no price of ec2\.x1\.32xlarge in us-east-1"):
        shipped().of("aws", "us-east-1", "ec2.x1.32xlarge")


def test_a_share_is_of_the_price_on_demand() -> None:
    price = shipped().of("aws", "us-east-1", "ec2.g6.2xlarge")
    spot = shipped().of("aws", "us-east-1", "ec2.g6.2xlarge", "ec2.spot")
    assert (spot.low, spot.high) == (pytest.approx(price.low * 0.1), price.high)
    with pytest.raises(UnknownPrice, match="no share of-a-kind"):
        shipped().of("aws", "us-east-1", "ec2.g6.2xlarge", "of-a-kind")


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"currency": "EUR"}, "currency"),
        ({"extra": 1}, "extra"),
        ({"regions": {"us-east-1": {"a": {**PRICE, "usd": -1}}}}, "usd"),
        ({"regions": {"us-east-1": {"a": {**PRICE, "source": "a book"}}}}, "source"),
        ({"regions": {"us-east-1": {"a": {**PRICE, "query": {"api": "gcp"}}}}}, "query"),
    ],
)
def test_a_table_that_is_none(tmp_path: Path, change: dict[str, Any], said: str) -> None:
    file = tmp_path / "aws.json"
    file.write_text(json.dumps(TABLE | change))
    with pytest.raises(PricesError, match=said):
        read_table(file)


def test_a_file_that_is_not_there(tmp_path: Path) -> None:
    with pytest.raises(PricesError, match="cannot be read"):
        read_table(tmp_path / "none.json")
    with pytest.raises(PricesError, match="cannot be read"):
        read_usage(tmp_path / "none.json")


def test_assumptions_are_dated_named_and_changed_one_by_one() -> None:
    usage = assumed()
    assert usage == read_usage(FILE)
    assert "requests 10,000,000" in usage.told()
    assert usage.with_changes({"requests": 5}).requests == 5
    with pytest.raises(ValidationError):
        usage.with_changes({"request": 5})
    with pytest.raises(ValidationError):
        usage.with_changes({"requests": -5})


def test_assumptions_that_are_none(tmp_path: Path) -> None:
    file = tmp_path / "usage.json"
    file.write_text("{}")
    with pytest.raises(PricesError, match="as_of"):
        read_usage(file)
