from __future__ import annotations

import itertools

import numpy as np
import pytest
import torch

from tests import synthetic
from training.network import CLAMP, NumericEncoder, TabularNetwork, probabilities
from training.recipe import Architecture

ARCHITECTURE = Architecture(width=16, min_category_rows=10)


def reference_bins(value: float, edges: tuple[float, ...]) -> list[float]:
    """Piecewise-linear encoding as the paper words it: 0 below a bin, 1 above it, linear inside."""
    bins = []
    for low, high in itertools.pairwise(edges):
        if value >= high:
            bins.append(1.0)
        elif value < low:
            bins.append(0.0)
        else:
            bins.append((value - low) / (high - low))
    return bins


def test_the_encoder_agrees_with_the_definition_of_each_of_its_parts() -> None:
    values = np.random.default_rng(0).gamma(2, 3, 1000)
    profile = synthetic.numeric_profile(values)
    encoder = NumericEncoder([profile], [True])
    for value in (*values[:50], -100.0, 1000.0):
        encoded = encoder(torch.tensor([[value]], dtype=torch.float32))[0].numpy()
        z = np.clip((value - values.mean()) / values.std(), -CLAMP, CLAMP)
        np.testing.assert_allclose(encoded, [z, 0.0, *reference_bins(value, profile.edges)], atol=1e-5)


def test_a_missing_number_is_the_mean_with_its_flag_up_and_all_bins_empty() -> None:
    profile = synthetic.numeric_profile(np.arange(100.0))
    encoded = NumericEncoder([profile], [True])(torch.tensor([[float("nan")]]))[0]
    assert encoded.tolist() == [0.0, 1.0, *[0.0] * (len(profile.edges) - 1)]


def test_only_columns_that_may_miss_have_a_flag() -> None:
    profile = synthetic.numeric_profile(np.arange(100.0))
    both = NumericEncoder([profile, profile], [True, False])
    assert both.width == 2 + 1 + 2 * (len(profile.edges) - 1)


@pytest.mark.parametrize("values", [np.full(50, 7.0), np.full(50, np.nan)], ids=["constant", "never seen"])
def test_a_column_that_says_nothing_is_encoded_without_nan(values: np.ndarray) -> None:
    encoder = NumericEncoder([synthetic.numeric_profile(values)], [True])
    encoded = encoder(torch.tensor([[7.0], [8.0], [float("nan")]]))
    assert torch.isfinite(encoded).all()


def test_two_workers_build_the_same_encoder_from_the_same_contract() -> None:
    contract = synthetic.contract_for(synthetic.table(500))
    one, other = (dict(TabularNetwork(contract, ARCHITECTURE).encoder.named_buffers()) for _ in range(2))
    assert one.keys() == other.keys()
    assert all(torch.equal(one[name], other[name]) for name in one)


@pytest.mark.parametrize("features", [("size", "age", "shop"), ("size", "age"), ("shop",)], ids="+".join)
def test_every_kind_of_view_gets_a_probability_for_every_row(features: tuple[str, ...]) -> None:
    contract = synthetic.contract_for(synthetic.table(500), features)
    network = TabularNetwork(contract, ARCHITECTURE)
    numeric = torch.full((5, len(contract.numeric)), float("nan"))
    categories = torch.zeros(5, len(contract.categorical), dtype=torch.int64)
    answer = probabilities(network, numeric, categories, batch=2)
    assert answer.shape == (5,)
    assert ((answer > 0) & (answer < 1)).all()
