"""What decides a training run beside its data: everything needed to repeat it or to rebuild its network."""

from __future__ import annotations

from pydantic import BaseModel, ConfigDict, Field


class Settings(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True, allow_inf_nan=False)


class Architecture(Settings):
    """What is needed, beside a contract, to build the network again."""

    width: int = Field(192, ge=1)
    blocks: int = Field(2, ge=0)
    dropout: float = Field(0.4, ge=0, lt=1)
    max_embedding: int = Field(8, ge=1, description="dimensions of a category's embedding, at most")
    min_category_rows: int = Field(50, ge=1, description="a category with fewer training rows counts as unknown")


class Recipe(Settings):
    """AdamW with a one-cycle learning rate; the epoch with the best validation log-loss is kept.

    ``batch_size`` is that of all workers together, so that their number does not change the recipe.
    """

    architecture: Architecture = Architecture()
    epochs: int = Field(4, ge=1)
    batch_size: int = Field(1024, ge=1)
    learning_rate: float = Field(1e-3, gt=0, description="the peak of the cycle")
    weight_decay: float = Field(5e-2, ge=0)
    warm_up: float = Field(0.15, gt=0, lt=1, description="the share of steps before the peak")
    seed: int = 0


class Resources(Settings):
    """What a run may use; it does not change what comes out."""

    workers: int = Field(1, ge=1)
    cpus_per_worker: float = Field(1, gt=0)
    gpus_per_worker: float = Field(0, ge=0)
    max_failures: int = Field(2, ge=0, description="how many times a lost worker is replaced")
