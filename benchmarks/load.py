"""wrk, and what it measured. A wrong answer, a refusal or a broken connection must not pass for a fast one."""

from __future__ import annotations

import re
import shutil
import subprocess
from dataclasses import dataclass
from pathlib import Path

from benchmarks.requests import Array, Body
from console import UserError

MILLISECONDS = {"us": 1e-3, "ms": 1.0, "s": 1e3}
PATIENCE_SECONDS = 10
TOLERANCE = 1e-5
"""How far a probability may be from that of ONNX Runtime in process."""

SCRIPT = """\
wrk.method = "POST"
{headers}
local file = io.open("{body}", "rb")
wrk.body = file:read("*a")
file:close()
local ffi = require("ffi")
local last = ffi.new("float[1]")
local function probability(body)
  if {binary} then
    ffi.copy(last, body:sub(-4), 4)
    return last[0]
  end
  return tonumber(body:match('"data":%s*%[%s*([%d.eE+-]+)'))
end
response = function(status, headers, body)
  local found = status == 200 and probability(body)
  if not found or math.abs(found - {expected}) > {tolerance} then
    local shown = body:sub(1, 200):gsub("[^\\32-\\126]", ".")
    io.stderr:write("status ", status, ", probability ", tostring(found), ", expected {expected}: ", shown)
    os.exit(1)
  end
end
"""
"""wrk itself counts errors of the socket and the status alone. Of a JSON answer the first probability is
compared, of a binary one the last: a script that parsed all of it would be what is measured."""


class LoadFailed(UserError):
    """wrk is missing, or an answer was wrong, refused or broken off."""


@dataclass(frozen=True)
class Load:
    """What one round measured: latency in milliseconds (median and 99th percentile), requests a second."""

    p50: float
    p99: float
    rate: float


@dataclass(frozen=True)
class Target:
    """A server under load: every request posts the file ``body`` as ``script`` says."""

    url: str
    script: Path

    def measure(self, clients: int, seconds: int) -> Load:
        """Send the request over ``clients`` connections, each the next when it has its answer.

        Raises:
            LoadFailed: an answer was wrong, refused or broken off.
        """
        command = ["wrk", "-t1", f"-c{clients}", f"-d{seconds}s", "--timeout", f"{PATIENCE_SECONDS}s"]
        command += ["--latency", "-s", str(self.script), self.url]
        found = subprocess.run(command, capture_output=True, text=True, errors="replace", check=False)
        if found.returncode:
            raise LoadFailed(f"wrk on {self.url} failed: {(found.stderr or found.stdout)[:300]}")
        return parse(found.stdout, self.url)


def require_wrk() -> None:
    """Raises: LoadFailed: wrk is not on the PATH."""
    if shutil.which("wrk") is None:
        raise LoadFailed("wrk is not installed: apt-get install wrk")


def target(url: str, body: Body, expected: Array, folder: Path) -> Target:
    """Write the body and the script for ``url`` into ``folder``; ``expected`` are the probabilities [N] of its rows."""
    binary = body.is_binary
    file = folder / "body"
    file.write_bytes(body.content)
    script = folder / "request.lua"
    script.write_text(
        SCRIPT.format(
            headers="\n".join(f'wrk.headers["{key}"] = "{value}"' for key, value in body.headers.items()),
            body=file,
            binary=str(binary).lower(),
            expected=repr(float(expected[-1 if binary else 0])),
            tolerance=TOLERANCE,
        )
    )
    return Target(url, script)


def parse(text: str, url: str) -> Load:
    """Read what wrk printed with ``--latency``.

    Raises:
        LoadFailed: some answers were no 2xx, some sockets broke or timed out, or nothing was answered.
    """
    for sign in ("Non-2xx", "Socket errors"):
        if found := re.search(rf"^.*{sign}.*$", text, re.MULTILINE):
            raise LoadFailed(f"wrk on {url}: {found[0].strip()}")
    percentiles = {
        int(percent): float(value) * MILLISECONDS[unit]
        for percent, value, unit in re.findall(r"^\s+(\d+)%\s+([0-9.]+)(us|ms|s)\s*$", text, re.MULTILINE)
    }
    rate = re.search(r"^Requests/sec:\s+([0-9.]+)", text, re.MULTILINE)
    if not {50, 99} <= percentiles.keys() or not rate or not float(rate[1]):
        raise LoadFailed(f"wrk on {url} measured nothing: {text[:300]}")
    return Load(p50=percentiles[50], p99=percentiles[99], rate=float(rate[1]))
