"""``docs/serving.md``: its commands are run, in a shell, on the model that the page speaks of."""

from __future__ import annotations

import json
import subprocess
import sys
import time
from pathlib import Path

import pytest

from tests.documentation import ROOT, Example, examples, shape
from tests.integration.serve.conftest import RAY_COMMAND, Served, Start, Store, environment, patient, write_settings
from tests.unit.serve import tiny

pytestmark = pytest.mark.integration

STARTING = ("serve run serve.config", "python -m serve run")
"""Started by the fixture here, and the second by test_running.py: they do not end by themselves."""

EXAMPLES = [example for example in examples(ROOT / "docs" / "serving.md") if example.program not in STARTING]


@pytest.fixture(scope="module")
def served(store: Store, start: Start, tmp_path_factory: pytest.TempPathFactory) -> Served:
    folder = tmp_path_factory.mktemp("documented")
    keys = {"keys": f"sqlite:///{folder / 'keys.db'}"}
    running = start(write_settings(folder, store.uri, access=keys), RAY_COMMAND)
    running.wait_until_ready()
    (folder / "rows.json").write_text(json.dumps(DOCUMENTED_ROWS))
    return running


DOCUMENTED_ROWS = [
    {"zone": "south", "depot": "north", "weight": 1.5, "hour": 7},
    {"zone": "north", "depot": None, "weight": 20, "hour": None},
]


@pytest.fixture(scope="module")
def key(served: Served) -> str:
    """A key as the page makes it, which the server takes within two seconds."""
    command = [sys.executable, "-m", "serve", "keys", "create", "laptop"]
    made = subprocess.run(
        command, cwd=ROOT, env=environment(served.settings), capture_output=True, text=True, check=True
    )
    found = made.stdout.splitlines()[-1]
    until = time.monotonic() + 60
    headers = {"authorization": f"Bearer {found}"}
    while patient.get(f"{served.url}/v2", headers=headers).status_code == 401 and time.monotonic() < until:
        time.sleep(0.1)
    return found


def test_the_page_has_commands_of_every_kind() -> None:
    programs = " ".join(example.program for example in EXAMPLES)
    for needed in ("serve check", "/infer", "/invocations", "serve predict"):
        assert needed in programs


@pytest.mark.parametrize("example", EXAMPLES, ids=lambda example: example.program.splitlines()[0][:60])
def test_a_command_of_the_page_prints_what_the_page_shows(example: Example, served: Served, key: str) -> None:
    folder = served.settings.parent
    command = example.program.replace("localhost:8000", f"127.0.0.1:{served.port}")
    if "serve predict" in command:
        command += f" --url {served.url}"
    found = subprocess.run(
        ["bash", "-c", command],
        cwd=folder,
        env=environment(served.settings)
        | {"PATH": f"{Path(sys.executable).parent}:/usr/local/bin:/usr/bin:/bin", "SERVE_KEY": key},
        capture_output=True,
        text=True,
        timeout=400,
        check=False,
    )
    assert found.returncode == 0, found.stderr
    assert found.stdout.strip()
    if example.output.startswith("{"):
        assert json.loads(found.stdout) == json.loads(example.output)
    elif example.output:
        assert [shape(line) for line in found.stdout.splitlines()] == [
            shape(line) for line in example.output.splitlines()
        ]


def test_the_refusal_that_the_page_shows_is_the_one_that_comes(served: Served, key: str) -> None:
    body = tiny.infer_body()
    page = (ROOT / "docs" / "serving.md").read_text()
    weight = next(given for given in body["inputs"] if given["name"] == "weight")
    weight["data"] = [1.5, None, *weight["data"][2:]]
    refused = patient.post(
        f"{served.url}/v2/models/{tiny.NAME}/infer", json=body, headers={"authorization": f"Bearer {key}"}
    )
    assert refused.status_code == 400
    assert refused.text in page
