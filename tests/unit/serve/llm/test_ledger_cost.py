"""What a request costs, and what it may cost at most."""

from __future__ import annotations

import itertools
import math
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from serve.llm.backend import Tokens
from serve.llm.ledger.cost import (
    AcceleratorPricing,
    AcceleratorTime,
    TokenPricing,
    dollars_of_tokens,
    guessed,
    guessed_input,
    most_dollars,
)
from serve.llm.settings import TokenPrices
from tests.unit.serve.llm.uses import Seconds

PRICES = TokenPrices(input=3.0, output=15.0, cached=0.3)
CONTEXT = 4096


def test_tokens_cost_by_the_million_and_cached_ones_as_such() -> None:
    assert dollars_of_tokens(Tokens(1_000_000, 0, 0), PRICES) == 3.0
    assert dollars_of_tokens(Tokens(1_000_000, 1_000_000, 600_000), PRICES) == pytest.approx(0.4 * 3 + 0.6 * 0.3 + 15)
    assert dollars_of_tokens(Tokens(1_000_000, 0, 600_000), TokenPrices(input=3.0, output=15.0)) == 3.0


def test_a_price_that_is_not_known_is_not_zero() -> None:
    bought = TokenPricing(None, CONTEXT)
    assert bought.begin().dollars(Tokens(5, 5)) is None
    own = AcceleratorPricing(None, AcceleratorTime(), 60)
    assert own.begin().dollars(Tokens(5, 5)) is None
    assert bought.most("chat", {}) == own.most("chat", {}) == 0.0
    assert TokenPricing(TokenPrices(input=0, output=0), CONTEXT).begin().dollars(Tokens(5, 5)) == 0.0


def test_sixteen_requests_in_an_hour_cost_one_hour_together() -> None:
    clock = Seconds()
    pricing = AcceleratorPricing(2.5, AcceleratorTime(clock=clock), most_seconds=3600)
    charges = [pricing.begin() for _ in range(16)]
    clock.now = 3600
    assert [charge.dollars(Tokens()) for charge in charges] == [pytest.approx(2.5 / 16)] * 16
    alone = pricing.begin()
    clock.now += 3600
    assert alone.dollars(Tokens()) == pytest.approx(2.5)
    assert pricing.most("chat", {}) == 2.5


def test_who_ran_alone_pays_for_that_time_alone() -> None:
    clock = Seconds()
    time = AcceleratorTime(clock=clock)
    long = time.begin()
    clock.now = 10
    short = time.begin()
    clock.now = 14
    assert short.end() == 2
    assert short.end() == 2
    clock.now = 20
    assert long.end() == 10 + 2 + 6


@st.composite
def histories(draw: st.DrawFn) -> list[tuple[float, float]]:
    """Requests as (begin, end)."""
    times = st.floats(0, 1000)
    return [(min(pair), max(pair)) for pair in draw(st.lists(st.tuples(times, times), min_size=1, max_size=12))]


def replayed(requests: list[tuple[float, float]], times: list[AcceleratorTime], clock: Seconds) -> list[float]:
    """Each request's share; they go to the times in turn, as to gateways."""
    # A begin before an end at the same moment, so that none ends before it began.
    moments = sorted((at, kind, number) for number, pair in enumerate(requests) for kind, at in enumerate(pair))
    running: dict[int, Any] = {}
    shares = [0.0] * len(requests)
    for at, kind, number in moments:
        clock.now = at
        if kind == 0:
            running[number] = times[number % len(times)].begin()
        else:
            shares[number] = running.pop(number).end()
    return shares


def at_work(requests: list[tuple[float, float]], replicas: int) -> float:
    """The seconds that accelerators work, of which as many do as requests run, up to all of them."""
    edges = sorted({edge for pair in requests for edge in pair})
    return sum(
        (end - begin) * min(replicas, sum(1 for first, last in requests if first <= begin and end <= last))
        for begin, end in itertools.pairwise(edges)
    )


@given(histories(), st.integers(1, 4))
def test_shares_come_to_the_time_that_accelerators_worked(requests: list[tuple[float, float]], replicas: int) -> None:
    clock = Seconds()
    shares = replayed(requests, [AcceleratorTime(replicas, clock=clock)], clock)
    assert sum(shares) == pytest.approx(at_work(requests, replicas), abs=1e-6)
    for share, (begin, end) in zip(shares, requests, strict=True):
        assert -1e-9 <= share <= end - begin + 1e-6


@given(histories(), st.integers(1, 4), st.integers(1, 4))
def test_several_gateways_never_count_an_accelerator_s_time_twice(
    requests: list[tuple[float, float]], replicas: int, gateways: int
) -> None:
    clock = Seconds()
    shares = replayed(requests, [AcceleratorTime(replicas, gateways, clock) for _ in range(gateways)], clock)
    assert sum(shares) <= at_work(requests, replicas) + 1e-6


def test_gateways_that_come_and_go_share_the_time_from_then_on() -> None:
    clock = Seconds()
    time = AcceleratorTime(1, 4, clock)
    share = time.begin()
    clock.now = 100.0
    time.shared_by(1)
    clock.now = 200.0
    time.shared_by(2)
    clock.now = 300.0
    assert share.end() == pytest.approx(25 + 100 + 50)


def test_a_whole_answer_that_was_given_up_is_guessed_by_its_time_and_its_bound() -> None:
    body = {"messages": [{"role": "user", "content": "a" * 400}]}
    assert guessed(body, 0.0) == Tokens(guessed_input(body), 0)
    assert guessed(body, 20.0).output == 2000
    assert guessed({**body, "max_tokens": 50}, 20.0).output == 50
    assert guessed({"input": "a text"}, 20.0).output == 0


def test_gateways_with_as_many_requests_each_count_all_of_it() -> None:
    clock = Seconds()
    shares = replayed([(0.0, 100.0)] * 8, [AcceleratorTime(2, 4, clock) for _ in range(4)], clock)
    assert sum(shares) == pytest.approx(200)


def chat(text: str, **given: Any) -> dict[str, Any]:
    return {"model": "m", "messages": [{"role": "user", "content": text}], **given}


@given(st.text(), st.integers(1, 5000), st.integers(1, 3))
def test_a_request_comes_to_no_more_than_its_most(text: str, longest: int, choices: int) -> None:
    # No tokenizer makes more tokens than there are bytes, and no answer is longer than asked for or than the context.
    worst = Tokens(min(CONTEXT, len(text.encode())), min(longest, CONTEXT) * choices)
    most = most_dollars(chat(text, max_tokens=longest, n=choices), PRICES, CONTEXT)
    assert dollars_of_tokens(worst, PRICES) <= most + 1e-12
    assert most <= dollars_of_tokens(Tokens(CONTEXT, CONTEXT * choices), PRICES) + 1e-12


def test_a_character_may_be_as_many_tokens_as_it_has_bytes() -> None:
    assert most_dollars(chat("€" * 5000), TokenPrices(input=1_000_000, output=0), 10**6) >= 3 * 5000


def output_of(body: dict[str, Any]) -> float:
    return most_dollars(body, TokenPrices(input=0, output=1_000_000), CONTEXT)


@pytest.mark.parametrize(
    ("body", "tokens"),
    [
        (chat("a", max_tokens=10), 10),
        (chat("a", max_completion_tokens=10), 10),
        (chat("a", max_tokens=10, max_completion_tokens=20), 20),
        (chat("a"), CONTEXT),
        (chat("a", max_tokens=10**9), CONTEXT),
        (chat("a", max_tokens=None), CONTEXT),
        (chat("a", max_tokens="10"), CONTEXT),
        (chat("a", max_tokens=True), CONTEXT),
        (chat("a", max_tokens=-1), CONTEXT),
        (chat("a", max_tokens=10, n=3), 30),
        (chat("a", max_tokens=10, n="x"), 10),
        (chat("a", max_tokens=10**400, n=10**400), CONTEXT * 10**9),
        ({"prompt": ["a", "b", "c"], "max_tokens": 10, "best_of": 2}, 60),
        ({"prompt": [1, 2, 3], "max_tokens": 10}, 10),
        ({"prompt": [[1, 2], [3]], "max_tokens": 10}, 20),
        ({"prompt": "abc", "max_tokens": 10}, 10),
        ({"input": ["a", "b"]}, 0),
        ({}, 0),
    ],
)
def test_an_answer_s_bound_is_the_request_s_own_or_the_model_s(body: dict[str, Any], tokens: int) -> None:
    assert output_of(body) == pytest.approx(tokens)


PROMPT = {"role": "user", "content": "x" * 100_000}


@pytest.mark.parametrize(
    "message",
    [
        {**PROMPT, "type": "image"},
        {"role": "user", "content": [{"type": "text", "text": "x" * 100_000}], "type": "image_url"},
        {"role": "user", "content": [{"type": "image", "text": "x" * 100_000}]},
        {"role": "user", "content": [{"type": "text", "text": {"type": "image", "of": "x" * 100_000}}]},
    ],
)
def test_what_only_calls_itself_an_image_is_read_as_text(message: dict[str, Any]) -> None:
    plain, said = ({"messages": [each], "max_tokens": 1} for each in (PROMPT, message))
    assert most_dollars(said, PRICES, CONTEXT) >= most_dollars(plain, PRICES, CONTEXT) - 1e-4


def test_an_image_counts_by_itself_and_not_by_the_length_of_its_url() -> None:
    image = {"type": "image_url", "image_url": {"url": "data:image/png;base64," + "A" * 5_000_000}}
    body = {"messages": [{"role": "user", "content": [image, {"type": "text", "text": "what is it"}]}], "max_tokens": 1}
    assert most_dollars(body, TokenPrices(input=1_000_000, output=0), 10**9) < 20_000


def test_a_guess_knows_what_a_text_and_an_image_come_to() -> None:
    assert guessed_input({"messages": []}) == 1
    # A short prompt is a few tokens, and not the template of the server that has the largest.
    assert guessed_input(chat("Hi")) == (len("rolecontentuserHi") + 16) // 4
    assert 1000 <= guessed_input(chat("x" * 4000)) < 1010
    image = {"type": "image_url", "image_url": {"url": "data:image/png;base64," + "A" * 5_000_000}}
    body = {"messages": [{"role": "user", "content": [image]}]}
    assert 2048 <= guessed_input(body) < 2070


JSON: st.SearchStrategy[Any] = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(), inner, max_size=4),
)
MEMBERS = st.sampled_from(["messages", "prompt", "input", "max_tokens", "n", "best_of", "tools", "model", "type"])


@given(st.dictionaries(MEMBERS, JSON))
def test_any_body_has_a_most(body: dict[str, Any]) -> None:
    most = most_dollars(body, PRICES, CONTEXT)
    assert math.isfinite(most)
    assert most >= 0
    assert guessed_input(body) >= 1
