"""A registry that others write to as well."""

from __future__ import annotations

from typing import Any

import pytest

from training.prompts import Address, PromptRegistry, PromptUnusable
from training.registry import client, local_uri

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
