"""What the data plane asks of a place where a model runs."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Protocol

import numpy as np

from serve.context import RequestContext
from serve.runtimes.base import Array, ModelMetadata

Inputs = Mapping[str, Array]
"""One array ``[N]`` (or ``[N, …]``) per input, as checked by the contract."""

Outputs = dict[str, Array]


@dataclass(frozen=True, slots=True)
class Batch:
    """A run of a model, for the metrics. ``seconds``: from its start to its answer."""

    requests: int
    rows: int
    seconds: float


Watch = Callable[[Batch], None]


def unwatched(_: Batch) -> None:
    """No metrics."""


class Place(Protocol):
    """One loaded version, wherever it runs."""

    @property
    def metadata(self) -> ModelMetadata:
        """What the model takes and gives."""

    @property
    def waiting(self) -> int:
        """How many requests wait for a run."""

    async def predict(self, inputs: Inputs, rows: int, outputs: Sequence[str], context: RequestContext) -> Outputs:
        """Run a batch of ``rows``, alone or together with others.

        Raises:
            Overloaded: too many wait already.
            RequestTimeout: its time passed before it could run.
            ClientGone: its client left before it could run.
            RuntimeFailure: the runtime failed at these inputs.
            NotReady: nothing runs the model just now.
        """

    async def close(self) -> None:
        """Let the last runs end, then give the memory back. No ``predict`` may follow."""


def joined(parts: Sequence[Inputs]) -> Inputs:
    """Several batches as one, in order."""
    if len(parts) == 1:
        return parts[0]
    return {name: np.concatenate([part[name] for part in parts]) for name in parts[0]}


def wanted(parts: Sequence[Sequence[str]]) -> list[str]:
    """Every output that one of the requests asks for, once."""
    return list(dict.fromkeys(name for part in parts for name in part))


def split(outputs: Outputs, rows: Sequence[int], parts: Sequence[Sequence[str]]) -> list[Outputs]:
    """The outputs of each request, by its rows and names."""
    found = []
    start = 0
    for count, names in zip(rows, parts, strict=True):
        found.append({name: outputs[name][start : start + count] for name in names})
        start += count
    return found
