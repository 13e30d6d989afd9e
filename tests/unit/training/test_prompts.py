"""A registry that others write to as well."""

from __future__ import annotations

import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from training.__main__ import main
from training.prompts import Address, PromptRegistry, PromptUnusable, PromptVersion
from training.registry import Registry, RegistryRefused, client, local_uri

REGISTERED = "Hello"


@pytest.fixture(scope="module")
def prompts(tmp_path_factory: pytest.TempPathFactory) -> PromptRegistry:
    """With one version of a prompt."""
    found = PromptRegistry(local_uri(tmp_path_factory.mktemp("registry")))
    found.add("greeting", REGISTERED, "")
    return found


def test_a_version_that_mlflow_itself_can_not_read_is_unusable(
    prompts: PromptRegistry, monkeypatch: pytest.MonkeyPatch
) -> None:
    def unreadable(*_: object) -> None:
        raise ValueError("Template must be a list of dicts with role and content")

    monkeypatch.setattr(type(client(prompts.uri)), "get_prompt_version", unreadable)
    with pytest.raises(PromptUnusable, match="a version of prompt greeting is none that MLflow can read: Template"):
        prompts.get(Address("greeting", "1"))


@pytest.mark.parametrize(("name", "text", "version"), [("same", REGISTERED, "1"), ("other", "Good day", "2")])
def test_a_name_that_another_takes_in_between_gets_the_version_all_the_same(
    name: str, text: str, version: str, prompts: PromptRegistry, monkeypatch: pytest.MonkeyPatch
) -> None:
    kind = type(client(prompts.uri))
    register = kind.register_prompt

    def overtaken(self: Any, *_: object, **__: object) -> None:
        from mlflow.exceptions import MlflowException
        from mlflow.protos.databricks_pb2 import RESOURCE_ALREADY_EXISTS

        monkeypatch.setattr(kind, "register_prompt", register)
        register(self, name, REGISTERED)
        raise MlflowException(f"Prompt (name={name}) already exists.", RESOURCE_ALREADY_EXISTS)

    monkeypatch.setattr(kind, "register_prompt", overtaken)
    added, was_new = prompts.add(name, text, "")
    assert (added.version, was_new) == (version, text != REGISTERED)


Command = Callable[..., tuple[int, list[str]]]


@pytest.fixture
def command(
    prompts: PromptRegistry, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> Command:
    """``python -m training prompts``, in a folder of its own: its exit code, and its lines."""
    monkeypatch.setenv("MLFLOW_TRACKING_URI", prompts.uri)
    monkeypatch.chdir(tmp_path)

    def run(*arguments: str) -> tuple[int, list[str]]:
        capsys.readouterr()
        code = main(["prompts", *arguments])
        told = capsys.readouterr()
        return code, (told.out + told.err).splitlines()

    return run


@pytest.mark.parametrize("alias", ["latest", "LATEST"])
def test_an_alias_that_mlflow_keeps_for_itself_is_refused_with_its_reason(prompts: PromptRegistry, alias: str) -> None:
    name, registry = f"model-{alias}", client(prompts.uri)
    registry.create_registered_model(name)
    registry.create_model_version(name, source="anywhere")
    with pytest.raises(RegistryRefused, match=rf"refuses alias {alias} of {name} version 1: .*reserved"):
        Registry(prompts.uri).set_alias(name, alias, "1")
    with pytest.raises(RegistryRefused, match=rf"refuses alias {alias} of prompt greeting/1: .*reserved"):
        prompts.set_alias(prompts.get(Address("greeting", "1")), alias)


def test_what_others_left_that_can_not_be_filled_is_listed_with_the_reason(
    prompts: PromptRegistry, command: Command
) -> None:
    registry = client(prompts.uri)
    with pytest.raises(ValueError, match="Template must be a list"):
        registry.register_prompt("unreadable", [{"type": "x"}])
    registry.register_prompt("theirs", "Say {{x}}", commit_message="plain")
    registry.register_prompt("theirs", "{% if x %}{{x}}{% endif %}")
    registry.set_prompt_alias("theirs", "champion", 2)

    code, lines = command("list")
    assert code == 0
    rows = {line.split()[0]: re.split("  +", line)[1:] for line in lines}
    assert rows["greeting"] == ["1", "-", "-"]
    assert rows["theirs"] == ["2", "champion=2", "x"]
    assert rows["unreadable"][:2] == ["1", "-"]
    assert rows["unreadable"][2].startswith("can't be filled: Template must be a list of dicts")

    code, lines = command("list", "theirs")
    assert code == 0
    newest, oldest = (re.split("  +", line) for line in lines[1:])
    assert (newest[0], newest[1], newest[3]) == ("2", "champion", "-")
    assert newest[4].startswith("can't be filled: prompt theirs/2 is a template of Jinja's")
    assert (oldest[0], oldest[1], *oldest[3:]) == ("1", "-", "x", "plain")

    code, lines = command("list", "unreadable")
    assert (code, lines[1].split()[0]) == (0, "1")
    assert "can't be filled: Template must be a list of dicts" in lines[1]


def test_a_version_that_mlflow_can_not_read_does_not_keep_the_next_from_being_added(prompts: PromptRegistry) -> None:
    with pytest.raises(ValueError, match="Template must be a list"):
        client(prompts.uri).register_prompt("mended", [{"type": "x"}])
    added, was_new = prompts.add("mended", "Hello", "")
    assert (added.version, was_new) == ("2", True)


def test_a_text_is_the_same_version_whichever_editor_saved_it(prompts: PromptRegistry, command: Command) -> None:
    saved = (b"One\nTwo\n", b"\xef\xbb\xbfOne\r\nTwo\r\n", b"One\rTwo\r")
    for number, data in enumerate(saved):
        Path(f"{number}.txt").write_bytes(data)
        assert command("add", "saved", f"{number}.txt")[0] == 0
    Path("chat.json").write_bytes(b'\xef\xbb\xbf[{"role": "user",\r\n"content": "x"}]')
    assert command("add", "chat", "chat.json")[0] == 0
    [version] = prompts.versions("saved")
    assert isinstance(version, PromptVersion)
    assert version.template == "One\nTwo"


@pytest.mark.parametrize(
    ("name", "data", "where"),
    [
        ("text.txt", b"One\nT\0wo", "line 2"),
        ("utf16.txt", "One".encode("utf-16-le"), "line 1"),
        ("raw.yaml", b"- role: user\n  content: a\0b", "line 2"),
        ("escaped.json", b'[{"role": "user", "content": "a"}, {"role": "user", "content": "a\\u0000b"}]', "message 2"),
    ],
)
def test_a_nul_is_refused_with_its_place(command: Command, name: str, data: bytes, where: str) -> None:
    Path(name).write_bytes(data)
    code, [line] = command("add", "nul", name)
    assert code == 2
    assert line.startswith(f"error: {name}: {where} has a NUL (U+0000)")
