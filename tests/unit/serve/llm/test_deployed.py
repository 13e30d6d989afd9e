"""What is the same for every engine: where its model is, what it refuses, and what passes between processes."""

from __future__ import annotations

import pickle
import subprocess
import sys
from pathlib import Path
from typing import Any, get_args

import cloudpickle
import pytest
from hypothesis import given
from hypothesis import strategies as st

from serve.llm.backend import Tokens
from serve.llm.deployed import refusals
from serve.llm.deployed.deployment import deployment_name
from serve.llm.deployed.engine import EngineSettingsError
from serve.llm.deployed.messages import Chunks, Refused, Whole
from serve.llm.deployed.source import model_source
from serve.llm.engines import ENGINES, plan
from serve.llm.settings import Deployed

JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(), lambda x: st.lists(x) | st.dictionaries(st.text(), x)
)


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    made = tmp_path / "model"
    made.mkdir()
    (made / "config.json").write_text("{}")
    return made


class TestModelSource:
    def test_a_folder_is_whole(self, folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.chdir(folder.parent)
        assert model_source("small", "model") == str(folder)

    def test_an_id_is_left_as_it_is(self) -> None:
        assert model_source("small", "Qwen/Qwen3-0.6B") == "Qwen/Qwen3-0.6B"

    @pytest.mark.parametrize("model", ["/no/such/folder", "./nothing", "a/b/c", "registry:chat@champion"])
    def test_anything_else_is_said(self, model: str) -> None:
        with pytest.raises(EngineSettingsError, match="backend small: model:"):
            model_source("small", model)

    def test_a_folder_with_no_model_is_said(self, tmp_path: Path) -> None:
        with pytest.raises(EngineSettingsError, match=r"config\.json"):
            model_source("small", str(tmp_path))


class TestPlan:
    @pytest.mark.parametrize("kind", ENGINES)
    def test_passes_between_processes(self, kind: type[Deployed], folder: Path) -> None:
        [literal] = get_args(kind.model_fields["kind"].annotation)
        made = plan("small", kind.model_validate({"kind": literal, "model": str(folder)}))
        read = cloudpickle.loads(cloudpickle.dumps(made))
        assert (read.environment, read.calls, read.resources) == (made.environment, made.calls, made.resources)
        assert read.start.func is made.start.func

    def test_a_deployment_is_named_after_its_backend(self) -> None:
        assert deployment_name("vllm", "small") == "vllm-small"

    def test_only_a_replica_imports_an_engine(self) -> None:
        program = (
            "import sys; import serve.llm.deployed.backend, serve.llm.deployed.replica, serve.llm.deployed.deployment;"
            "print(sorted({'vllm', 'torch', 'transformers'} & {*sys.modules}))"
        )
        ran = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
        assert ran.stdout.strip() == "[]"


class TestRefusals:
    @pytest.mark.parametrize(
        ("kind", "code"),
        [
            ("missing", "missing_required_parameter"),
            ("string_type", "invalid_type"),
            ("int_parsing", "invalid_type"),
            ("less_than_equal", "invalid_value"),
        ],
    )
    def test_what_pydantic_says(self, kind: str, code: str) -> None:
        found = refusals.rejection({"type": kind, "msg": "Value error, wrong"}, "seed")
        assert found == Refused(400, code, "seed: wrong", "seed")

    @pytest.mark.parametrize(
        "body", [{"n": 129}, {"n": 10**9}, {"prompt": ["a"] * 129}, {"n": 2, "prompt": ["a"] * 65}]
    )
    def test_too_many_answers(self, body: dict[str, Any]) -> None:
        found = refusals.objection("completions", body)
        assert found is not None
        assert found.param == "n"

    @pytest.mark.parametrize("body", [{}, {"n": 128}, {"prompt": [1] * 1000}, {"n": None}, {"n": "x"}, {"prompt": []}])
    def test_no_more_than_may_be(self, body: dict[str, Any]) -> None:
        assert refusals.objection("completions", body) is None

    def test_embeddings_are_of_so_many_texts(self) -> None:
        assert refusals.objection("embeddings", {"input": ["a"] * 2048}) is None
        assert refusals.objection("embeddings", {"input": [1] * 5000}) is None
        found = refusals.objection("embeddings", {"input": ["a"] * 2049})
        assert found is not None
        assert found.param == "input"

    def test_roles_are_openais(self) -> None:
        messages = [{"role": "user", "content": "x"}, {"role": "boss", "content": "x"}]
        found = refusals.objection("chat", {"messages": messages})
        assert found is not None
        assert found.param == "messages.1.role"
        assert refusals.objection("chat", {"messages": messages[:1]}) is None

    @given(JSON)
    def test_any_body_is_looked_at(self, value: Any) -> None:
        for operation in ("chat", "completions", "embeddings"):
            found = refusals.objection(operation, {"messages": value, "prompt": value, "n": value})
            assert found is None or found.status == 400


@pytest.mark.parametrize(
    "message", [Chunks(b"{}\n{}", Tokens(1, 2, 3)), Whole(b"{}"), Refused(400, None, "no", "n")], ids=type
)
def test_messages_pass_between_processes(message: Any) -> None:
    assert pickle.loads(pickle.dumps(message)) == message
