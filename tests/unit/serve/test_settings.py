"""What ``serve.yaml`` may say, and what it is told when it says something else."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from serve import FAST_PATH
from serve.settings import Settings, SettingsError, SettingsText, read_settings, settings_file

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


def test_what_a_model_needs_is_known_in_bytes(tmp_path: Path) -> None:
    needs = "{memory_gib: 0.5}"
    own = "c: {placement: replica, gpus: 1, needs: {memory_gib: 4, gpu_memory_gib: 20, compute_capability: '8.9'}}"
    settings = read(tmp_path, f"models:\n  a: {{needs: {needs}}}\n  b: {{needs: {needs}}}\n  {own}\n")
    assert settings.inline_memory_bytes == 2**30
    assert settings.models["c"].needs.memory_bytes == 4 * 2**30
    assert read(tmp_path, GOOD).inline_memory_bytes == 0


@pytest.mark.parametrize(
    ("text", "parts"),
    [
        ("", ["expected a mapping", "None"]),
        ("- a\n", ["expected a mapping", "['a']"]),
        ("models: [unclosed\n", ["is not YAML", "line"]),
        ("models: !!python/object:os.system {}\n", ["is not YAML"]),
        ("{}\n", ["serves nothing"]),
        ("models: {}\n", ["serves nothing", "models or language_models"]),
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
        ("models: {parcels: {needs: {memory: 1}}}\n", ["models.parcels.needs.memory: unknown key", "memory_gib"]),
        ("models: {parcels: {needs: {memory_gib: 0}}}\n", ["models.parcels.needs.memory_gib", "greater than 0"]),
        ("models: {parcels: {needs: {gpu_memory_gib: 1}}}\n", ["models.parcels", "placement: replica, and gpus"]),
        (
            'models: {parcels: {placement: replica, gpus: 1, needs: {compute_capability: "sm_89"}}}\n',
            ["models.parcels.needs.compute_capability", "'sm_89'"],
        ),
        ("models: {parcels: {thread: 1}}\n", ["models.parcels.thread: unknown key", "threads"]),
        ("models: {parcels: {threads: 0}}\n", ["models.parcels.threads", "greater than or equal to 1", "0"]),
        ("models: {../parcels: {}}\n", ["models.../parcels", "pattern"]),
        ("models: {1: {}}\n", ["models.1", "string"]),
        (GOOD + "models: {b: {}}\n", ["'models' is given twice", "line 3"]),
        ("models: {a: {threads: 1, threads: 2}}\n", ["'threads' is given twice"]),
        (GOOD + "grpc: {port: 8000}\n", ["http.port and grpc.port", "8000"]),
        (GOOD + "models: 3\n", ["'models' is given twice"]),
        ("models: {a: {ranges: ignore}}\n", ["models.a.ranges", "'reject', 'clip' or 'pass'", "'ignore'"]),
        ("models: {a: {placement: gpu}}\n", ["models.a.placement", "'inline' or 'replica'"]),
        ("models: {a: {autoscaling: {lowest: 3, highest: 2}}}\n", ["models.a.autoscaling", "lowest is 3"]),
        ("models: {a: {limits: {concurrency: 0}}}\n", ["models.a.limits.concurrency", "0"]),
        (GOOD + "http: {tls: {certificate: a.pem}}\n", ["http.tls.key: is missing"]),
        (GOOD + "default_model: letters\n", ["default_model is 'letters'", "parcels"]),
        (GOOD + "language_models: {a: {routes: [{backend: b}]}}\n", ["language_models.a", "'b'", "backends is empty"]),
        (GOOD + "backends: {b: {kind: vlm}}\n", ["backends.b", "'onnx', 'bedrock'"]),
        (
            GOOD + "backends: {b: {kind: vllm, model: m, gpu: 1}}\n",
            ["backends.b.vllm.gpu: unknown key", "gpus", "tensor_parallel"],
        ),
        (GOOD + "usage: {ledger: null, budgets: [{dollars_per_day: 1}]}\n", ["usage", "ledger is null"]),
        (GOOD + "usage: {budgets: [{key: a}]}\n", ["usage.budgets.0", "dollars_per_day or dollars_per_month"]),
        (
            GOOD
            + "backends: {b: {kind: vllm, model: m}}\nlanguage_models: {a: {routes: [{backend: b, adapter: c}]}}\n",
            ["language_models.a", "adapter 'c'", "no adapters"],
        ),
        (
            GOOD + "backends: {b: {kind: vllm, model: m}}\nlanguage_models: {parcels: {routes: [{backend: b}]}}\n",
            ["'parcels' is in models and in language_models"],
        ),
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


def test_without_keys_the_ingress_listens_on_loopback_alone(tmp_path: Path) -> None:
    open_to_all = "access: {required: false}\n"
    assert not read(tmp_path, GOOD + open_to_all).access.required
    with pytest.raises(SettingsError, match=r"access.required is false and http.host is 0\.0\.0\.0"):
        read(tmp_path, GOOD + open_to_all + "http: {host: 0.0.0.0}\n")
    assert read(tmp_path, GOOD + "http: {host: 0.0.0.0}\n").access.required


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
    monkeypatch.delenv("SERVE_SETTINGS_YAML", raising=False)
    assert settings_file({}) == Path("serve.yaml")
    monkeypatch.setenv("SERVE_SETTINGS_YAML", GOOD)
    assert settings_file({}) == SettingsText(GOOD, "SERVE_SETTINGS_YAML")
    monkeypatch.setenv("SERVE_SETTINGS", "from-environment.yaml")
    assert settings_file({}) == Path("from-environment.yaml")
    assert settings_file({"settings": "given.yaml"}) == Path("given.yaml")


def test_an_empty_variable_is_none(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SERVE_SETTINGS", "")
    monkeypatch.setenv("SERVE_SETTINGS_YAML", "")
    assert settings_file({}) == Path("serve.yaml")


def test_a_container_has_the_text_of_its_settings_in_a_variable(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("SERVE_SETTINGS", raising=False)
    monkeypatch.setenv("SERVE_SETTINGS_YAML", "http: {port: 8080}\nmodels:\n  colis: {}\n")
    settings = read_settings(settings_file({}))
    assert settings.http.port == 8080
    assert settings.default_name == "colis"


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("models: [unclosed\n", "SERVE_SETTINGS_YAML: is not YAML"),
        ("/etc/serve.yaml", "SERVE_SETTINGS_YAML: expected a mapping of settings, got '/etc/serve.yaml'"),
        (GOOD + "http: {prot: 1}\n", "SERVE_SETTINGS_YAML: http.prot: unknown key"),
    ],
)
def test_a_mistake_in_the_text_names_the_variable_as_its_place(
    monkeypatch: pytest.MonkeyPatch, text: str, says: str
) -> None:
    monkeypatch.delenv("SERVE_SETTINGS", raising=False)
    monkeypatch.setenv("SERVE_SETTINGS_YAML", text)
    with pytest.raises(SettingsError) as caught:
        read_settings(settings_file({}))
    assert str(caught.value).startswith(says)
    assert "\n" not in str(caught.value)


def test_an_argument_of_another_name_is_refused() -> None:
    with pytest.raises(SettingsError, match="unknown argument stack"):
        settings_file({"stack": "dev"})


HEAVY = ("ray", "mlflow", "onnx", "onnxruntime", "pandas", "starlette", "torch", "pyspark", "boto3", "jwt")


@pytest.mark.parametrize("module", ["serve", "serve.settings", "serve.__main__", "serve.predict"])
def test_importing_loads_neither_ray_nor_mlflow_nor_a_runtime(module: str) -> None:
    program = f"import sys, {module}; print([m for m in {HEAVY!r} if m in sys.modules])"
    ran = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    assert ran.stdout.strip() == "[]"


def test_importing_serve_turns_on_the_fast_path_but_a_user_s_own_setting_wins() -> None:
    names = sorted(FAST_PATH)
    program = f"import os, serve; print(*(os.environ[name] for name in {names}))"
    for given, expected in (({}, "1 60 1"), ({"RAY_SERVE_ENABLE_HA_PROXY": "0"}, "0 60 1")):
        ran = subprocess.run(
            [sys.executable, "-c", program], capture_output=True, text=True, check=True, env={"PATH": "", **given}
        )
        assert ran.stdout.strip() == expected
