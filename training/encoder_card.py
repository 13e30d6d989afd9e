"""``encoder.json``: what a text encoder's graph takes and gives, for whoever serves it. Imports no torch.

A version of the kind ``encoder`` has this file, the graph, the tokenizer, and what its folder tells of its licence.
The graph's inputs are :data:`IDS` and :data:`MASK`, both int64 ``[N, tokens]``; its output is :data:`VECTOR`, float32
``[N, dims]``.
"""

from __future__ import annotations

from pathlib import Path

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from console import UserError
from spark_jobs.contract import first_problem

CARD_FILE = "encoder.json"
GRAPH_FILE = "model.onnx"
TOKENIZER_FILE = "tokenizer.json"

IDS = "input_ids"
MASK = "attention_mask"
VECTOR = "vector"


class CardUnreadable(UserError):
    """The file is not there, or is not one of this format."""


class EncoderCard(BaseModel):
    """``max_tokens``: of one text, with those that the tokenizer adds. ``pad``: the id that fills a shorter text up.

    ``normalized``: whether each vector has length 1.
    """

    model_config = ConfigDict(extra="forbid", frozen=True, strict=True)

    dims: int = Field(ge=1)
    max_tokens: int = Field(ge=2)
    vocabulary: int = Field(ge=1)
    pad: int = Field(ge=0)
    normalized: bool

    @classmethod
    def read(cls, folder: Path) -> EncoderCard:
        """Raises: CardUnreadable."""
        file = folder / CARD_FILE
        try:
            return cls.model_validate_json(file.read_bytes())
        except OSError as error:
            raise CardUnreadable(f"{file} can't be read: {error.strerror}") from error
        except ValidationError as error:
            raise CardUnreadable(f"{file}: {first_problem(error)}") from error
