"""The ``terraform`` command and HashiCorp's AWS provider, as they lie on this machine.

Errors::

    UserError
    └── TerraformError    a command of Terraform's failed as a whole: what it said
"""

from __future__ import annotations

import json
import os
import platform
import shutil
import signal
import subprocess
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from console import UserError, one_line
from infra.check.finding import Finding
from infra.check.schema import Schema

PROVIDER = Path("registry.terraform.io") / "hashicorp" / "aws"
PLACES = (
    Path("~/.terraform.d/plugins"),
    Path("~/.terraform.d/plugin-cache"),
    Path("/usr/local/share/terraform/plugins"),
    Path("/usr/share/terraform/plugins"),
)
"""Where the provider may lie, each the root of what ``terraform init -plugin-dir`` takes.
https://developer.hashicorp.com/terraform/cli/config/config-file#implied-local-mirror-directories"""

ADD_ONS = Path("/opt")
"""Each folder in it may be such a root too: packages that are no part of the system have theirs there.
https://refspecs.linuxfoundation.org/FHS_3.0/fhs/ch03s13.html"""

DOCUMENT = "main.tf.json"
"""What Terraform is to make, in the folder that it works in."""

EVENTS = "terraform.log"
"""What Terraform says, in that folder."""

PATIENCE_SECONDS = 30
"""For Terraform to end in order after an interrupt."""


class TerraformError(UserError):
    """A command of Terraform's failed as a whole."""


@dataclass(frozen=True)
class Missing:
    """``what`` is not on this machine, and what needs it is not checked."""

    what: str


@dataclass(frozen=True)
class Terraform:
    binary: str
    plugins: Path
    version: str

    @classmethod
    def found(cls, plugins: Path | None = None) -> Terraform | Missing:
        """``plugins`` goes before the usual places."""
        binary = shutil.which("terraform")
        if binary is None:
            return Missing("terraform is not on the PATH")
        usual = [*(place.expanduser() for place in PLACES), *sorted(ADD_ONS.glob("*"))]
        for place in [plugins.expanduser(), *usual] if plugins else usual:
            if versions := _versions(place):
                return cls(binary, place, versions[-1])
        looked = ", ".join(map(str, [*PLACES, ADD_ONS / "*"]))
        return Missing(f"HashiCorp's AWS provider ({PROVIDER}) is in none of {looked}")

    @property
    def required(self) -> dict[str, Any]:
        """The ``terraform`` block of a document."""
        return {"required_providers": {"aws": {"source": "hashicorp/aws", "version": self.version}}}

    def init(self, folder: Path) -> None:
        """Make ``folder``, which has a :data:`DOCUMENT`, ready."""
        self._run(folder, ["init", f"-plugin-dir={self.plugins}", "-input=false", "-no-color"])

    def schema(self, folder: Path) -> Schema:
        """The provider's resources; about 5 s."""
        (folder / DOCUMENT).write_text(json.dumps({"terraform": self.required}), encoding="utf-8")
        self.init(folder)
        return Schema(json.loads(self._run(folder, ["providers", "schema", "-json"])))

    def resources(self, folder: Path) -> list[str]:
        """The addresses in the state."""
        return self._run(folder, ["state", "list"]).split()

    def events(
        self,
        folder: Path,
        arguments: Sequence[str],
        environment: Mapping[str, str],
        hear: Callable[[Mapping[str, Any]], None] = lambda _: None,
    ) -> Outcome:
        """Run a command that takes ``-json``; ``hear`` gets each of its events as it comes."""
        heard: list[Mapping[str, Any]] = []
        started = self._started(folder, [*arguments, "-json", "-input=false"], environment)
        with started as process, (folder / EVENTS).open("a", encoding="utf-8") as log:
            for line in _lines(process):
                log.write(f"{line}\n")
                try:
                    event = json.loads(line)
                except ValueError:
                    event = {"type": "text", "@message": line}
                heard.append(event)
                hear(event)
        return Outcome(process.returncode, tuple(heard))

    def _run(self, folder: Path, arguments: Sequence[str]) -> str:
        with self._started(folder, arguments, {}) as process:
            output = "\n".join(_lines(process))
        if process.returncode:
            raise TerraformError(f"terraform {arguments[0]}: {one_line(output)[-500:]}")
        return output

    def _started(self, folder: Path, arguments: Sequence[str], environment: Mapping[str, str]) -> subprocess.Popen[str]:
        # Nothing of this process's environment but the path: no credentials of a real account can reach it.
        return subprocess.Popen(
            [self.binary, *arguments],
            cwd=folder,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            start_new_session=True,
            env={
                "PATH": os.environ.get("PATH", ""),
                "HOME": str(folder),
                "TMPDIR": str(folder),
                "TF_CLI_CONFIG_FILE": os.devnull,
                "CHECKPOINT_DISABLE": "1",
                "TF_IN_AUTOMATION": "1",
                **environment,
            },
        )


@dataclass(frozen=True)
class Outcome:
    """How a command ended, and what it said."""

    code: int
    events: tuple[Mapping[str, Any], ...]

    def findings(self, rule: str, labels: Mapping[str, str]) -> tuple[Finding, ...]:
        """Its errors. ``labels``: address → the resource's label."""
        found = []
        for event in self.events:
            problem = event.get("diagnostic")
            if problem and problem["severity"] == "error":
                address = problem.get("address", "")
                path = (problem.get("snippet") or {}).get("code", "").strip().partition('"')[2].partition('"')[0]
                said = ": ".join(filter(None, [problem["summary"], problem.get("detail")]))
                found.append(Finding(labels.get(address, address), path, f"{rule} to go through", said, rule))
        if self.code and not found:
            last = [event.get("@message", "") for event in self.events][-3:]
            found.append(Finding("terraform", "", "to succeed", " ".join(last) or f"exit code {self.code}", rule))
        return tuple(found)

    def changes(self) -> Mapping[str, int]:
        """``add``, ``change``, ``remove``: how many."""
        found = [event["changes"] for event in self.events if event.get("type") == "change_summary"]
        return found[-1] if found else {"add": 0, "change": 0, "remove": 0}

    def planned(self, *actions: str) -> list[tuple[str, str]]:
        """(address, action) of the planned changes with one of these actions."""
        found = [event["change"] for event in self.events if event.get("type") == "planned_change"]
        return [(each["resource"]["addr"], each["action"]) for each in found if each["action"] in actions]


def _lines(process: subprocess.Popen[str]) -> Iterator[str]:
    """Its lines; an interrupt lets it end in order, and then ends all that it has started."""
    if process.stdout is None:
        return
    try:
        for line in process.stdout:
            yield line.rstrip("\n")
        process.wait()
    finally:
        if process.poll() is None:
            process.send_signal(signal.SIGINT)
            try:
                process.wait(PATIENCE_SECONDS)
            except subprocess.TimeoutExpired:
                os.killpg(process.pid, signal.SIGKILL)


def _versions(place: Path) -> list[str]:
    machine = {"x86_64": "amd64", "aarch64": "arm64"}.get(platform.machine(), platform.machine())
    target = f"{platform.system().lower()}_{machine}"
    found = [each.parents[1].name for each in place.glob(f"{PROVIDER}/*/{target}/terraform-provider-aws*")]
    return sorted(found, key=lambda version: [int(part) for part in version.split(".") if part.isdigit()])
