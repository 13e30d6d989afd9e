"""What the data plane asks of a backend.

Errors::

    UserError
    └── ModelUnloadable     the backend can't load this model

    RuntimeFailure          the backend failed at a request whose inputs keep to the contract
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from console import UserError

Array = NDArray[Any]


class ModelUnloadable(UserError):
    """The backend can't load this model."""


class RuntimeFailure(Exception):
    """The backend failed at a request whose inputs keep to the contract. Raw: ``(reason,)``."""


@dataclass(frozen=True)
class Tensor:
    """A named input or output. ``shape`` has -1 where the size is the request's; dtype ``object`` holds strings."""

    name: str
    dtype: np.dtype[Any]
    shape: tuple[int, ...]


@dataclass(frozen=True)
class ModelMetadata:
    """What a loaded model takes and gives. ``platform`` names the backend, as the protocol does."""

    platform: str
    inputs: tuple[Tensor, ...]
    outputs: tuple[Tensor, ...]


class Runtime(Protocol):
    """One loaded model. ``predict`` may be called from several threads at once."""

    def load(self, model: Path, threads: int) -> None:
        """Load a verified file and run it once, so that the first request pays for nothing.

        Raises:
            ModelUnloadable: the backend refuses the file.
        """

    def predict(self, inputs: Mapping[str, Array], outputs: Sequence[str]) -> dict[str, Array]:
        """Run a batch.

        ``inputs``: float32 or object (``str``) arrays of shape ``[N]``, one per input, as checked by
        the contract. The answer has the arrays named by ``outputs``, each with ``N`` as first axis.

        Raises:
            RuntimeFailure: the backend failed.
        """

    def unload(self) -> None:
        """Give the memory back. No ``predict`` may run or follow."""

    @property
    def metadata(self) -> ModelMetadata:
        """What the loaded model takes and gives."""
