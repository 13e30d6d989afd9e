"""The serving settings of a stack: its file's, and what the stack decides."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from types import MappingProxyType

import pytest

from infra import serving as module
from infra.naming import Naming
from infra.serving import serving, serving_elsewhere
from infra.settings import PROJECT, StackSettings, from_config
from serve.settings import SettingsError

LANGUAGE = "backends: {b: {kind: vllm, model: m}}\nlanguage_models: {a: {routes: [{backend: b}]}}\n"
LEDGER = {f"{PROJECT}:ledger": "{}", f"{PROJECT}:ecs": '{"certificate": "arn:aws:acm:us-east-1:1:certificate/c"}'}


def stack(file: str, more: Mapping[str, str] = MappingProxyType({})) -> StackSettings:
    config = {
        "aws:region": "us-east-1",
        f"{PROJECT}:owner": "ml",
        f"{PROJECT}:serving": file,
        f"{PROJECT}:images": '{"tag": "0.1.0"}',
        f"{PROJECT}:operations": '{"email": "a@example.com", "monthly_budget_usd": 1}',
        f"{PROJECT}:tracking": "{}",
        **more,
    }
    return from_config(config, "here")


@pytest.mark.parametrize(
    ("text", "more", "said"),
    [
        ("models: {a: {}}\nregistry: {uri: sqlite:///x.db}\n", {}, "registry.uri is sqlite:///x.db, expected none"),
        ("models: {a: {}}\n", LEDGER, "no language_models are given, expected some: the stack has a ledger"),
        (LANGUAGE + "usage: {ledger: 'postgresql://x/y'}\n", LEDGER, "usage.ledger is postgresql://x/y, expected none"),
    ],
)
def test_what_the_stack_decides_is_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, text: str, more: Mapping[str, str], said: str
) -> None:
    monkeypatch.setattr(module, "ROOT", tmp_path)
    (tmp_path / "serve.yaml").write_text(text)
    with pytest.raises(SettingsError, match=said):
        serving(stack("serve.yaml", more), Naming(PROJECT, "dev"))


def test_azure_has_a_file_of_its_own_where_the_stack_s_has_language_models(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "ROOT", tmp_path)
    (tmp_path / "serve.yaml").write_text(LANGUAGE)
    (tmp_path / "tables.yaml").write_text("models: {a: {}}\n")
    assert serving(stack("serve.yaml"), Naming(PROJECT, "dev")).settings.language_models
    assert set(serving_elsewhere(stack("serve.yaml"), "tables.yaml", "file:///keys").settings.models) == {"a"}
    with pytest.raises(SettingsError, match=r"language_models are given, expected none on Azure.*azure\.serving"):
        serving_elsewhere(stack("serve.yaml"), None, "file:///keys")
