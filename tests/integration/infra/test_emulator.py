"""The emulator answers while it is wanted, and is gone afterwards, however that came."""

from __future__ import annotations

import io
import json
import os
import signal
import socket
import subprocess
import sys
import time
import zipfile
from pathlib import Path

import pytest

from infra.check.emulator import emulator
from tests.documentation import ROOT
from tests.integration.infra.clients import client

pytestmark = pytest.mark.integration

TRUST = json.dumps({"Version": "2012-10-17", "Statement": []})


def answers(url: str) -> bool:
    host, port = url.removeprefix("http://").split(":")
    with socket.socket() as probe:
        probe.settimeout(1)
        return probe.connect_ex((host, int(port))) == 0


def gone(url: str) -> bool:
    end = time.monotonic() + 60
    while answers(url) and time.monotonic() < end:
        time.sleep(0.05)
    return not answers(url)


def test_it_answers_and_is_gone_after_an_exception(tmp_path: Path) -> None:
    seen: list[str] = []

    def fail() -> None:
        with emulator(tmp_path) as server:
            seen.extend([server.url, client("sts", server).get_caller_identity()["Account"]])
            raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        fail()
    url, account = seen
    assert account == "123456789012"
    assert gone(url)


@pytest.mark.parametrize("way", [signal.SIGINT, signal.SIGKILL])
def test_it_does_not_outlive_the_process_that_started_it(tmp_path: Path, way: signal.Signals) -> None:
    program = f"""
import time
from pathlib import Path
from infra.check.emulator import emulator
with emulator(Path({str(tmp_path)!r})) as server:
    print(server.url, flush=True)
    time.sleep(60)
"""
    command = [sys.executable, "-c", program]
    with subprocess.Popen(
        command,
        cwd=ROOT,
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        text=True,
        # A shell's background job ignores Ctrl-C, and what it starts would too.
        preexec_fn=lambda: signal.signal(signal.SIGINT, signal.default_int_handler),
    ) as parent:
        assert parent.stdout is not None
        url = parent.stdout.readline().strip()
        assert answers(url)
        os.kill(parent.pid, way)
        parent.wait(120)
    assert gone(url)


def test_a_zip_function_runs_as_it_is(tmp_path: Path) -> None:
    code = io.BytesIO()
    with zipfile.ZipFile(code, "w") as archive:
        archive.writestr("app.py", "def handler(event, context):\n    return {'twice': event['value'] * 2}\n")
    with emulator(tmp_path) as server:
        role = client("iam", server).create_role(RoleName="r", AssumeRolePolicyDocument=TRUST)["Role"]["Arn"]
        client("lambda", server).create_function(
            FunctionName="f",
            Runtime="python3.11",
            Role=role,
            Handler="app.handler",
            Code={"ZipFile": code.getvalue()},
            Timeout=60,
        )
        answer = client("lambda", server).invoke(FunctionName="f", Payload=json.dumps({"value": 21}))
        assert json.loads(answer["Payload"].read()) == {"twice": 42}


def test_a_state_machine_that_cannot_be_parsed_is_refused(tmp_path: Path) -> None:
    with emulator(tmp_path) as server:
        answer = client("stepfunctions", server).validate_state_machine_definition(definition="{}")
        assert answer["result"] == "FAIL"
