"""The rules of the house that no linter knows."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
LONGEST_FILE = 400

HEAVY = (
    "pyspark",
    "torch",
    "ray",
    "mlflow",
    "onnx",
    "onnxruntime",
    "pandas",
    "sklearn",
    "starlette",
    "lightgbm",
    "pulumi",
    "boto3",
    "moto",
    "botocore",
    "vllm",
    "transformers",
)

NEEDED = {
    "console": (),
    "console.folders": (),
    "spark_jobs.contract": (),
    "spark_jobs.__main__": (),
    "spark_jobs.online": (),
    "spark_jobs.publish": (),
    "spark_jobs.stores": (),
    "spark_jobs.job": ("pyspark",),
    "training.__main__": (),
    "training.registry": (),
    "training.prompts": (),
    "training.data": ("pandas",),
    "training.pipeline": ("torch", "ray", "mlflow", "onnx", "onnxruntime", "pandas", "sklearn", "pyspark"),
    "serve": (),
    "serve.settings": (),
    "serve.__main__": (),
    "serve.llm.language": (),
    "serve.llm.bedrock.backend": (),
    "serve.llm.vllm.arguments": (),
    "serve.app": ("ray", "starlette", "onnx"),
    "demo.__main__": (),
    "infra.settings": (),
    "infra.check.command": ("pulumi",),
    "policies.rules": ("pulumi",),
    "policies.testing": ("pulumi",),
    "policies.reading.fargate": (),
    "infra.lambdas.validate": ("boto3", "botocore"),
}
"""Module → the heavy packages it may import on its own import. Each of the others is made to fail."""


@pytest.mark.parametrize("module", NEEDED)
def test_a_package_imports_without_the_extras_of_the_others(module: str) -> None:
    blocked = [name for name in HEAVY if name not in NEEDED[module]]
    program = f"""
import sys
from importlib.abc import MetaPathFinder

class Absent(MetaPathFinder):
    def find_spec(self, name, path=None, target=None):
        if name.partition(".")[0] in {blocked!r}:
            raise ModuleNotFoundError(f"No module named {{name!r}}", name=name)

sys.meta_path.insert(0, Absent())
import {module}
"""
    found = subprocess.run([sys.executable, "-c", program], cwd=ROOT, capture_output=True, text=True, check=False)
    assert found.returncode == 0, found.stderr


def sources(*packages: str) -> list[Path]:
    return [file for package in packages for file in sorted((ROOT / package).rglob("*.py"))]


def test_nothing_in_training_or_serving_knows_the_example_data_set() -> None:
    files = sources("console", "training", "serve", "tests/unit/training", "tests/unit/serve")
    assert files
    known = [
        f"{file.relative_to(ROOT)}:{number}"
        for file in files
        for number, line in enumerate(file.read_text().splitlines(), 1)
        if re.search(r"(?<!in[_ -])flight|nycflights|airport|carrier", line, re.IGNORECASE)
    ]
    assert known == []


def test_no_module_has_grown_past_where_it_should_have_been_split() -> None:
    files = sources("console", "spark_jobs", "training", "serve", "demo", "benchmarks", "infra", "policies", "tests")
    long = [str(file.relative_to(ROOT)) for file in files if len(file.read_text().splitlines()) > LONGEST_FILE]
    assert long == []


@pytest.mark.parametrize("lock", ["requirements.lock", "requirements-llm.lock", "requirements-dev.lock"])
def test_the_lock_pins_every_package_and_names_no_place(lock: str) -> None:
    lines = (ROOT / lock).read_text().splitlines()
    assert len(lines) > 50
    assert [line for line in lines if not re.fullmatch(r"[a-z0-9._-]+(\[[a-z,-]+\])?==[0-9][0-9a-z.]*", line)] == []


def test_each_lock_only_adds_to_the_one_before() -> None:
    runtime, language, development = (
        set((ROOT / name).read_text().splitlines())
        for name in ("requirements.lock", "requirements-llm.lock", "requirements-dev.lock")
    )
    assert runtime <= language <= development
