"""A language model that costs an engine next to nothing: what is left of an answer's time is what carries it.

On a GPU a step takes a few milliseconds; on a CPU only a model of one layer is as quick.
"""

from __future__ import annotations

import os
from pathlib import Path

from console import stage
from demo.wheels import whole

NAME = "one-layer"


def one_layer(like: Path, folder: Path) -> Path:
    """The model in ``like`` with its first layer alone, of random numbers, below ``folder``: made if it isn't there."""
    made = folder / NAME
    if made.is_dir():
        return made
    os.environ["HF_HUB_OFFLINE"] = "1"
    import torch
    from transformers import AutoConfig, AutoModelForCausalLM, AutoTokenizer

    with stage(f"make a model of one layer like {like.name}"), whole(made) as beside:
        torch.manual_seed(0)
        config = AutoConfig.from_pretrained(like, num_hidden_layers=1)
        model = AutoModelForCausalLM.from_config(config, dtype=torch.float32)  # type: ignore[no-untyped-call]
        model.save_pretrained(beside / NAME)
        AutoTokenizer.from_pretrained(like).save_pretrained(beside / NAME)
    return made
