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
        (LANGUAGE + "usage: {ledger: 'postgresql://x/y'}\n", LEDGER, "usage.ledger is given, expected none"),
        (LANGUAGE + "usage: {journals: /tmp/mine}\n", LEDGER, "usage.journals is given, expected none"),
    ],
)
def test_what_the_stack_decides_is_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, text: str, more: Mapping[str, str], said: str
) -> None:
    monkeypatch.setattr(module, "ROOT", tmp_path)
    (tmp_path / "serve.yaml").write_text(text)
    with pytest.raises(SettingsError, match=said):
        serving(stack("serve.yaml", more), Naming(PROJECT, "dev"))


@pytest.mark.parametrize(
    "usage",
    [
        "{ledger: 'postgresql://usage:hunter2@x/y'}",
        "{ledger: 'postgresql://x:5432,z/y?user=usage&password=hunter2'}",
        "{ledger: 'postgresql://usage@x/y', password: hunter2}",
    ],
)
def test_a_password_of_a_ledger_goes_into_no_container_and_no_message(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, usage: str
) -> None:
    monkeypatch.setattr(module, "ROOT", tmp_path)
    (tmp_path / "serve.yaml").write_text(f"{LANGUAGE}usage: {usage}\n")
    with pytest.raises(SettingsError, match=r"expected secretsmanager:NAME in usage\.password") as refused:
        serving(stack("serve.yaml"), Naming(PROJECT, "dev"))
    assert "hunter2" not in str(refused.value)


@pytest.mark.parametrize(
    "address", ["usage@x:5432/y?options=-csearch_path%3Da", "usage@x:1,z:2/y", "x:5432/y?user=a@b"]
)
def test_a_ledger_elsewhere_is_taken_with_its_password_in_a_secret(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, address: str
) -> None:
    monkeypatch.setattr(module, "ROOT", tmp_path)
    usage = f"usage: {{ledger: 'postgresql://{address}', password: 'secretsmanager:p'}}\n"
    (tmp_path / "serve.yaml").write_text(LANGUAGE + usage)
    assert serving(stack("serve.yaml"), Naming(PROJECT, "dev")).settings.usage.password == "secretsmanager:p"


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
