"""Become HAProxy, with Ray's configuration made ours, and tied to the life of the process that started it.

Ray runs this file in HAProxy's place: ``python -I -S haproxy_exec.py HAPROXY PLAN PARENT ARGUMENTS…``. It
imports nothing but the standard library, because Ray starts it anew at every change of replicas. The
plan is a JSON file written by ``serve.haproxy``.

What it changes in Ray's configuration (Ray 2.60; a test holds its template against this list):

- every ``bind`` without an address listens on loopback, where the ingress does;
- no line of log a request: they go to a syslog that is not there, and cost a tenth of HAProxy's time;
- HAProxy's own errors are the gateway's: JSON with a request id, 503 with ``Retry-After`` and never
  500, 502 or 504 where no replica answers, also before the first one is up (Ray answers 404 then);
- a request goes to a replica once it is here whole, or as much of it as HAProxy's buffer holds: HAProxy
  can repeat it then, and a client that is slow does not take a replica's room. It has
  ``request_seconds`` for that;
- requests too large to be repeated get a connection of their own to the replica: where one that served
  before breaks, HAProxy closes the client's too, without an answer, for it to try again;
- a replica that died is tried again after half a second, and not one (HAProxy waits as long as
  ``timeout connect``, at most a second, whichever replica is next);
- a replica gets no more requests at once than it takes, and what finds no room waits for
  ``queue_seconds`` at most;
- TLS, where the settings have it.
"""

import ctypes
import json
import os
import re
import signal
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

PR_SET_PDEATHSIG = 1
ANY_ADDRESS = re.compile(r"^(\s*bind )\*?:(\d+)")
USE_APP = re.compile(r"^use_backend (http-\S+) if (\S+)$")
DROPPED = ("log ", "log-format", "option httplog", "option log-health-checks", "errorfile ")
ERRORS = {
    400: ("BAD_REQUEST", "the request is not HTTP, or its headers are larger than 16 KiB"),
    408: ("DEADLINE_EXCEEDED", "the request did not come in time"),
    500: ("TEMPORARILY_UNAVAILABLE", "the ingress can't answer now"),
    502: ("TEMPORARILY_UNAVAILABLE", "the replica that had the request is gone, and it can't be repeated"),
    503: ("TEMPORARILY_UNAVAILABLE", "no replica has room for the request now"),
    504: ("TEMPORARILY_UNAVAILABLE", "the replica that has the request does not answer"),
}
"""HAProxy's own answers, by the status that it gives them."""

BEFORE_A_REQUEST = {400: "Bad Request", 408: "Request Timeout"}


LARGEST_REPEATED = 24 * 1024
"""The largest body that surely fits HAProxy's buffer (``RAY_SERVE_HAPROXY_TUNE_BUFSIZE``) beside its headers."""

APP_BACKEND = re.compile(r"^backend (http-\S+)$")
OWN_CONNECTION = "-own-connection"


def rewritten(config: str, plan: dict[str, Any], folder: Path) -> str:
    """Ray's configuration with the changes above; ``folder`` has the files of :func:`error_files`."""
    plan = {**plan, "folder": folder}
    lines: list[str] = []
    for section in _sections(config):
        found = [made for line in section for made in _rewritten_line(line, section[0].strip(), plan)]
        lines.extend(found)
        if app := APP_BACKEND.match(section[0].strip()):
            lines.extend(_with_own_connections(found, app[1]))
    return "\n".join(lines) + "\n"


def _sections(config: str) -> Iterator[list[str]]:
    """The lines of each section, its title first."""
    section: list[str] = []
    for line in config.splitlines():
        if section and line and not line[0].isspace():
            yield section
            section = []
        section.append(line)
    yield section


def _rewritten_line(line: str, section: str, plan: dict[str, Any]) -> Iterator[str]:
    words = line.strip()
    if words.startswith(DROPPED):
        return
    if plan["loopback"]:
        line = ANY_ADDRESS.sub(r"\g<1>127.0.0.1:\2", line)
    if section == "backend default_backend" and words.startswith("http-request return status 404"):
        line = "    http-request deny deny_status 503"
    elif section == "defaults" and words.startswith("timeout connect "):
        line = "    timeout connect 500ms"
    elif words.startswith("server SERVE_REPLICA") and "proto h2" not in words:
        line = f"{line.rstrip()} maxconn {plan['max_ongoing_requests']}"
    elif words.startswith("bind ") and plan["certificate"]:
        line = _with_tls(line, section, plan["certificate"])
    elif section == "frontend http_frontend" and (app := USE_APP.match(words)):
        yield f"    use_backend {app[1]}{OWN_CONNECTION} if {app[2]} too_large_to_repeat"
    yield line
    if words == "global" and plan["certificate"]:
        yield "    ssl-default-bind-options ssl-min-ver TLSv1.2"
    elif words == "defaults":
        yield from _defaults(plan)
    elif section == "frontend http_frontend" and words.startswith("bind "):
        yield from _frontend(plan)


def _defaults(plan: dict[str, Any]) -> Iterator[str]:
    yield f"    timeout http-request {_milliseconds(plan['request_seconds'])}"
    yield f"    timeout queue {_milliseconds(plan['queue_seconds'])}"
    for status in ERRORS:
        if status in BEFORE_A_REQUEST:
            yield f"    errorfile {status} {plan['folder'] / error_file(status)}"
            continue
        body = _body(status).replace('"', r"\"")
        yield f'    http-error status {status} content-type application/json lf-string "{body}" hdr retry-after 1'


def _body(status: int) -> str:
    """MLflow's shape and the Open Inference Protocol's in one: HAProxy knows no protocols."""
    code, message = ERRORS[status]
    return json.dumps({"error": message, "error_code": code, "message": message})


def error_file(status: int) -> str:
    return f"{status}.http"


def error_files() -> Iterator[tuple[str, str]]:
    """Name and content of the answers to what HAProxy can't read as a request; it takes those from files alone."""
    for status, phrase in BEFORE_A_REQUEST.items():
        body = _body(status)
        head = [f"HTTP/1.1 {status} {phrase}", "content-type: application/json", f"content-length: {len(body)}"]
        yield error_file(status), "\r\n".join([*head, "connection: close", "", body])


def _milliseconds(seconds: float) -> str:
    return f"{max(1, round(1000 * seconds))}ms"


def _frontend(plan: dict[str, Any]) -> Iterator[str]:
    yield "    option http-buffer-request"
    yield "    unique-id-format %[uuid()]"
    yield "    http-request set-header x-request-id %[unique-id] unless { req.hdr(x-request-id) -m found }"
    yield "    http-request set-var(txn.request_id) req.hdr(x-request-id)"
    yield f"    acl too_large_to_repeat req.hdr_val(content-length) gt {LARGEST_REPEATED}"
    yield "    acl too_large_to_repeat req.hdr(transfer-encoding) -m found"
    yield "    http-response del-header server"
    if plan["certificate"]:
        yield "    http-response set-header strict-transport-security max-age=31536000"
    # For HAProxy's own answers: a replica's have an id always, and Retry-After never with a 500.
    yield "    acl named res.hdr(x-request-id) -m found"
    known = "{ var(txn.request_id) -m found }"
    yield f"    http-after-response set-header x-request-id %[var(txn.request_id)] if !named {known}"
    yield "    http-after-response set-header x-request-id %[unique-id] if !named !{ var(txn.request_id) -m found }"
    yield "    http-after-response set-status 503 if { status 500 502 504 } { res.hdr(retry-after) -m found }"


def _with_own_connections(lines: list[str], name: str) -> Iterator[str]:
    """The backend once more, with a new connection for each request and the health that the first one finds."""
    yield f"backend {name}{OWN_CONNECTION}"
    for line in lines[1:]:
        words = line.split()
        if words[:1] == ["http-reuse"]:
            yield "    http-reuse never"
        elif words[:1] == ["server"]:
            rest = [word for word in words[3:] if word == "backup"]
            if "maxconn" in words:
                rest += words[words.index("maxconn") :]
            yield "    " + " ".join([*words[:3], "track", f"{name}/{words[1]}", *rest])
        elif not words or words[0] not in ("option", "http-check", "default-server"):
            yield line


def _with_tls(line: str, section: str, certificate: str) -> str:
    if section == "frontend http_frontend":
        return f"{line.rstrip()} ssl crt {certificate} alpn h2,http/1.1"
    if section == "frontend grpc_frontend":
        return f"{line.replace(' proto h2', '').rstrip()} ssl crt {certificate} alpn h2"
    return line


def main(arguments: list[str]) -> None:
    haproxy, plan, parent, *rest = arguments
    # Without this HAProxy outlives a Ray that is killed, keeps the port and answers 404 there.
    ctypes.CDLL(None).prctl(PR_SET_PDEATHSIG, signal.SIGKILL)
    # Python takes long enough to start for the parent to die meanwhile: the shell before it says who that was.
    if os.getppid() != int(parent):
        sys.exit("the process that started HAProxy is gone")
    if "-f" in rest:
        file = Path(rest[rest.index("-f") + 1])
        read = json.loads(Path(plan).read_text(encoding="utf-8"))
        for name, content in error_files():
            (file.parent / name).write_bytes(content.encode("ascii"))
        file.write_text(rewritten(file.read_text(encoding="utf-8"), read, file.parent), encoding="utf-8")
    os.execv(haproxy, [haproxy, *rest])  # noqa: S606 - no shell is wanted


if __name__ == "__main__":
    main(sys.argv[1:])
