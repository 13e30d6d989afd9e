"""What an answer costs, made or bought: the page shows what the prices and the arithmetic say now."""

from __future__ import annotations

import pytest

from policies.fit.instances import A100, INSTANCES
from policies.fit.llm import parameters
from scripts import compare_language_models as compared
from scripts.compare_language_models import MODEL, Made, dollars_a_request, load, made
from tests.documentation import ROOT

MEASURED_ALONE = 75
MEASURED_BY_EIGHT = 6.6 * MEASURED_ALONE
"""Tokens a second of Llama 3.1 8B on an A100, of one request and of eight at once:
https://johnmusgrave.com/p/vllm-throughput-latency-sweep-on"""


def test_the_page_has_the_tables() -> None:
    page = (ROOT / "docs" / "llm-comparison.md").read_text()
    told = "run `python -m scripts.compare_language_models` and put what it says into docs/llm-comparison.md"
    assert "\n".join(compared.lines()) in page, told


def test_the_model_is_llama_3_1_8b() -> None:
    assert parameters(MODEL) == 8_030_261_248


def on_an_a100(sequences: int) -> Made:
    return Made("p4d.24xlarge", A100, 1.0, sequences)


def test_the_arithmetic_is_near_what_was_measured() -> None:
    assert on_an_a100(1).tokens_a_second == pytest.approx(MEASURED_ALONE, rel=0.05)
    # Prompts were read in between there.
    assert on_an_a100(8).tokens_a_second == pytest.approx(MEASURED_BY_EIGHT, rel=0.15)


def test_more_at_once_are_more_requests_and_a_longer_wait_for_each() -> None:
    few, many = on_an_a100(4), on_an_a100(16)
    assert many.requests_an_hour > few.requests_an_hour
    assert many.answer_seconds > few.answer_seconds


def test_each_instance_has_room_for_its_sequences_and_no_more() -> None:
    assert len(list(made())) == len(compared.OWN)
    for own in made():
        assert load(own.sequences).fits(INSTANCES[own.instance])
        assert own.sequences == compared.MOST_SEQUENCES or not load(own.sequences + 1).fits(INSTANCES[own.instance])


def test_a_bought_answer_costs_its_tokens() -> None:
    # 1,000 × $1 + 250 × $5, of a million each.
    assert dollars_a_request(compared.BOUGHT["Claude Haiku 4.5"]) == pytest.approx(0.00225)


def test_where_both_cost_the_same_they_do() -> None:
    for own in made():
        each = dollars_a_request(compared.BOUGHT["Claude Haiku 4.5"])
        requests = own.dollars_an_hour / each
        assert requests * each == pytest.approx(own.dollars_an_hour)
        assert f"{requests:,.0f} an hour" in "\n".join(compared.lines())
