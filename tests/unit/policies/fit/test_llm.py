"""The memory of language models: parameters as published, and what follows from them."""

from __future__ import annotations

import json

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from policies.fit.instances import INSTANCES
from policies.fit.llm import SHAPES, Load, UnknownModel, fitting, parameters, read_config
from tests.unit.policies.fit.configs import LLAMA, PUBLISHED

GIB = 2**30


@pytest.mark.parametrize("name", PUBLISHED)
def test_parameters_are_those_of_the_published_weights(name: str) -> None:
    text, published = PUBLISHED[name]
    assert parameters(read_config(text)) == published


def test_each_architecture_has_a_published_number() -> None:
    assert {json.loads(text)["model_type"] for text, _ in PUBLISHED.values()} == set(SHAPES)


def test_parameters_are_those_that_torch_counts_in_the_same_layers() -> None:
    """On the meta device, which has no memory."""
    config = read_config(LLAMA)
    hidden, keys = config.hidden_size, config.kv_heads * config.head

    def linear(into: int, out: int) -> torch.nn.Module:
        return torch.nn.Linear(into, out, bias=False, device="meta")

    layer = torch.nn.ModuleList(
        [
            *(linear(hidden, size) for size in (hidden, keys, keys, hidden)),
            *(linear(hidden, config.intermediate_size) for _ in range(2)),
            linear(config.intermediate_size, hidden),
            *(torch.nn.RMSNorm(hidden, device="meta") for _ in range(2)),
        ]
    )
    ends = torch.nn.ModuleList(
        [
            torch.nn.Embedding(config.vocab_size, hidden, device="meta"),
            torch.nn.RMSNorm(hidden, device="meta"),
            linear(hidden, config.vocab_size),
        ]
    )

    def count(module: torch.nn.Module) -> int:
        return sum(each.numel() for each in module.parameters())

    assert parameters(config) == count(ends) + config.num_hidden_layers * count(layer)


def test_weights_and_cache_of_a_model_of_eight_billion() -> None:
    load = Load(read_config(LLAMA), "bfloat16", 8192, 16)
    assert load.weight_bytes / GIB == pytest.approx(14.96, abs=0.01)
    assert load.token_bytes == 128 * 1024
    assert load.cache_bytes == 16 * GIB
    assert Load(load.config, "int4", 8192, 16).weight_bytes / GIB == pytest.approx(5.41, abs=0.05)
    assert Load(load.config, "fp8", 8192, 16).weight_bytes < load.weight_bytes


def test_the_smallest_instance_comes_first_and_one_fewer_sequence_may_do() -> None:
    config = read_config(LLAMA)
    large = next(fitting(Load(config, "bfloat16", 8192, 16)))
    small = next(fitting(Load(config, "bfloat16", 4096, 4)))
    assert large[0].name == "g6e.xlarge"
    assert small[0].name in ("g5.xlarge", "g6.xlarge")
    assert next(fitting(Load(read_config(PUBLISHED["Llama-3.1-70B"][0]), "bfloat16", 8192, 8)))[1].parallel > 1


def test_a_format_that_a_gpu_lacks_is_not_put_there() -> None:
    small = read_config(PUBLISHED["SmolLM2-135M"][0])
    assert not Load(small, "bfloat16", 2048, 1).fits(INSTANCES["g4dn.xlarge"])
    assert Load(small, "float16", 2048, 1).fits(INSTANCES["g4dn.xlarge"])
    assert not Load(small, "fp8", 2048, 1).fits(INSTANCES["g5.xlarge"])
    assert not Load(small, "float16", 2048, 1).fits(INSTANCES["m7i.xlarge"])


@given(
    name=st.sampled_from(sorted(PUBLISHED)),
    context=st.integers(1, 131_072),
    sequences=st.integers(1, 256),
    parallel=st.sampled_from([1, 2, 4, 8]),
)
def test_more_tokens_never_take_less_and_more_gpus_never_take_more_of_each(
    name: str, context: int, sequences: int, parallel: int
) -> None:
    load = Load(read_config(PUBLISHED[name][0]), "bfloat16", context, sequences, parallel)
    assert Load(load.config, "bfloat16", context + 1, sequences, parallel).gpu_bytes >= load.gpu_bytes
    assert load.divided(parallel * 2).gpu_bytes - load.divided(parallel * 2).overhead_bytes <= load.gpu_bytes
    assert all(each.fits(instance) for instance, each in fitting(load))


@pytest.mark.parametrize(
    ("quantised", "stored"),
    [
        ({"quant_method": "awq", "bits": 4}, "int4"),
        ({"quant_method": "gptq", "bits": 8}, "int8"),
        ({"quant_method": "fp8"}, "fp8"),
        (None, "bfloat16"),
    ],
)
def test_what_the_weights_are_stored_as_is_read(quantised: dict[str, object] | None, stored: str) -> None:
    assert read_config(json.dumps({**json.loads(LLAMA), "quantization_config": quantised})).stored == stored


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("{", "Invalid JSON"),
        ("[]", "Input should be an object"),
        (json.dumps({**json.loads(LLAMA), "hidden_size": 0}), "hidden_size"),
        (json.dumps({**json.loads(LLAMA), "model_type": "mamba"}), "model_type is mamba, expected one of llama"),
    ],
)
def test_what_is_no_configuration_is_refused_in_one_line(text: str, says: str) -> None:
    with pytest.raises(UnknownModel, match=says) as found:
        read_config(text)
    assert "\n" not in str(found.value)
