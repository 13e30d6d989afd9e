"""How much of a GPU's memory a language model takes, from its ``config.json`` as Hugging Face has it.

Weights are counted exactly, by the architectures of :data:`SHAPES`; the KV cache is what the tokens that are held at
once take. What an engine takes beside them is estimated after vLLM, and not measured here: see the constants.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any, Literal

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from policies.fit.instances import INSTANCES, Instance, in_order

Dtype = Literal["float32", "bfloat16", "float16", "fp8", "int8", "int4"]

BITS: Mapping[str, int] = {"float32": 32, "bfloat16": 16, "float16": 16, "fp8": 8, "int8": 8, "int4": 4}
LEAST_CAPABILITY: Mapping[str, float] = {"bfloat16": 8.0, "fp8": 8.9}
"""https://docs.nvidia.com/cuda/cuda-c-programming-guide/#features-and-technical-specifications"""

GROUP = 128
BITS_OF_A_GROUP = 32
"""Weights of 4 bits have a scale and a zero point for each so many, as AWQ and GPTQ write them."""

USED_SHARE = 0.9
"""Of a GPU's memory. vLLM's own default (``gpu_memory_utilization``)."""

CONTEXT_BYTES = 600 * 2**20
"""CUDA's context and its libraries' kernels, on each GPU. An estimate."""

GRAPHS_BYTES = 1024 * 2**20
"""CUDA graphs for the usual sizes of batches, on each GPU. An estimate, after what vLLM logs when it captures them."""

TOGETHER_BYTES = 512 * 2**20
"""Buffers of NCCL, on each of several GPUs. An estimate."""

MOST_BATCHED_TOKENS = 8192
"""That a step computes at once, at the most: vLLM divides longer prompts."""

LOADING_BYTES = 4 * 2**30
"""Of the node's memory, by the engine's processes: Python, torch and CUDA's host side. An estimate."""

GIB = 2**30


class UnknownModel(ValueError):
    """The configuration can't be read, or is of no architecture that is known here."""


@dataclass(frozen=True)
class Shape:
    """What the architecture adds to the usual: biases of queries, keys and values, norms of queries and keys."""

    biases: bool = False
    query_norms: bool = False
    norms: int = 2
    tied: bool = False


SHAPES: Mapping[str, Shape] = {
    "llama": Shape(),
    "mistral": Shape(),
    "mixtral": Shape(),
    "phi3": Shape(),
    "qwen2": Shape(biases=True),
    "qwen3": Shape(query_norms=True),
    "qwen3_moe": Shape(query_norms=True),
    "gemma": Shape(tied=True),
    "gemma2": Shape(norms=4, tied=True),
    "gemma3_text": Shape(norms=4, tied=True, query_norms=True),
}
"""``model_type`` → its shape. For a new one: its line here, and its published number of parameters in the test."""


class ModelConfig(BaseModel):
    """A ``config.json``, as far as it counts here: it has many more keys, which differ from model to model."""

    model_config = ConfigDict(extra="ignore", frozen=True)

    model_type: str
    hidden_size: int = Field(ge=1)
    num_hidden_layers: int = Field(ge=1)
    num_attention_heads: int = Field(ge=1)
    num_key_value_heads: int | None = Field(default=None, ge=1)
    head_dim: int | None = Field(default=None, ge=1)
    intermediate_size: int = Field(ge=1)
    vocab_size: int = Field(ge=1)
    tie_word_embeddings: bool | None = None
    attention_bias: bool = False
    mlp_bias: bool = False
    num_local_experts: int | None = Field(default=None, ge=1)
    num_experts: int | None = Field(default=None, ge=1)
    moe_intermediate_size: int | None = Field(default=None, ge=1)
    torch_dtype: str | None = None
    dtype: str | None = None
    quantization_config: dict[str, Any] | None = None
    max_position_embeddings: int | None = Field(default=None, ge=1)

    @property
    def shape(self) -> Shape:
        return SHAPES[self.model_type]

    @property
    def kv_heads(self) -> int:
        return self.num_key_value_heads or self.num_attention_heads

    @property
    def head(self) -> int:
        return self.head_dim or self.hidden_size // self.num_attention_heads

    @property
    def experts(self) -> int:
        return self.num_local_experts or self.num_experts or 0

    @property
    def stored(self) -> Dtype:
        """What the weights are stored as."""
        quantised = self.quantization_config or {}
        method, bits = str(quantised.get("quant_method", "")), quantised.get("bits", quantised.get("w_bit"))
        if "fp8" in method:
            return "fp8"
        if bits in (4, 8):
            return "int4" if bits == 4 else "int8"
        named = str(self.torch_dtype or self.dtype or "bfloat16").removeprefix("torch.")
        return "float32" if named == "float32" else "float16" if named == "float16" else "bfloat16"


def read_config(text: str) -> ModelConfig:
    """Raises:
    UnknownModel: one line with what was expected and what came.
    """
    try:
        config = ModelConfig.model_validate_json(text)
    except ValidationError as error:
        problem = error.errors(include_url=False)[0]
        path = ".".join(map(str, problem["loc"]))
        raise UnknownModel(f"{f'{path}: ' if path else ''}{problem['msg']}") from error
    if config.model_type not in SHAPES:
        raise UnknownModel(f"model_type is {config.model_type}, expected one of {', '.join(SHAPES)}")
    return config


def embedding_parameters(config: ModelConfig) -> int:
    """Of the table of tokens, and of the head where that is one of its own."""
    tied = config.shape.tied if config.tie_word_embeddings is None else config.tie_word_embeddings
    return config.vocab_size * config.hidden_size * (1 if tied else 2)


def layer_parameters(config: ModelConfig) -> int:
    """Of all layers, and the norm after the last."""
    hidden, head, shape = config.hidden_size, config.head, config.shape
    queries, keys = config.num_attention_heads * head, config.kv_heads * head
    attention = hidden * (queries + 2 * keys) + queries * hidden
    if shape.biases or config.attention_bias:
        attention += queries + 2 * keys + (hidden if config.attention_bias else 0)
    if shape.query_norms:
        attention += 2 * head
    experts = config.experts
    width = (config.moe_intermediate_size or config.intermediate_size) if experts else config.intermediate_size
    network = 3 * hidden * width + ((2 * width + hidden) if config.mlp_bias else 0)
    network = experts * network + experts * hidden if experts else network
    return config.num_hidden_layers * (attention + network + shape.norms * hidden) + hidden


def parameters(config: ModelConfig) -> int:
    return embedding_parameters(config) + layer_parameters(config)


@dataclass(frozen=True)
class Load:
    """``context``: tokens of a sequence; ``sequences``: at once. ``parallel``: GPUs among which it is divided."""

    config: ModelConfig
    dtype: Dtype
    context: int
    sequences: int
    parallel: int = 1

    @property
    def weight_bytes(self) -> float:
        """Of all of it. Quantised models keep their embeddings in 16 bits."""
        bits = BITS[self.dtype]
        if bits >= 16:
            return parameters(self.config) * bits / 8
        grouped = bits + (BITS_OF_A_GROUP / GROUP if bits == 4 else 0)
        return embedding_parameters(self.config) * 2 + layer_parameters(self.config) * grouped / 8

    @property
    def tokens(self) -> int:
        return self.context * self.sequences

    @property
    def token_bytes(self) -> int:
        """Of one token's keys and values: in 16 bits, or in 32 where the weights have as many."""
        config = self.config
        return 2 * config.num_hidden_layers * config.kv_heads * config.head * (4 if self.dtype == "float32" else 2)

    @property
    def cache_bytes(self) -> int:
        return self.tokens * self.token_bytes

    @property
    def overhead_bytes(self) -> float:
        """On each GPU: CUDA, its graphs, and what a step computes with."""
        config = self.config
        step = min(self.tokens, MOST_BATCHED_TOKENS)
        width = 4 * config.hidden_size + 3 * config.intermediate_size / self.parallel
        activations = step * width * 2 + self.sequences * config.vocab_size * 4
        return CONTEXT_BYTES + GRAPHS_BYTES + activations + (TOGETHER_BYTES if self.parallel > 1 else 0)

    @property
    def gpu_bytes(self) -> float:
        """On each GPU. A head of keys is not divided: with more GPUs than heads, some have the same ones."""
        heads = max(1, math.ceil(self.config.kv_heads / self.parallel))
        cache = self.cache_bytes * heads / self.config.kv_heads
        return self.weight_bytes / self.parallel + cache + self.overhead_bytes

    @property
    def least_gpu_bytes(self) -> float:
        """The memory that each GPU must have, of which the engine uses a share."""
        return self.gpu_bytes / USED_SHARE

    def fits(self, instance: Instance) -> bool:
        gpu = instance.gpu
        return (
            gpu is not None
            and instance.gpus >= self.parallel
            and self.least_gpu_bytes <= gpu.memory_mib * 2**20
            and float(gpu.capability) >= LEAST_CAPABILITY.get(self.dtype, 0)
            and instance.memory_mib * 2**20 * 0.9 >= LOADING_BYTES
        )

    def divided(self, parallel: int) -> Load:
        return Load(self.config, self.dtype, self.context, self.sequences, parallel)

    @property
    def divisions(self) -> list[int]:
        """Among how many GPUs it can be divided: a head of queries is not."""
        heads, keys = self.config.num_attention_heads, self.config.kv_heads
        return [each for each in (1, 2, 4, 8) if heads % each == 0 and (keys % each == 0 or each % keys == 0)]


def fitting(load: Load) -> Iterator[tuple[Instance, Load]]:
    """The instance types that it fits, the smallest first, each with the fewest GPUs that do."""
    for instance in in_order(INSTANCES.values()):
        for parallel in load.divisions:
            if load.divided(parallel).fits(instance):
                yield instance, load.divided(parallel)
                break
