"""This ingress as a contestant: a settings file of its own, a key where keys are asked for, and the start."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import yaml

from benchmarks.in_process import INTRA_OP_THREADS
from benchmarks.peers import Launch, Site
from benchmarks.ports import free_port
from console import UserError
from serve.settings import FILE_VARIABLE, read_settings, settings_file

LIMITS: Mapping[str, object] = {
    "requests_per_second": 1_000_000,
    "rows_per_second": 1_000_000_000,
    "concurrency": 100_000,
}
"""Counted and checked at every request, and never reached."""

KEY_NAME = "benchmark"


class KeyRefused(UserError):
    """``python -m serve keys create`` failed."""


def benchmark_settings(
    base: Mapping[str, Any], model: str, folder: Path, *, placement: str, http_port: int, dashboard_port: int
) -> dict[str, Any]:
    """The settings that are measured: those of ``base`` for ``model`` alone, on these ports of 127.0.0.1.

    One replica with one thread, as every contestant. Keys, limits, metrics and the access log are on;
    keys and log are kept in ``folder``, which is absolute, and not among the user's own.
    """
    return {
        **base,
        "http": {**(base.get("http") or {}), "host": "127.0.0.1", "port": http_port, "tls": None},
        "grpc": {"port": None},
        "dashboard": {"host": "127.0.0.1", "port": dashboard_port},
        "access": {"keys": f"sqlite:///{folder / 'keys.db'}"},
        "limits": dict(LIMITS),
        "access_log": {"folder": str(folder / "logs")},
        "ingress": {**(base.get("ingress") or {}), "replicas": 1, "autoscaling": None},
        "models": {
            model: {
                **(base["models"][model] or {}),
                "placement": placement,
                "threads": INTRA_OP_THREADS,
                "replicas": 1,
                "autoscaling": None,
                "limits": dict(LIMITS),
            }
        },
        "default_model": None,
    }


def launch(site: Site, placement: str) -> Launch:
    """Write the settings file and make a key; the model comes from the registry, not from ``site.model``.

    Raises:
        SettingsError: the settings can't be measured so (there is no such placement, say).
        KeyRefused: no key could be made.
    """
    port = free_port()
    base = yaml.safe_load(settings_file({}).read_text(encoding="utf-8"))
    file = site.folder / "serve.yaml"
    settings = benchmark_settings(
        base, site.name, site.folder.resolve(), placement=placement, http_port=port, dashboard_port=free_port()
    )
    file.write_text(yaml.safe_dump(settings, sort_keys=False), encoding="utf-8")
    read_settings(file)
    url = f"http://127.0.0.1:{port}/v2"
    return Launch(
        ("serve", "run", "serve.config"),
        f"{url}/health/ready",
        f"{url}/models/{site.name}/infer",
        {FILE_VARIABLE: str(file)},
        {"Authorization": f"Bearer {_key(file)}"},
    )


def _key(settings: Path) -> str:
    """A new key; its text is the last line of what the command prints."""
    command = [sys.executable, "-m", "serve", "keys", "create", KEY_NAME, "--settings", str(settings)]
    found = subprocess.run(command, capture_output=True, text=True, check=False)
    if found.returncode or not found.stdout.strip():
        raise KeyRefused(f"`python -m serve keys create` failed: {(found.stderr or found.stdout)[-300:]}")
    return found.stdout.splitlines()[-1].strip()
