"""The choice of tokens."""

from __future__ import annotations

from typing import Any

import pytest
import torch

from serve.llm.huggingface.request import Sampling
from serve.llm.huggingface.sampling import Sampler, Token

LOGITS = torch.log(torch.tensor([0.4, 0.3, 0.2, 0.1]))
END = 0


def drawn(count: int, *, seed: int = 0, logits: torch.Tensor = LOGITS, **fields: Any) -> list[Token]:
    told: list[Token] = []
    sampler = Sampler(Sampling(**fields), seed, [END], None, told.append)
    for _ in range(count):
        sampler.choose(logits)
    assert sampler.failed is None
    return told


def ids(count: int, **fields: Any) -> set[int]:
    return {token.id for token in drawn(count, **fields)}


def test_no_temperature_takes_the_likeliest() -> None:
    assert ids(5, temperature=0) == {0}


@pytest.mark.parametrize("temperature", [1e-300, 1e-40, 1e-6, 1e-5])
def test_hardly_any_temperature_takes_it_too(temperature: float) -> None:
    assert ids(5, temperature=temperature) == {0}
    assert ids(5, temperature=temperature, top_p=0.5, top_k=2, bias={0: 100.0, 1: -100.0}) == {0}


@pytest.mark.parametrize("temperature", [1e-5, 2, 1e30])
@pytest.mark.parametrize("penalty", [-2, 2])
@pytest.mark.parametrize("bias", [-100, 100])
def test_no_extremes_are_too_much(temperature: float, penalty: float, bias: float) -> None:
    fields: dict[str, Any] = {"presence": penalty, "frequency": penalty, "bias": dict.fromkeys(range(4), bias)}
    # Where what ends an answer is kept out, one of the scores is infinite.
    found = drawn(200, temperature=temperature, top_k=3, top_p=1e-300, logprobs=4, ignore_eos=True, **fields)
    assert END not in {token.id for token in found}


def test_a_seed_repeats_and_another_differs() -> None:
    assert drawn(20, seed=3) == drawn(20, seed=3)
    assert drawn(20, seed=3) != drawn(20, seed=4)


def test_tokens_come_as_often_as_they_are_likely() -> None:
    found = [token.id for token in drawn(4000)]
    shares = [found.count(token) / 4000 for token in range(4)]
    assert shares == pytest.approx([0.4, 0.3, 0.2, 0.1], abs=0.04)


@pytest.mark.parametrize(("top_p", "kept"), [(0, {0}), (0.39, {0}), (0.5, {0, 1}), (0.75, {0, 1, 2}), (1, {*range(4)})])
def test_top_p_keeps_the_least_that_is_enough(top_p: float, kept: set[int]) -> None:
    assert ids(300, top_p=top_p) == kept


def test_top_k_keeps_so_many() -> None:
    assert ids(300, top_k=2) == {0, 1}
    assert ids(300, top_k=99) == {0, 1, 2, 3}


def test_a_bias_is_added() -> None:
    assert ids(5, temperature=0, bias={2: 5.0}) == {2}


def test_what_came_is_penalised() -> None:
    assert [token.id for token in drawn(4, temperature=0, presence=1.0)] == [0, 1, 2, 0]
    assert len(ids(4, temperature=0, frequency=2.0)) == 4


def test_an_end_may_be_ignored() -> None:
    assert END not in ids(100, ignore_eos=True)


def test_logprobs_are_the_models_own() -> None:
    [token] = drawn(1, temperature=0, bias={2: 5.0}, logprobs=2)
    assert token.likely is not None
    assert token.likely.logprob == pytest.approx(float(LOGITS[2]))
    assert [each for each, _ in token.likely.top] == [0, 1]
    [bare] = drawn(1, logprobs=0)
    assert bare.likely is not None
    assert bare.likely.top == ()


def test_the_logits_are_left_as_they_were() -> None:
    before = LOGITS.clone()
    drawn(5, bias={1: 3.0}, top_k=1, ignore_eos=True)
    assert torch.equal(LOGITS, before)


def test_a_failure_ends_its_own_answer_alone() -> None:
    told: list[Token] = []
    sampler = Sampler(Sampling(), 0, [END], None, told.append)
    assert sampler.choose(torch.full((4,), torch.nan)) == END
    assert isinstance(sampler.failed, RuntimeError)
    assert told == []
