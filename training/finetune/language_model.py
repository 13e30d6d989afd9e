"""A base model: where it comes from, loaded, with its adapter, and merged with it. No file of it is executed."""

from __future__ import annotations

import json
import os
import re
import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

# A folder is all that is read: nothing is looked for on a hub.
os.environ.setdefault("HF_HUB_OFFLINE", "1")
os.environ.setdefault("TRANSFORMERS_VERBOSITY", "error")

import torch
from safetensors import SafetensorError, safe_open

from console import one_line
from console.folders import fetched
from training.bundle import Bundles, Reference, files_of, manifest_of
from training.errors import ModelUnusable, TrainingError
from training.finetune.recipe import LoraRecipe

if TYPE_CHECKING:
    from peft import PeftModel
    from transformers import PreTrainedModel

ADAPTER_FILE = "adapter_model.safetensors"
ADAPTER_CONFIG_FILE = "adapter_config.json"

WEIGHTS = re.compile(r"\.(safetensors|onnx|index\.json)$")
"""Of a file's name: weights, or where they lie."""


UNREADABLE = (OSError, ValueError, KeyError, TypeError, AttributeError, ImportError, RuntimeError, SafetensorError)
"""What libraries raise at files that are not what they must be."""


@dataclass(frozen=True)
class Base:
    """``name``: as versions made of it tell, such as ``smollm2/1``. ``digest``: SHA-256 (hex) of its manifest."""

    name: str
    digest: str
    folder: Path


@contextmanager
def base_model(given: str, uri: str, storage: Path) -> Iterator[Base]:
    """The model that ``registry:NAME@ALIAS``, ``registry:NAME/VERSION`` or a folder names, its files verified.

    A version's files are for that time in ``storage``, which all workers see.

    Raises:
        ModelUnusable: the version is no language model.
        TrainingError: ``storage`` can't be made.
        RegistryError: there is no such version, or its files are not what was registered; NotABundle: the folder has
            none, or some that may be code.
    """
    reference = Reference.parse(given)
    if reference is None:
        with fetched(given) as folder:
            manifest = manifest_of(folder, "language-model")
            yield Base(folder.resolve().name, manifest.digest, folder.resolve())
        return
    bundles = Bundles(uri)
    version = bundles.find(reference)
    if version.kind != "language-model":
        raise ModelUnusable(f"{given}: is a version of the kind {version.kind}, and no language model")
    try:
        storage.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise TrainingError(f"can't make the folder of runs {storage}: {error.strerror or error}") from error
    with tempfile.TemporaryDirectory(prefix=".base-model-", dir=storage.resolve()) as scratch:
        kept = Path(scratch) / "files"
        bundles.download(version, kept)
        yield Base(f"{version.name}/{version.version}", version.manifest_digest, kept)


def load_tokenizer(folder: Path) -> Any:
    """Raises:
    ModelUnusable: there is none that can be read, or it has no chat template or no place for each token in its text.
    """
    from transformers import AutoTokenizer

    with _readable(folder, "tokenizer"):
        tokenizer = AutoTokenizer.from_pretrained(str(folder), local_files_only=True, trust_remote_code=False)
    if not tokenizer.is_fast:
        raise ModelUnusable(f"{folder}: its tokenizer does not tell where in the text a token is")
    if not tokenizer.chat_template:
        raise ModelUnusable(f"{folder}: its tokenizer has no chat template")
    if tokenizer.pad_token_id is None:
        tokenizer.pad_token = tokenizer.eos_token
    return tokenizer


def require_weights(folder: Path) -> None:
    """Look at the weights' files without reading the weights: a clone without Git LFS has texts in their place.

    Raises:
        ModelUnusable: there are none, or one can't be read.
    """
    with _readable(folder, "config.json"):
        json.loads((folder / "config.json").read_bytes())
    files = {file.name: file for file in sorted(folder.glob("*.safetensors"))}
    named = set(files)
    with _readable(folder, "index of its weights"):
        for index in folder.glob("*.safetensors.index.json"):
            named |= set(json.loads(index.read_bytes())["weight_map"].values())
    if not named:
        raise ModelUnusable(f"{folder} has no weights: expected .safetensors files")
    if missing := sorted(named - files.keys()):
        raise ModelUnusable(f"{folder}: its index names {len(missing)} file(s) that are not there, first {missing[0]}")
    for name, file in files.items():
        with _readable(folder, f"weights in {name}"), safe_open(file, "pt"):
            pass


def load_model(folder: Path, dtype: torch.dtype | str) -> PreTrainedModel:
    """The model in eval mode on the CPU; ``dtype`` may be ``auto``: that of its files.

    Raises:
        ModelUnusable: there is none that can be read.
    """
    from transformers import AutoModelForCausalLM

    with _readable(folder, "model"):
        model: PreTrainedModel = AutoModelForCausalLM.from_pretrained(
            str(folder), dtype=dtype, local_files_only=True, trust_remote_code=False, use_safetensors=True
        )
    model.eval()  # type: ignore[no-untyped-call]
    return model


def with_new_adapter(model: PreTrainedModel, recipe: LoraRecipe, base: str) -> PeftModel:
    """The model with an adapter that changes nothing yet; its weights are drawn from torch's generator.

    Raises:
        ModelUnusable: it has no layers that an adapter could be of.
    """
    from peft import LoraConfig, get_peft_model

    config = LoraConfig(
        task_type="CAUSAL_LM",
        r=recipe.rank,
        lora_alpha=recipe.alpha,  # type: ignore[arg-type] # typed as a whole number, and only divided by the rank
        lora_dropout=recipe.dropout,
        target_modules="all-linear",
    )
    try:
        adapted: PeftModel = get_peft_model(model, config)
    except ValueError as error:
        raise ModelUnusable(f"the model takes no adapter: {one_line(str(error))[:200]}") from error
    # Not the path of a folder that is nobody else's.
    adapted.peft_config["default"].base_model_name_or_path = base
    return adapted


def save_adapter(model: PeftModel, folder: Path) -> None:
    """Write :data:`ADAPTER_FILE` and :data:`ADAPTER_CONFIG_FILE`, and no others."""
    # Its rows are as they were: to look for new ones, peft would ask a hub.
    model.save_pretrained(str(folder), safe_serialization=True, save_embedding_layers=False)
    (folder / "README.md").unlink(missing_ok=True)


def merge(base: Base, adapter: Path, folder: Path) -> PreTrainedModel:
    """Write the base model with an adapter added to its weights, in its own dtype, and return it.

    Whatever else the base model has goes along: its tokenizer, licence and card.

    Raises:
        ModelUnusable: the base model can't be read.
    """
    from peft import PeftModel

    model = load_model(base.folder, "auto")
    merged: PreTrainedModel = PeftModel.from_pretrained(model, str(adapter)).merge_and_unload()
    merged.save_pretrained(str(folder))
    for file in files_of(base.folder):
        # The weights and the configuration are new.
        if not WEIGHTS.search(file) and not (folder / file).exists():
            (folder / file).parent.mkdir(parents=True, exist_ok=True)
            shutil.copyfile(base.folder / file, folder / file)
    return merged


@contextmanager
def _readable(folder: Path, what: str) -> Iterator[None]:
    try:
        yield
    except UNREADABLE as error:
        raise ModelUnusable(f"{folder} has no {what} that can be read: {one_line(str(error))[:200]}") from error
