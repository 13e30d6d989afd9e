"""A tiny random text encoder, as sentence-transformers keeps one, and what torch makes of a text by it."""

from __future__ import annotations

import json
from pathlib import Path

from tokenizers import Tokenizer
from tokenizers.models import WordLevel
from tokenizers.pre_tokenizers import Whitespace
from tokenizers.processors import TemplateProcessing

WORDS = ("[PAD]", "[UNK]", "[CLS]", "[SEP]", "a", "parcel", "is", "late", "early", "depot")
DIMS = 8
MOST_TOKENS = 12


def folder(at: Path, *, seed: int = 0, modules: tuple[str, ...] = ("Transformer", "Pooling", "Normalize")) -> Path:
    import torch
    from transformers import BertConfig, BertModel

    torch.manual_seed(seed)
    config = BertConfig(
        vocab_size=len(WORDS), hidden_size=DIMS, num_hidden_layers=1, num_attention_heads=2, intermediate_size=16,
        max_position_embeddings=16, pad_token_id=0,
    )  # fmt: skip
    BertModel(config).save_pretrained(at)
    tokenizer = Tokenizer(WordLevel({word: index for index, word in enumerate(WORDS)}, unk_token="[UNK]"))
    tokenizer.pre_tokenizer = Whitespace()
    tokenizer.post_processor = TemplateProcessing(
        single="[CLS] $A [SEP]", pair=None, special_tokens=[("[CLS]", 2), ("[SEP]", 3)]
    )
    # As many come: bounds of their own, which must not be taken for the encoder's.
    tokenizer.enable_truncation(4)
    tokenizer.enable_padding(length=6)
    tokenizer.save(str(at / "tokenizer.json"))
    write(
        at, "modules.json", [{"type": f"sentence_transformers.models.{kind}", "path": _path(kind)} for kind in modules]
    )
    write(at, "1_Pooling/config.json", {"pooling_mode_mean_tokens": True, "pooling_mode_cls_token": False})
    write(at, "sentence_bert_config.json", {"max_seq_length": MOST_TOKENS})
    return at


def write(at: Path, name: str, document: object) -> None:
    (at / name).parent.mkdir(exist_ok=True)
    (at / name).write_text(json.dumps(document))


def _path(kind: str) -> str:
    return {"Transformer": "", "Pooling": "1_Pooling"}.get(kind, f"2_{kind}")
