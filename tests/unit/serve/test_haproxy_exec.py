"""HAProxy listens on loopback where its template has no address, and dies with its parent."""

from __future__ import annotations

import importlib.util
import os
import runpy
import signal
import subprocess
import sys
import time
from pathlib import Path

from serve import haproxy_exec

SCRIPT = Path(haproxy_exec.__file__)


def test_every_address_that_the_template_leaves_open_becomes_loopback() -> None:
    config = "frontend a\n  bind :9101\nfrontend b\n  bind 127.0.0.1:8000\nlisten stats\n  bind *:8404\n"
    assert haproxy_exec.on_loopback(config) == (
        "frontend a\n  bind 127.0.0.1:9101\nfrontend b\n  bind 127.0.0.1:8000\nlisten stats\n  bind 127.0.0.1:8404\n"
    )


def test_ray_s_own_template_has_no_other_kind_of_open_address() -> None:
    ray = importlib.util.find_spec("ray")
    assert ray is not None
    assert ray.origin is not None
    templates = runpy.run_path(str(Path(ray.origin).parent / "serve" / "_private" / "haproxy_templates.py"))
    lines = str(templates["HAPROXY_CONFIG_TEMPLATE"]).splitlines()
    binds = [line.strip() for line in lines if line.strip().startswith("bind ")]
    assert len(binds) >= 3
    known = ("bind :{{", "bind *:{{", "bind {{ config.frontend_host }}", "bind {{ config.grpc_frontend_host }}")
    assert all(line.startswith(known) for line in binds)


def test_it_rewrites_the_configuration_it_is_given_and_becomes_the_program(tmp_path: Path) -> None:
    config = tmp_path / "haproxy.cfg"
    for loopback, expected in (("any", "bind :9101\n"), ("loopback", "bind 127.0.0.1:9101\n")):
        config.write_text("bind :9101\n")
        command = [sys.executable, "-I", "-S", str(SCRIPT), "/bin/echo", loopback, "-db", "-f", str(config)]
        ran = subprocess.run(command, capture_output=True, text=True, check=True)
        assert ran.stdout == f"-db -f {config}\n"
        assert config.read_text() == expected


def test_it_ends_when_the_process_that_started_it_is_killed(tmp_path: Path) -> None:
    program = (
        "import subprocess, sys, time\n"
        f"child = subprocess.Popen([sys.executable, '-I', '-S', {str(SCRIPT)!r}, '/bin/sleep', 'any', '60'])\n"
        "print(child.pid, flush=True)\ntime.sleep(60)\n"
    )
    parent = subprocess.Popen([sys.executable, "-c", program], stdout=subprocess.PIPE, text=True)
    assert parent.stdout is not None
    child = int(parent.stdout.readline())
    command = Path(f"/proc/{child}/comm")
    started = time.monotonic()
    while command.read_text().strip() != "sleep" and time.monotonic() - started < 10:
        time.sleep(0.02)
    parent.send_signal(signal.SIGKILL)
    parent.wait()
    while time.monotonic() - started < 10:
        state = Path(f"/proc/{child}/stat")
        if not state.exists() or state.read_text().rpartition(")")[2].split()[0] == "Z":
            return
        time.sleep(0.02)
    os.kill(child, signal.SIGKILL)
    raise AssertionError("it outlived its parent")
