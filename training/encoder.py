"""A text encoder → one ONNX graph with its pooling inside, held against torch and registered.

The folder is one of sentence-transformers' (its ``modules.json`` says what comes after the network), or of
transformers' alone, which is then pooled and normalised as most are.
https://www.sbert.net/docs/sentence_transformer/usage/custom_models.html
Nothing in it is executed: the weights are safetensors, and a network that transformers does not know itself is refused.
"""

from __future__ import annotations

import json
import tempfile
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from onnx import ModelProto
from tokenizers import Tokenizer
from tokenizers.normalizers import Lowercase
from tokenizers.normalizers import Sequence as InOrder

from console import one_line, say, stage
from training.addresses import shown
from training.bundle import Bundles, BundleVersion, notices_of
from training.encoder_card import CARD_FILE, GRAPH_FILE, IDS, MASK, TOKENIZER_FILE, VECTOR, EncoderCard
from training.errors import EncoderRefused, ExportRefused
from training.export import opened, require_valid, traced
from training.registry import alias_for, require_name
from training.tracking import OpenRun

TOLERANCE = 1e-5
"""The largest difference of a vector's component, as a share of the vector's length, between the graph on ONNX Runtime
and the network on torch. Both compute in float32; what is left is the order of sums (about 4e-7 here)."""

MOST_BYTES = 2**31 - 1
"""Of a graph in one file: protobuf's bound."""

SAMPLES = (
    "A parcel was left at the depot.",
    "The package waits in the warehouse, and nobody has come to fetch it for a week.",
    "Late",
    "Ein Paket für Zürich – 冬の配達, ¿mañana? 🚚",
    "the stock market fell " * 20,
)
"""Short and long ones together, so that a short one's padding is looked at too. The longest that there may be joins
them: all ``max_tokens`` of it."""

WEIGHTS = "model.safetensors"


@dataclass(frozen=True)
class Encoder:
    """A folder, read. ``network``: ``input_ids`` and ``attention_mask`` [N, T] int64 → vectors [N, dims] float32.

    ``notices``: the files that tell of the folder's licence, by name.
    """

    network: torch.nn.Module
    tokenizer: Tokenizer
    card: EncoderCard
    notices: Mapping[str, bytes]


class Pooled(torch.nn.Module):
    """The mean of a network's last states over the tokens that the mask has, of length 1 where ``normalize``."""

    def __init__(self, network: torch.nn.Module, *, normalize: bool) -> None:
        super().__init__()
        self.network = network
        self.normalize = normalize

    def forward(self, input_ids: torch.Tensor, attention_mask: torch.Tensor) -> torch.Tensor:
        states = self.network(input_ids=input_ids, attention_mask=attention_mask).last_hidden_state
        kept = attention_mask.unsqueeze(-1).to(states.dtype)
        vector: torch.Tensor = (states * kept).sum(1) / kept.sum(1).clamp(min=1e-9)
        return torch.nn.functional.normalize(vector, p=2.0, dim=1) if self.normalize else vector


def register(name: str, *, folder: Path, uri: str, alias: str | None) -> BundleVersion:
    """Export a folder's encoder, hold the graph against the network, and register it.

    The first version of a name becomes its champion, a later one its challenger, unless ``alias`` says otherwise.

    Raises:
        EncoderRefused: the folder is no encoder that can be exported.
        ExportRefused: torch can't export it, or the graph does not answer as the network does.
        RegistryError: MLflow can't be reached; NameTaken: the name has versions of another kind; NotABundle: what
            tells of the folder's licence is no ordinary file.
    """
    with stage(f"read {folder}") as step:
        encoder = read(folder)
        require_name(uri, name, "encoder")
        step.detail = f"{encoder.card.dims} dimensions, up to {encoder.card.max_tokens} tokens"
    with stage("export to ONNX, pooling included") as step:
        graph = export(encoder)
        step.detail = f"{graph.ByteSize() / 1e6:.1f} MB"
    with stage("hold the graph against the network on sample texts") as step:
        difference = check_against_torch(graph, encoder)
        step.detail = f"largest difference {difference:.1e}"
    with stage(f"register in {shown(uri)}") as step:
        version = publish(name, graph, encoder, difference, uri)
        Bundles(uri).set_alias(name, alias or alias_for(uri, name, version.version), version.version)
        step.detail = f"{name} version {version.version}  manifest sha256 {version.manifest_digest[:12]}…"
    say(f"{name} version {version.version} is served by model: registry:{name}@ALIAS in a backend of the kind onnx")
    return version


def read(folder: Path) -> Encoder:
    """Raises: EncoderRefused; NotABundle: a file that tells of the licence can't be taken."""
    normalized = _normalized(folder)
    tokenizer = _tokenizer(folder)
    network = _network(folder)
    config: Any = network.config
    longest = _max_tokens(folder, int(getattr(config, "max_position_embeddings", 512)))
    card = EncoderCard(
        dims=int(config.hidden_size),
        max_tokens=longest,
        vocabulary=int(config.vocab_size),
        pad=int(getattr(config, "pad_token_id", None) or 0),
        normalized=normalized,
    )
    return Encoder(Pooled(network, normalize=normalized).eval(), tokenizer, card, notices_of(folder))


def export(encoder: Encoder) -> ModelProto:
    """The graph of :mod:`training.encoder_card`.

    Raises:
        ExportRefused: torch can't export it.
        EncoderRefused: it is too large for one file.
    """
    rows, tokens = torch.export.Dim("N", min=1, max=1 << 16), torch.export.Dim("tokens", min=2, max=1 << 16)
    ids = torch.ones(3, min(7, encoder.card.max_tokens), dtype=torch.int64)
    # With padding in it: of a mask that keeps everything transformers makes none, and so would the graph.
    mask = ids.clone()
    mask[0, -1] = 0
    axes = {0: rows, 1: tokens}
    graph = traced(encoder.network, {IDS: ids, MASK: mask}, VECTOR, (axes, axes))
    if graph.ByteSize() > MOST_BYTES:
        raise EncoderRefused(f"the graph has {graph.ByteSize() / 1e9:.1f} GB, expected at most 2.1 in one file")
    require_valid(graph)
    return graph


def check_against_torch(graph: ModelProto, encoder: Encoder, texts: Sequence[str] = SAMPLES) -> float:
    """The largest difference between graph and network, as :data:`TOLERANCE` says.

    Raises:
        ExportRefused: it is over the tolerance, or the graph can't be read, or run at the longest text.
    """
    session = opened(graph)
    largest = 0.0
    for batch in (_batch(encoder, texts), _longest(encoder)):
        ids, mask = batch
        try:
            with torch.inference_mode():
                expected = encoder.network(torch.from_numpy(ids), torch.from_numpy(mask)).numpy()
            found = session.run([VECTOR], {IDS: ids, MASK: mask})[0]
        except Exception as error:
            raise ExportRefused(f"the encoder fails at {ids.shape[1]} tokens: {one_line(str(error))[:200]}") from error
        lengths = np.linalg.norm(expected, axis=1, keepdims=True)
        difference = float((np.abs(found - expected) / np.maximum(lengths, 1e-12)).max())
        if not difference <= TOLERANCE:
            raise ExportRefused(
                f"the graph differs from the network by {difference:.2e}, over the tolerance of {TOLERANCE:.0e}"
            )
        largest = max(largest, difference)
    return largest


def _batch(encoder: Encoder, texts: Sequence[str]) -> tuple[np.ndarray, np.ndarray]:
    encoded = [each.ids[: encoder.card.max_tokens] for each in encoder.tokenizer.encode_batch(list(texts))]
    width = max(map(len, encoded))
    ids = np.full((len(encoded), width), encoder.card.pad, np.int64)
    mask = np.zeros_like(ids)
    for row, tokens in enumerate(encoded):
        ids[row, : len(tokens)] = tokens
        mask[row, : len(tokens)] = 1
    return ids, mask


def _longest(encoder: Encoder) -> tuple[np.ndarray, np.ndarray]:
    # Of ids that no padding has: some networks count positions by it.
    ids = np.arange(encoder.card.max_tokens, dtype=np.int64)[None] % encoder.card.vocabulary
    ids[ids == encoder.card.pad] = encoder.card.vocabulary - 1
    return ids, np.ones_like(ids)


def publish(name: str, graph: ModelProto, encoder: Encoder, difference: float, uri: str) -> BundleVersion:
    """Register a graph with its encoder's tokenizer, card and notices, under a run of its own.

    Raises:
        RegistryError: MLflow can't be reached; NameTaken: the name has versions of another kind.
    """
    with OpenRun.start(uri, name, encoder.card.model_dump()) as run, tempfile.TemporaryDirectory() as scratch:
        run.metrics({"largest_difference": difference})
        staged = Path(scratch)
        (staged / GRAPH_FILE).write_bytes(graph.SerializeToString())
        encoder.tokenizer.save(str(staged / TOKENIZER_FILE))
        (staged / CARD_FILE).write_text(encoder.card.model_dump_json(indent=1), encoding="utf-8")
        for file, content in encoder.notices.items():
            (staged / file).write_bytes(content)
        return Bundles(uri).publish(name, staged, "encoder", run.run_id)


def _normalized(folder: Path) -> bool:
    """Whether vectors are of length 1. Raises: EncoderRefused, where they come about in another way than by a mean."""
    if not (folder / "modules.json").exists():
        return True
    modules = _json(folder, "modules.json", kind=list)
    try:
        kinds = [str(module["type"]).rpartition(".")[2] for module in modules]
        path = str(modules[1]["path"])
    except (TypeError, KeyError, IndexError) as error:
        raise EncoderRefused(f"{folder}/modules.json: expected the modules Transformer and Pooling") from error
    if kinds not in (["Transformer", "Pooling"], ["Transformer", "Pooling", "Normalize"]):
        raise EncoderRefused(
            f"{folder}/modules.json: expected Transformer, Pooling and at most Normalize, got {', '.join(kinds)}"
        )
    if path in ("", "..") or Path(path).name != path:
        raise EncoderRefused(f"{folder}/modules.json: {path!r} is no folder beside it")
    pooling = _json(folder, f"{path}/config.json")
    modes = [key.removeprefix("pooling_mode_") for key, on in pooling.items() if key.startswith("pooling_mode_") and on]
    modes += [str(pooling["pooling_mode"])] if pooling.get("pooling_mode") else []
    if modes not in (["mean_tokens"], ["mean"]):
        raise EncoderRefused(f"{folder}/{path}: pools by {', '.join(modes) or 'nothing'}, expected the mean of tokens")
    prompt = _json(folder, "config_sentence_transformers.json", missing={}).get("default_prompt_name")
    if prompt:
        raise EncoderRefused(f"{folder}: puts its own prompt {prompt!r} before each text, expected none")
    return "Normalize" in kinds


def _tokenizer(folder: Path) -> Tokenizer:
    """The tokenizer without bounds: those are for whoever calls it to know, and to say."""
    file = folder / TOKENIZER_FILE
    if not file.is_file():
        raise EncoderRefused(f"{folder} has no {TOKENIZER_FILE}")
    try:
        tokenizer = Tokenizer.from_file(str(file))
    except Exception as error:
        raise EncoderRefused(f"{file} is no tokenizer: {one_line(str(error))[:200]}") from error
    tokenizer.no_truncation()
    tokenizer.no_padding()
    if _json(folder, "sentence_bert_config.json", missing={}).get("do_lower_case"):
        before = [tokenizer.normalizer] if tokenizer.normalizer is not None else []
        tokenizer.normalizer = InOrder([Lowercase(), *before])
    return tokenizer


def _network(folder: Path) -> torch.nn.Module:
    if not (folder / WEIGHTS).is_file():
        raise EncoderRefused(f"{folder} has no {WEIGHTS}: weights of other kinds may be code, and are not read")
    if "auto_map" in _json(folder, "config.json"):
        raise EncoderRefused(f"{folder}/config.json: auto_map names code of its own, which is not run")
    try:
        import transformers
    except ModuleNotFoundError as error:
        raise EncoderRefused("transformers is not installed: install ml-training-deployment[training,llm]") from error
    logs: Any = transformers.utils.logging
    logs.set_verbosity_error()
    logs.disable_progress_bar()
    try:
        network: torch.nn.Module = transformers.AutoModel.from_pretrained(
            str(folder), local_files_only=True, use_safetensors=True, trust_remote_code=False, dtype=torch.float32
        )
    except Exception as error:
        raise EncoderRefused(f"{folder} can't be loaded by transformers: {one_line(str(error))[:200]}") from error
    return network.eval()


def _max_tokens(folder: Path, positions: int) -> int:
    """What the folder says that a text may have, and never more than the network has positions for."""
    given = (
        _json(folder, "sentence_bert_config.json", missing={}).get("max_seq_length"),
        _json(folder, "tokenizer_config.json", missing={}).get("model_max_length"),
    )
    # Some tokenizers say that they have no bound by a huge float.
    return int(min([positions, *(each for each in given if isinstance(each, int | float) and each >= 2)]))


def _json(folder: Path, name: str, missing: dict[str, Any] | None = None, kind: type = dict) -> Any:
    file = folder / name
    if missing is not None and not file.exists():
        return missing
    try:
        found = json.loads(file.read_bytes())
    except OSError as error:
        raise EncoderRefused(f"{file} can't be read ({error.strerror}): name an encoder's folder") from error
    except ValueError as error:
        raise EncoderRefused(f"{file} is not JSON: {one_line(str(error))}") from error
    if not isinstance(found, kind):
        raise EncoderRefused(f"{file}: expected {'an array' if kind is list else 'an object'}")
    return found
