"""What ``serve.yaml`` may say, and what it is told when it says something else."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from serve.settings import Settings, SettingsError, read_settings, settings_file

GOOD = "models:\n  parcels: {}\n"


def read(tmp_path: Path, text: str) -> Settings:
    file = tmp_path / "serve.yaml"
    file.write_text(text, encoding="utf-8")
    return read_settings(file)


def test_a_model_alone_is_enough_and_the_ingress_listens_on_loopback(tmp_path: Path) -> None:
    settings = read(tmp_path, GOOD)
    assert settings.http.host == settings.dashboard.host == "127.0.0.1"
    assert settings.models["parcels"].runtime == "onnx"
    assert settings.default_name == "parcels"


def test_the_repository_s_own_settings_are_valid() -> None:
    settings = read_settings(Path(__file__).parents[3] / "serve.yaml")
    assert settings.http.host == "127.0.0.1"
    assert settings.default_name is not None


def test_of_several_models_none_is_the_default_unless_one_is_named(tmp_path: Path) -> None:
    several = "models:\n  a: {}\n  b: {}\n"
    assert read(tmp_path, several).default_name is None
    assert read(tmp_path, several + "default_model: b\n").default_name == "b"


@pytest.mark.parametrize(
    ("text", "parts"),
    [
        ("", ["expected a mapping", "None"]),
        ("- a\n", ["expected a mapping", "['a']"]),
        ("models: [unclosed\n", ["is not YAML", "line"]),
        ("models: !!python/object:os.system {}\n", ["is not YAML"]),
        ("{}\n", ["models: is missing"]),
        ("models: {}\n", ["models", "at least 1"]),
        (GOOD + "modles: {}\n", ["modles: unknown key", "models", "http"]),
        (GOOD + "http: {prot: 1}\n", ["http.prot: unknown key", "port"]),
        (GOOD + "http: {port: eighty}\n", ["http.port", "valid integer", "'eighty'"]),
        (GOOD + 'http: {port: "80"}\n', ["http.port", "valid integer", "'80'"]),
        (GOOD + "http: {port: 70000}\n", ["http.port", "65535", "70000"]),
        (GOOD + "http: {port: true}\n", ["http.port", "True"]),
        (GOOD + "http: {request_timeout_seconds: .inf}\n", ["http.request_timeout_seconds", "finite"]),
        (GOOD + "http: 3\n", ["http", "3"]),
        (GOOD + "http: {port: 8265}\n", ["http.port and dashboard.port", "8265"]),
        ("models: {parcels: {runtime: tensorflow}}\n", ["models.parcels.runtime", "onnx", "'tensorflow'"]),
        ("models: {parcels: {thread: 1}}\n", ["models.parcels.thread: unknown key", "threads"]),
        ("models: {parcels: {threads: 0}}\n", ["models.parcels.threads", "greater than or equal to 1", "0"]),
        ("models: {../parcels: {}}\n", ["models.../parcels", "pattern"]),
        ("models: {1: {}}\n", ["models.1", "string"]),
        (GOOD + "models: {b: {}}\n", ["'models' is given twice", "line 3"]),
        ("models: {a: {threads: 1, threads: 2}}\n", ["'threads' is given twice"]),
        (GOOD + "default_model: letters\n", ["default_model is 'letters'", "parcels"]),
        (GOOD + "? [a]\n: b\n", []),
    ],
)
def test_a_mistake_is_one_line_with_the_file_the_place_and_what_was_expected(
    tmp_path: Path, text: str, parts: list[str]
) -> None:
    with pytest.raises(SettingsError) as caught:
        read(tmp_path, text)
    message = str(caught.value)
    assert message.startswith(f"{tmp_path / 'serve.yaml'}: ")
    assert "\n" not in message
    for part in parts:
        assert part in message


def test_a_missing_file_says_how_to_name_one(tmp_path: Path) -> None:
    with pytest.raises(SettingsError, match=r"nowhere\.yaml: cannot be read .*settings=PATH or SERVE_SETTINGS"):
        read_settings(tmp_path / "nowhere.yaml")


def test_a_file_that_is_not_text_is_refused(tmp_path: Path) -> None:
    file = tmp_path / "serve.yaml"
    file.write_bytes(b"\xff\xfe\x00")
    with pytest.raises(SettingsError, match="cannot be read"):
        read_settings(file)


def test_the_argument_comes_before_the_environment_and_that_before_the_working_directory(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.delenv("SERVE_SETTINGS", raising=False)
    assert settings_file({}) == Path("serve.yaml")
    monkeypatch.setenv("SERVE_SETTINGS", "from-environment.yaml")
    assert settings_file({}) == Path("from-environment.yaml")
    assert settings_file({"settings": "given.yaml"}) == Path("given.yaml")


def test_an_argument_of_another_name_is_refused() -> None:
    with pytest.raises(SettingsError, match="unknown argument stack"):
        settings_file({"stack": "dev"})


HEAVY = ("ray", "mlflow", "onnx", "onnxruntime", "pandas", "starlette", "torch", "pyspark")


@pytest.mark.parametrize("module", ["serve", "serve.settings", "serve.__main__", "serve.predict"])
def test_importing_loads_neither_ray_nor_mlflow_nor_a_runtime(module: str) -> None:
    program = f"import sys, {module}; print([m for m in {HEAVY!r} if m in sys.modules])"
    ran = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    assert ran.stdout.strip() == "[]"


def test_importing_serve_turns_on_the_fast_path_but_a_user_s_own_setting_wins() -> None:
    program = (
        "import os, serve; print(os.environ['RAY_SERVE_ENABLE_HA_PROXY'], os.environ['RAY_SERVE_THROUGHPUT_OPTIMIZED'])"
    )
    for given, expected in (({}, "1 1"), ({"RAY_SERVE_ENABLE_HA_PROXY": "0"}, "0 1")):
        ran = subprocess.run(
            [sys.executable, "-c", program], capture_output=True, text=True, check=True, env={"PATH": "", **given}
        )
        assert ran.stdout.strip() == expected
