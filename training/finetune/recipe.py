"""What decides a fine-tuning run beside its data and its base model."""

from __future__ import annotations

from pydantic import Field, model_validator

from training.recipe import Settings

LARGEST_RANK = 512
"""vLLM serves no adapter of a larger one."""


class LoraRecipe(Settings):
    """AdamW on LoRA adapters (https://arxiv.org/abs/2106.09685) of every linear layer but the last.

    The learning rate rises linearly for ``warm_up`` of the steps and then falls to zero by a cosine. ``batch_size``
    is that of all workers together, so that their number does not change the recipe.
    """

    rank: int = Field(8, ge=1, le=LARGEST_RANK)
    alpha: float = Field(16, gt=0, description="the adapter's product is scaled by alpha / rank")
    dropout: float = Field(0.0, ge=0, lt=1, description="of the adapters' inputs")
    epochs: int = Field(3, ge=1)
    steps: int | None = Field(None, ge=1, description="in place of epochs")
    batch_size: int = Field(8, ge=1, description="conversations a step")
    micro_batch: int = Field(8, ge=1, description="conversations that one worker holds at once")
    learning_rate: float = Field(2e-4, gt=0, description="the highest")
    weight_decay: float = Field(0.0, ge=0)
    warm_up: float = Field(0.1, ge=0, lt=1)
    max_length: int = Field(1024, ge=8, description="tokens of a conversation; what is longer is cut")
    held_out_share: float = Field(0.1, gt=0, lt=1, description="of the data, where no file is given")
    answer_tokens: int = Field(64, ge=1, le=4096, description="of an answer to a held-out prompt, at most")
    checkpoint_steps: int = Field(100, ge=1)
    seed: int = Field(0, ge=0)

    @model_validator(mode="after")
    def _whole(self) -> LoraRecipe:
        if self.steps is not None and "epochs" in self.model_fields_set:
            raise ValueError("steps takes the place of epochs: give one of them")
        return self
