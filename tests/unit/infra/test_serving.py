"""The serving settings of a stack: its file's, and what the stack decides."""

from __future__ import annotations

from pathlib import Path

import pytest

from infra import serving as module
from infra.naming import Naming
from infra.serving import serving
from infra.settings import PROJECT, StackSettings, from_config
from serve.settings import SettingsError


def stack(file: str) -> StackSettings:
    config = {
        "aws:region": "us-east-1",
        f"{PROJECT}:owner": "ml",
        f"{PROJECT}:serving": file,
        f"{PROJECT}:images": '{"tag": "0.1.0"}',
        f"{PROJECT}:operations": '{"email": "a@example.com", "monthly_budget_usd": 1}',
    }
    return from_config(config, "here")


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("models: {a: {}}\nregistry: {uri: sqlite:///x.db}\n", "registry.uri is sqlite:///x.db, expected none"),
        (
            "backends: {b: {kind: vllm, model: m}}\nlanguage_models: {a: {routes: [{backend: b}]}}\n",
            "language_models are given, expected none",
        ),
    ],
)
def test_what_the_stack_decides_or_has_no_image_for_is_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, text: str, said: str
) -> None:
    monkeypatch.setattr(module, "ROOT", tmp_path)
    (tmp_path / "serve.yaml").write_text(text)
    with pytest.raises(SettingsError, match=said):
        serving(stack("serve.yaml"), Naming(PROJECT, "dev"))
