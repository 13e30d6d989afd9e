"""Settings as vLLM takes them, and its errors as OpenAI's. Without vLLM."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from serve.llm.backend import Operation
from serve.llm.deployed.engine import EngineSettingsError
from serve.llm.deployed.messages import Refused
from serve.llm.settings import Vllm
from serve.llm.vllm import refusals
from serve.llm.vllm.arguments import GIB, command_line, environment, most_calls
from serve.llm.vllm.plan import resources


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    made = tmp_path / "model"
    made.mkdir()
    (made / "config.json").write_text("{}")
    return made


def settings(model: Path | str, **fields: Any) -> Vllm:
    return Vllm.model_validate({"kind": "vllm", "model": str(model), **fields})


def words(model: Path | str, **fields: Any) -> list[str]:
    return command_line("small", settings(model, **fields))


class TestCommandLine:
    def test_names_the_model_as_the_backend_is_named(self, folder: Path) -> None:
        found = words(folder)
        assert f"--model={folder}" in found
        assert "--served-model-name=small" in found

    def test_passes_what_the_settings_say(self, folder: Path) -> None:
        found = words(folder, dtype="float32", max_length=512, sequences=4, cache_gib=0.5, prefix_cache=False)
        assert {"--dtype=float32", "--max-model-len=512", "--max-num-seqs=4", "--no-enable-prefix-caching"} <= {*found}
        assert f"--kv-cache-memory-bytes={GIB // 2}" in found

    def test_leaves_the_length_to_the_model(self, folder: Path) -> None:
        assert not any(word.startswith("--max-model-len") for word in words(folder))

    def test_a_tool_parser_lets_the_model_choose_tools(self, folder: Path) -> None:
        assert "--enable-auto-tool-choice" in words(folder, tool_parser="hermes")
        assert "--enable-auto-tool-choice" not in words(folder)

    def test_a_gpu_finds_its_own_cache_and_compiles(self, folder: Path) -> None:
        found = words(folder, gpus=1.0)
        assert not any(word.startswith("--kv-cache-memory-bytes") for word in found)
        assert "--enforce-eager" not in found
        assert "--enforce-eager" in words(folder)

    def test_several_gpus_are_workers_of_ray(self, folder: Path) -> None:
        assert "--distributed-executor-backend=ray" in words(folder, tensor_parallel=2, gpus=2.0)
        assert "--distributed-executor-backend=mp" in words(folder, tensor_parallel=2)
        assert "--distributed-executor-backend=uni" in words(folder, gpus=1.0)

    def test_adapters_are_models_by_their_names(self, folder: Path) -> None:
        (folder / "adapter_config.json").write_text("{}")
        found = words(folder, adapters={"terse": str(folder), "polite": str(folder)})
        at = found.index("--lora-modules")
        assert found[at + 1 : at + 3] == [f"terse={folder}", f"polite={folder}"]
        assert "--max-loras=3" in found
        assert "--max-lora-rank=16" in found

    def test_an_adapter_that_is_not_there_is_said(self, folder: Path) -> None:
        with pytest.raises(EngineSettingsError, match=r"adapters.terse: /nowhere"):
            words(folder, adapters={"terse": "/nowhere"})

    def test_other_arguments_come_last(self, folder: Path) -> None:
        found = words(folder, arguments={"max_num_batched_tokens": 64, "enable-chunked-prefill": False, "seed": -1})
        assert found[-3:] == ["--max-num-batched-tokens=64", "--no-enable-chunked-prefill", "--seed=-1"]

    def test_others_decide_instead_of_the_defaults(self, folder: Path) -> None:
        found = words(folder, arguments={"enforce_eager": False, "allowed_media_domains": "example.org"})
        assert "--enforce-eager" not in found
        assert [word for word in found if "media" in word] == ["--allowed-media-domains=example.org"]

    def test_no_address_of_a_request_is_fetched(self, folder: Path) -> None:
        assert "--allowed-media-domains=none.invalid" in words(folder)

    @pytest.mark.parametrize("argument", ["model", "max_model_len", "max-num-seqs", "config", "lora_modules"])
    def test_others_may_not_be_what_the_settings_decide(self, folder: Path, argument: str) -> None:
        with pytest.raises(EngineSettingsError, match="other settings decide it"):
            words(folder, arguments={argument: "x"})

    @given(st.text(min_size=1))
    def test_a_name_is_a_name_or_refused(self, name: str) -> None:
        given = Vllm.model_construct(kind="vllm", model="hub/model", arguments={name: "x"})
        try:
            found = command_line("small", given)
        except EngineSettingsError:
            return
        assert re.fullmatch(r"--[a-z0-9-]+=x", found[-1])


class TestEnvironment:
    def test_tells_nobody_of_its_use(self, folder: Path) -> None:
        assert environment(settings(folder))["VLLM_NO_USAGE_STATS"] == "1"

    def test_a_folder_needs_no_hub(self, folder: Path) -> None:
        assert environment(settings(folder))["HF_HUB_OFFLINE"] == "1"
        assert "HF_HUB_OFFLINE" not in environment(settings("hub/model"))

    def test_threads_are_the_cpus(self, folder: Path) -> None:
        assert environment(settings(folder, cpus=3.5))["OMP_NUM_THREADS"] == "3"
        assert environment(settings(folder, cpus=0.5))["OMP_NUM_THREADS"] == "1"
        assert "OMP_NUM_THREADS" not in environment(settings(folder, gpus=1.0))

    def test_on_a_cpu_nothing_is_compiled_between_the_tokens_of_others_unless_it_is_asked_for(
        self, folder: Path
    ) -> None:
        for eager in (settings(folder), settings(folder, arguments={"enforce_eager": True})):
            assert environment(eager)["TORCH_COMPILE_DISABLE"] == "1"
            assert command_line("chat", eager).count("--enforce-eager") == 1
        asked = [{"enforce_eager": False}, {"no-enforce-eager": True}]
        for compiling in (settings(folder, gpus=1.0), *(settings(folder, arguments=each) for each in asked)):
            assert "TORCH_COMPILE_DISABLE" not in environment(compiling)
            assert "--enforce-eager" not in command_line("chat", compiling)

    def test_loopback_is_kept_to(self, folder: Path) -> None:
        assert environment(settings(folder), on_loopback=True)["VLLM_HOST_IP"] == "127.0.0.1"


class TestResources:
    def test_one_process_takes_all(self, folder: Path) -> None:
        assert resources(settings(folder, cpus=2.0, gpus=0.5)) == {
            "ray_actor_options": {"num_cpus": 2.0, "num_gpus": 0.5}
        }

    def test_each_worker_has_a_gpu_in_the_group(self, folder: Path) -> None:
        found = resources(settings(folder, cpus=2.0, gpus=3.0, tensor_parallel=3))
        assert found["placement_group_bundles"] == [{"CPU": 2.0, "GPU": 1.0}, {"GPU": 1.0}, {"GPU": 1.0}]
        assert found["ray_actor_options"]["num_gpus"] == 0

    @pytest.mark.parametrize("parallel", [1, 2])
    def test_the_memory_that_it_needs_is_free_where_its_replica_is(self, folder: Path, parallel: int) -> None:
        wanted = settings(folder, gpus=1.0, tensor_parallel=parallel, needs={"memory_gib": 4})
        found = resources(wanted)
        assert found["ray_actor_options"]["memory"] == 4 * 2**30
        assert [each.get("memory") for each in found.get("placement_group_bundles", [])] == [4 * 2**30, None][
            : 2 * (parallel - 1)
        ]
        assert wanted.gpus_in_all == parallel

    def test_more_calls_than_sequences(self, folder: Path) -> None:
        assert most_calls(settings(folder, sequences=4)) > 4


class TestRefusals:
    @pytest.mark.parametrize(
        ("operation", "param"), [("chat", "messages"), ("completions", "prompt"), ("embeddings", "input")]
    )
    @pytest.mark.parametrize(
        "message",
        [
            "This model's maximum context length is 2048 tokens. However, you requested 24 output tokens and …",
            "Input length (5000) exceeds model's maximum context length (2048).",
            "The decoder prompt (length 5000) is longer than the maximum model length of 2048.",
        ],
    )
    def test_a_long_prompt_has_openais_code(self, operation: Operation, param: str, message: str) -> None:
        found = refusals.refusal(operation, 400, message, "input_tokens")
        assert (found.status, found.code, found.param) == (400, "context_length_exceeded", param)

    def test_a_model_that_is_not_there(self) -> None:
        found = refusals.refusal("chat", 404, "The model `x` does not exist.")
        assert found == Refused(404, "model_not_found", "The model `x` does not exist.", "model")

    @pytest.mark.parametrize("status", [400, 422, 501])
    def test_the_clients_mistakes_are_400(self, status: int) -> None:
        assert refusals.refusal("chat", status, "no", "n") == Refused(400, "invalid_value", "no", "n")
        assert refusals.refusal("chat", status, "no").code == "invalid_request_error"

    def test_ours_are_not_told(self) -> None:
        found = refusals.refusal("chat", 500, "secret at 0x7f")
        assert found.status == 500
        assert "secret" not in found.message

    def test_no_room(self) -> None:
        assert refusals.refusal("chat", 503, "busy").status == 503

    def test_values_and_long_messages_are_cut(self) -> None:
        found = refusals.refusal("chat", 400, f"n is bad (parameter=n, value={'(9)' * 10_000})", "n")
        assert found.message == "n is bad"
        assert len(refusals.refusal("chat", 400, "x" * 10_000).message) < 1000
