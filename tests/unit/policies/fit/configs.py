"""The ``config.json`` of some language models, as published, as far as it counts."""

from __future__ import annotations

import json
from typing import Any


def _of(model_type: str, hidden: int, layers: int, heads: int, keys: int, width: int, words: int, **more: Any) -> str:
    return json.dumps(
        {
            "architectures": ["AnyForCausalLM"],
            "model_type": model_type,
            "hidden_size": hidden,
            "num_hidden_layers": layers,
            "num_attention_heads": heads,
            "num_key_value_heads": keys,
            "intermediate_size": width,
            "vocab_size": words,
            "torch_dtype": "bfloat16",
            **more,
        }
    )


LLAMA = _of("llama", 4096, 32, 32, 8, 14_336, 128_256, tie_word_embeddings=False, max_position_embeddings=131_072)

PUBLISHED: dict[str, tuple[str, int]] = {
    "SmolLM2-135M": (_of("llama", 576, 30, 9, 3, 1536, 49_152, tie_word_embeddings=True), 134_515_008),
    "Llama-3.2-1B": (_of("llama", 2048, 16, 32, 8, 8192, 128_256, tie_word_embeddings=True), 1_235_814_400),
    "Llama-3.1-8B": (LLAMA, 8_030_261_248),
    "Llama-3.1-70B": (_of("llama", 8192, 80, 64, 8, 28_672, 128_256), 70_553_706_496),
    "Mistral-7B": (_of("mistral", 4096, 32, 32, 8, 14_336, 32_000), 7_241_732_096),
    "Mixtral-8x7B": (_of("mixtral", 4096, 32, 32, 8, 14_336, 32_000, num_local_experts=8), 46_702_792_704),
    "Qwen2.5-7B": (_of("qwen2", 3584, 28, 28, 4, 18_944, 152_064, tie_word_embeddings=False), 7_615_616_512),
    "Qwen2.5-0.5B": (_of("qwen2", 896, 24, 14, 2, 4864, 151_936, tie_word_embeddings=True), 494_032_768),
    "Qwen3-8B": (_of("qwen3", 4096, 36, 32, 8, 12_288, 151_936, head_dim=128), 8_190_735_360),
    "Qwen3-30B-A3B": (
        _of("qwen3_moe", 2048, 48, 32, 4, 6144, 151_936, head_dim=128, num_experts=128, moe_intermediate_size=768),
        30_532_122_624,
    ),
    "gemma-2-9b": (_of("gemma2", 3584, 42, 16, 8, 14_336, 256_000, head_dim=256), 9_241_705_984),
    "gemma-3-1b": (
        _of("gemma3_text", 1152, 26, 4, 1, 6912, 262_144, head_dim=256),
        999_885_952,
    ),
    "gemma-7b": (_of("gemma", 3072, 28, 16, 16, 24_576, 256_000, head_dim=256), 8_537_680_896),
    "Phi-3-mini": (_of("phi3", 3072, 32, 32, 32, 8192, 32_064), 3_821_079_552),
}
"""Name → configuration, and the number of parameters that its weights' files have."""
