"""What a model costs, by each of its names; and what is not known is not free."""

from __future__ import annotations

from datetime import date

import pytest

from serve.llm.bedrock import ids, prices
from serve.llm.settings import TokenPrices

SONNET = "anthropic.claude-sonnet-4-6"
ARN = "arn:aws:bedrock:eu-west-1:123456789012:inference-profile"


@pytest.mark.parametrize("model", [f"global.{SONNET}", f"{ARN}/global.{SONNET}"])
def test_a_global_profile_has_the_lowest_price(model: str) -> None:
    assert prices.price(model) == TokenPrices(input=3, output=15, cached=0.3)


@pytest.mark.parametrize(
    "model",
    [
        SONNET,
        *(f"{where}.{SONNET}" for where in ("us", "eu", "apac", "jp", "au", "us-gov")),
        f"{ARN}/eu.{SONNET}",
        f"arn:aws:bedrock:us-east-1::foundation-model/{SONNET}",
    ],
)
def test_every_other_costs_a_tenth_more(model: str) -> None:
    assert prices.price(model) == TokenPrices(input=3.3, output=16.5, cached=0.33)


def test_a_model_without_such_a_difference_costs_the_same_everywhere() -> None:
    found = {prices.price(f"{where}amazon.nova-lite-v1:0") for where in ("", "us.", "eu.", "global.")}
    assert found == {TokenPrices(input=0.06, output=0.24)}


@pytest.mark.parametrize(
    "model",
    [
        "anthropic.claude-unheard-of",
        f"moon.{SONNET}",
        "eu.",
        "",
        "arn:aws:bedrock:eu-west-1:123456789012:application-inference-profile/a1b2c3",
    ],
)
def test_a_model_that_is_not_known_has_no_price(model: str) -> None:
    assert prices.price(model) is None


def test_the_table_has_a_date_and_its_sources_and_no_model_twice() -> None:
    table = prices.table()
    assert date(2026, 1, 1) < table.date
    assert table.sources
    assert all(source.startswith("https://") for source in table.sources)
    assert all(ids.base(model) == model for model in table.models)
    assert all(price.input > 0 for price in table.models.values())
    assert all(price.output > 0 or "embed" in model for model, price in table.models.items())
