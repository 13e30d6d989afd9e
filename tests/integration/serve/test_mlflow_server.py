"""A version that lives behind a real ``mlflow server``, served by ``python -m serve run``."""

from __future__ import annotations

import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import httpx
import numpy as np
import pytest

from benchmarks.ports import free_port
from tests.integration.serve import processes
from tests.integration.serve.conftest import OUR_COMMAND, READY_SECONDS, Start, patient, register, write_settings
from tests.unit.serve import tiny

pytestmark = pytest.mark.integration


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    folder = tmp_path_factory.mktemp("server")
    port = free_port()
    command = [sys.executable, "-m", "mlflow", "server", "--host", "127.0.0.1", "--port", str(port), "--workers", "1"]
    command += ["--backend-store-uri", f"sqlite:///{folder / 'mlflow.db'}"]
    command += ["--artifacts-destination", str(folder / "artifacts")]
    output = folder / "log"
    with output.open("wb") as log:
        process = subprocess.Popen(command, cwd=folder, stdout=log, stderr=log, start_new_session=True)
    url = f"http://127.0.0.1:{port}"
    started = time.monotonic()
    try:
        while not _answers(url):
            if process.poll() is not None or time.monotonic() - started > READY_SECONDS:
                pytest.fail(f"mlflow server does not answer:\n{output.read_text()}")
            time.sleep(0.3)
        yield url
    finally:
        process.terminate()
        process.wait(120)


def _answers(url: str) -> bool:
    try:
        return httpx.get(f"{url}/health", timeout=2).status_code == 200
    except httpx.HTTPError:
        return False


def test_it_is_served_and_sigterm_stops_it(server: str, start: Start, tmp_path: Path) -> None:
    version = register(server)
    served = start(write_settings(tmp_path, server), OUR_COMMAND)
    served.wait_until_ready()
    response = patient.post(f"{served.url}/v2/models/{tiny.NAME}/infer", json=tiny.infer_body())
    assert response.json()["model_version"] == version.version
    np.testing.assert_allclose(response.json()["outputs"][0]["data"], tiny.expected(), rtol=1e-6)
    took = served.stop(signal.SIGTERM)
    assert served.process.returncode == 0
    assert took < 30
    assert "Traceback" not in served.log.read_text()


def test_a_serve_that_is_killed_leaves_no_haproxy_on_its_port(server: str, start: Start, tmp_path: Path) -> None:
    register(server, bias=0.5)
    served = start(write_settings(tmp_path, server), OUR_COMMAND)
    served.wait_until_ready()
    haproxy = processes.haproxy_config(served.process.pid)
    served.stop(signal.SIGKILL)
    assert processes.left_with(haproxy) == []
