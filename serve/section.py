"""What the settings' sections have in common. Imports nothing of the project, so that each of their modules can."""

from __future__ import annotations

from typing import Annotated

from pydantic import BaseModel, ConfigDict, Field, StringConstraints

ModelName = Annotated[str, StringConstraints(pattern=r"^[A-Za-z0-9][A-Za-z0-9._-]{0,127}$")]
"""Names a model, a backend or an adapter: a folder in the cache, and a segment of a URL."""


class Section(BaseModel):
    """Of each key it knows what is expected, and it stays as it was read."""

    model_config = ConfigDict(extra="forbid", frozen=True, strict=True, allow_inf_nan=False)


class Needs(Section):
    """What one copy of a loaded model takes, beside what any replica takes; ``None``: little, or not known.

    ``gpu_memory_gib``: of all the model's GPUs together. ``compute_capability``: of the GPU that the file was built
    for, such as ``8.9``: an engine of TensorRT runs on no other.
    """

    memory_gib: float | None = Field(default=None, gt=0)
    gpu_memory_gib: float | None = Field(default=None, gt=0)
    compute_capability: str | None = Field(default=None, pattern=r"^\d{1,2}\.\d$")

    @property
    def memory_bytes(self) -> int:
        return round((self.memory_gib or 0) * 2**30)

    @property
    def of_gpus(self) -> bool:
        """Whether a GPU is among them."""
        return self.gpu_memory_gib is not None or self.compute_capability is not None
