"""The network for tables: quantile encoding and embeddings into residual blocks.

Everything that turns a raw column into a number the network likes is a buffer of the module, set
from the contract alone. So each worker builds the same encoder without a pass over the data, and
the exported graph holds its own preprocessing.

Piecewise-linear encoding: Gorishniy et al., "On Embeddings for Numerical Features in Tabular Deep
Learning", NeurIPS 2022, https://arxiv.org/abs/2203.05556.
"""

from __future__ import annotations

import itertools

import torch
from torch import Tensor, nn

from spark_jobs.contract import Contract, NumericProfile
from training.data import Vocabularies
from training.recipe import Architecture

CLAMP = 4.0
"""Standard deviations past which a z-score says no more."""

SMALLEST = 1e-6
"""Below this a spread is taken for none: dividing by it would only blow up rounding errors."""


class NumericEncoder(nn.Module):
    """Raw numbers → z-scores, missing flags and piecewise-linear bins.

    [N, F] float32 with NaN for missing → [N, ``width``] float32 without NaN.
    """

    mean: Tensor
    std: Tensor
    flagged: Tensor
    low: Tensor
    bin_width: Tensor
    bin_feature: Tensor

    def __init__(self, profiles: list[NumericProfile], nullable: list[bool]) -> None:
        super().__init__()
        low: list[float] = []
        bin_width: list[float] = []
        bin_feature: list[int] = []
        for index, profile in enumerate(profiles):
            edges = profile.edges
            low += edges[:-1]
            bin_width += [max(after - before, SMALLEST) for before, after in itertools.pairwise(edges)]
            bin_feature += [index] * max(len(edges) - 1, 0)
        flagged = [i for i, may_miss in enumerate(nullable) if may_miss]
        self.register_buffer("mean", torch.tensor([p.mean or 0.0 for p in profiles]))
        self.register_buffer("std", torch.tensor([max(p.std or 1.0, SMALLEST) for p in profiles]))
        self.register_buffer("flagged", torch.tensor(flagged, dtype=torch.int64))
        self.register_buffer("low", torch.tensor(low))
        self.register_buffer("bin_width", torch.tensor(bin_width))
        self.register_buffer("bin_feature", torch.tensor(bin_feature, dtype=torch.int64))
        self.width = len(profiles) + len(flagged) + len(low)

    def forward(self, raw: Tensor) -> Tensor:
        missing = torch.isnan(raw)  # [N, F]
        value = torch.where(missing, self.mean.expand_as(raw), raw)
        z = ((value - self.mean) / self.std).clamp(-CLAMP, CLAMP)
        bins = ((value.index_select(1, self.bin_feature) - self.low) / self.bin_width).clamp(0, 1)  # [N, B]
        bins = torch.where(missing.index_select(1, self.bin_feature), torch.zeros_like(bins), bins)
        flags = missing.index_select(1, self.flagged).to(raw.dtype)
        return torch.cat([z, flags, bins], dim=1)


class ResidualBlock(nn.Module):
    """Pre-norm residual block. [N, width] → [N, width]."""

    def __init__(self, width: int, dropout: float) -> None:
        super().__init__()
        self.norm = nn.LayerNorm(width)
        self.expand = nn.Linear(width, width)
        self.dropout = nn.Dropout(dropout)
        self.project = nn.Linear(width, width)

    def forward(self, hidden: Tensor) -> Tensor:
        inner = nn.functional.gelu(self.expand(self.norm(hidden)))
        projected: Tensor = self.project(self.dropout(inner))
        return hidden + projected


class TabularNetwork(nn.Module):
    """``numeric`` [N, F] float32 (NaN = missing), ``categories`` [N, C] int64 → logits [N]."""

    def __init__(self, contract: Contract, architecture: Architecture) -> None:
        super().__init__()
        numeric = contract.numeric
        self.encoder = NumericEncoder(
            [column.profile for column in numeric if isinstance(column.profile, NumericProfile)],
            [column.nullable for column in numeric],
        )
        sizes = Vocabularies.of(contract, architecture.min_category_rows).sizes
        dimensions = [min(architecture.max_embedding, (size + 1) // 2) for size in sizes]
        self.embeddings = nn.ModuleList(map(nn.Embedding, sizes, dimensions))
        encoded = self.encoder.width + sum(dimensions)
        self.entry = nn.Linear(encoded, architecture.width)
        self.entry_dropout = nn.Dropout(architecture.dropout)
        self.blocks = nn.Sequential(
            *(ResidualBlock(architecture.width, architecture.dropout) for _ in range(architecture.blocks))
        )
        self.norm = nn.LayerNorm(architecture.width)
        self.head = nn.Linear(architecture.width, 1)

    def forward(self, numeric: Tensor, categories: Tensor) -> Tensor:
        encoded = [self.encoder(numeric)] if self.encoder.width else []
        encoded += [embed(categories[:, i]) for i, embed in enumerate(self.embeddings)]
        hidden = self.entry_dropout(nn.functional.gelu(self.entry(torch.cat(encoded, dim=1))))
        logits: Tensor = self.head(self.norm(self.blocks(hidden)))
        return logits.squeeze(1)


class Probability(nn.Module):
    """The network as it is served: probabilities [N] in place of logits."""

    def __init__(self, network: TabularNetwork) -> None:
        super().__init__()
        self.network = network

    def forward(self, numeric: Tensor, categories: Tensor) -> Tensor:
        logits: Tensor = self.network(numeric, categories)
        return torch.sigmoid(logits)


def probabilities(network: TabularNetwork, numeric: Tensor, categories: Tensor, batch: int = 8192) -> Tensor:
    """The positive class's probability of each row, [N] float32. Leaves the network in eval mode."""
    served = Probability(network).eval()
    with torch.inference_mode():
        return torch.cat(
            [served(numeric[i : i + batch], categories[i : i + batch]) for i in range(0, len(numeric), batch)]
        )
