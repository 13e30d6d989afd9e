"""Which folders become a graph, and which are refused in one line."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from onnx import ModelProto

from tests.unit.serve.llm import encoders
from tests.unit.serve.llm.encoders import write
from tests.unit.training import hub
from training import encoder
from training.bundle import NotABundle
from training.encoder import check_against_torch, export, read
from training.errors import EncoderRefused, ExportRefused


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    return encoders.folder(tmp_path / "tiny")


def test_the_graph_answers_as_torch_does_at_every_length_and_another_network_s_is_refused(
    folder: Path, tmp_path: Path
) -> None:
    found = read(folder)
    graph = export(found)
    assert check_against_torch(graph, found) <= encoder.TOLERANCE
    with pytest.raises(ExportRefused, match="differs from the network"):
        check_against_torch(graph, read(encoders.folder(tmp_path / "other", seed=1)))


def test_a_graph_that_can_not_be_read_is_refused_in_one_line(folder: Path) -> None:
    with pytest.raises(ExportRefused, match="ONNX Runtime can't read the graph") as caught:
        check_against_torch(ModelProto(), read(folder))
    assert "\n" not in str(caught.value)


def test_what_tells_of_the_licence_is_read_too_and_no_link_to_what_is_no_file(folder: Path) -> None:
    assert read(folder).notices == {}
    for name in ("LICENSE", "LICENSE.txt", "NOTICE", "README.md"):
        (folder / name).write_text("Apache License")
    assert [*read(folder).notices] == ["LICENSE", "LICENSE.txt", "NOTICE", "README.md"]
    (folder / "NOTICE.md").symlink_to("/proc/self/mem")
    with pytest.raises(NotABundle, match=r"can't be read"):
        read(folder)
    (folder / "NOTICE.md").unlink()
    (folder / "NOTICE.md").symlink_to("/nowhere")
    with pytest.raises(NotABundle, match=r"NOTICE\.md is a link to no ordinary file"):
        read(folder)


def test_a_folder_of_a_hub_s_cache_is_read_as_it_is(folder: Path, tmp_path: Path) -> None:
    (folder / "README.md").write_text("# Sentences")
    cached = read(hub.snapshot(folder, tmp_path / "cache"))
    assert cached.card == read(folder).card
    assert cached.notices == {"README.md": b"# Sentences"}


def test_the_card_says_what_the_folder_says(folder: Path) -> None:
    card = read(folder).card
    assert (card.dims, card.max_tokens, card.vocabulary, card.pad) == (8, 12, len(encoders.WORDS), 0)
    assert card.normalized


def test_bounds_of_the_tokenizer_s_own_are_dropped(folder: Path) -> None:
    tokenizer = read(folder).tokenizer
    assert len(tokenizer.encode("a parcel is late").ids) == 6
    assert len(tokenizer.encode("a").ids) == 3


def test_vectors_are_as_long_as_the_network_makes_them_where_nothing_normalizes(tmp_path: Path) -> None:
    found = read(encoders.folder(tmp_path / "tiny", modules=("Transformer", "Pooling")))
    with torch.inference_mode():
        vector = found.network(torch.tensor([[2, 5, 3]]), torch.ones(1, 3, dtype=torch.int64))
    assert not found.card.normalized
    assert float(torch.linalg.norm(vector)) != pytest.approx(1.0, abs=1e-3)


def test_a_tokenizer_without_a_bound_leaves_that_of_the_network(folder: Path) -> None:
    (folder / "sentence_bert_config.json").unlink()
    write(folder, "tokenizer_config.json", {"model_max_length": float("inf")})
    assert read(folder).card.max_tokens == 16


def pickled(folder: Path) -> None:
    (folder / "model.safetensors").rename(folder / "pytorch_model.bin")


def lowercase(folder: Path) -> None:
    write(folder, "sentence_bert_config.json", {"max_seq_length": 12, "do_lower_case": True})


REFUSED: dict[str, tuple[Callable[[Path], object], str]] = {
    "weights that may be code": (pickled, "has no model.safetensors"),
    "code of its own": (lambda at: write(at, "config.json", {"auto_map": {"AutoModel": "x.Y"}}), "auto_map"),
    "pooling by the first token": (
        lambda at: write(at, "1_Pooling/config.json", {"pooling_mode_cls_token": True}),
        "pools by cls_token",
    ),
    "pooling by the maximum": (lambda at: write(at, "1_Pooling/config.json", {"pooling_mode": "max"}), "pools by max"),
    "a layer behind": (
        lambda at: write(at, "modules.json", [{"type": f"m.{kind}", "path": ""} for kind in ("Transformer", "Dense")]),
        "got Transformer, Dense",
    ),
    "a pooling elsewhere": (
        lambda at: write(
            at, "modules.json", [{"type": "m.Transformer", "path": ""}, {"type": "m.Pooling", "path": "../x"}]
        ),
        "is no folder beside it",
    ),
    "a pooling above": (
        lambda at: write(
            at, "modules.json", [{"type": "m.Transformer", "path": ""}, {"type": "m.Pooling", "path": ".."}]
        ),
        "is no folder beside it",
    ),
    "a prompt of its own": (
        lambda at: write(at, "config_sentence_transformers.json", {"default_prompt_name": "query"}),
        "its own prompt 'query'",
    ),
    "no tokenizer": (lambda at: (at / "tokenizer.json").unlink(), "has no tokenizer.json"),
    "no network": (lambda at: write(at, "config.json", {"model_type": "nobody-knows"}), "can't be loaded"),
    "another kind of JSON": (lambda at: write(at, "1_Pooling/config.json", []), "expected an object"),
    "not JSON": (lambda at: (at / "modules.json").write_text("{"), "is not JSON"),
}


@pytest.mark.parametrize("case", REFUSED)
def test_what_is_no_encoder_is_refused_in_one_line(folder: Path, case: str) -> None:
    change, said = REFUSED[case]
    change(folder)
    with pytest.raises(EncoderRefused) as caught:
        read(folder)
    assert said in str(caught.value)
    assert "\n" not in str(caught.value)


def test_an_encoder_that_lowers_its_texts_does_so_here(folder: Path) -> None:
    lowercase(folder)
    tokenizer = read(folder).tokenizer
    assert tokenizer.encode("A Parcel").ids == tokenizer.encode("a parcel").ids
