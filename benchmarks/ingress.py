"""The ingress beside a bare FastAPI process with the same ONNX graph: p50 of one row, and requests a second.

Both serve the same verified graph from one process, on loopback, with one ONNX Runtime thread. wrk
sends the same Open Inference Protocol request to both, in turns, so that what else the machine does
falls on both alike; each figure is the median of the rounds.
"""

from __future__ import annotations

import json
import os
import platform
import re
import shutil
import statistics
import subprocess
import tempfile
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from benchmarks.bare import MODEL_VARIABLE
from console import UserError, say, stage
from demo.processes import Processes, require_free_port
from serve.releases.verify import VerifiedModel, fetch
from serve.settings import read_settings, settings_file
from spark_jobs.contract import CategoricalProfile, Column, NumericProfile
from training.export import OUTPUT
from training.registry import Registry

ROUNDS = 5
SECONDS = 3
WARM_UP_SECONDS = 2
CONNECTIONS = (1, 16)
BARE_PORT = 8100


@dataclass(frozen=True)
class Measured:
    """One wrk run: median latency in milliseconds, requests a second."""

    p50: float
    rate: float


def run(model: str) -> None:
    """Measure the champion of ``model`` and print the table.

    Raises:
        UserError: wrk is missing, a port is taken, or there is no such model in the registry.
    """
    if shutil.which("wrk") is None:
        raise UserError("wrk is not installed: apt-get install wrk")
    settings = read_settings(settings_file({}))
    if model not in settings.models:
        raise UserError(f"{settings_file({})} serves no {model}, but {', '.join(settings.models)}")
    require_free_port(settings.http.port, "the ingress")
    require_free_port(BARE_PORT, "the bare process")
    registry = Registry(settings.registry.uri)
    verified = fetch(registry, registry.resolve(model, settings.models[model].alias), settings.registry.cache_folder)
    with tempfile.TemporaryDirectory() as folder:
        script = Path(folder) / "request.lua"
        script.write_text(_wrk_script(verified))
        processes = Processes(Path(folder), {})
        with (
            processes.background(
                *("uvicorn", "benchmarks.bare:app", "--port", str(BARE_PORT), "--no-access-log"),
                environment={MODEL_VARIABLE: str(verified.model)},
            ) as bare,
            processes.background("serve", "run", "serve.config") as ingress,
        ):
            urls = {
                "bare FastAPI + ONNX Runtime": f"http://127.0.0.1:{BARE_PORT}",
                "this ingress (Ray Serve)": f"http://127.0.0.1:{settings.http.port}",
            }
            for url, started in zip(urls.values(), (bare, ingress), strict=True):
                started.wait_until_ready(f"{url}/v2/health/ready")
            measured = _in_turns({name: f"{url}/v2/models/{model}/infer" for name, url in urls.items()}, script)
        processes.require_none_left()
    _print(measured)


def _wrk_script(model: VerifiedModel) -> str:
    """A wrk script that posts one row of the model's own example values."""
    inputs = [
        {
            "name": column.name,
            "datatype": "BYTES" if column.is_categorical else "FP32",
            "shape": [1],
            "data": [_typical(column)],
        }
        for column in model.contract.features
    ]
    body = json.dumps({"inputs": inputs})
    return (
        'wrk.method = "POST"\n'
        'wrk.headers["Content-Type"] = "application/json"\n'
        f"wrk.body = [==[{body}]==]\n"
        # wrk counts only errors of the socket and the status; a wrong answer must not pass for a fast one.
        "response = function(status, headers, body)\n"
        f"  if status ~= 200 or not body:find('{OUTPUT}') then io.stderr:write(body) os.exit(1) end\n"
        "end\n"
    )


def _typical(column: Column) -> str | float:
    """A value that came in training: the commonest category, or the median."""
    if isinstance(column.profile, CategoricalProfile):
        return next(iter(column.profile.frequencies), "")
    if isinstance(column.profile, NumericProfile) and column.profile.quantiles:
        return column.profile.quantiles[len(column.profile.quantiles) // 2]
    return 0.0


def _in_turns(urls: Mapping[str, str], script: Path) -> dict[str, dict[int, Measured]]:
    """Median of the rounds, by name and number of connections."""
    rounds: dict[tuple[str, int], list[Measured]] = {}
    for url in urls.values():
        _wrk(url, script, max(CONNECTIONS), WARM_UP_SECONDS)
    with stage(f"{ROUNDS} rounds of {SECONDS} s, {' and '.join(map(str, CONNECTIONS))} connections, in turns"):
        for _ in range(ROUNDS):
            for connections in CONNECTIONS:
                for name, url in urls.items():
                    found = _wrk(url, script, connections, SECONDS)
                    rounds.setdefault((name, connections), []).append(found)
    return {
        name: {
            connections: Measured(
                p50=statistics.median(found.p50 for found in rounds[name, connections]),
                rate=statistics.median(found.rate for found in rounds[name, connections]),
            )
            for connections in CONNECTIONS
        }
        for name in urls
    }


def _wrk(url: str, script: Path, connections: int, seconds: int) -> Measured:
    command = ["wrk", "-t1", f"-c{connections}", f"-d{seconds}s", "--latency", "-s", str(script), url]
    found = subprocess.run(command, capture_output=True, text=True, check=False)
    latency = re.search(r"50%\s+([0-9.]+)(us|ms|s)", found.stdout)
    rate = re.search(r"Requests/sec:\s+([0-9.]+)", found.stdout)
    if found.returncode or "Non-2xx" in found.stdout or not latency or not rate:
        raise UserError(f"wrk on {url} failed: {(found.stderr or found.stdout)[:300]}")
    return Measured(float(latency[1]) * {"us": 1e-3, "ms": 1, "s": 1e3}[latency[2]], float(rate[1]))


def _print(measured: Mapping[str, Mapping[int, Measured]]) -> None:
    first = next(iter(measured.values()))
    say(f"one row, {platform.machine()}, {os.cpu_count()} cores, Python {platform.python_version()}")
    say(f"{'':<30}" + "".join(f"{f'p50 at {c}':>12}{f'requests/s at {c}':>20}" for c in CONNECTIONS))
    for name, by_connections in measured.items():
        cells = []
        for connections, found in by_connections.items():
            bar = first[connections]
            cells.append(f"{found.p50:>9.2f} ms{found.rate:>12,.0f} ({found.rate / bar.rate:.2f} ×)")
        say(f"{name:<30}" + "".join(cells))
