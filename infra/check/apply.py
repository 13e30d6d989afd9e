"""Plan a stack with the real AWS provider, make it in an emulator, look at it again, and take it down."""

from __future__ import annotations

import json
import signal
import tempfile
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, NoReturn

from console import Stage, stage
from infra.check.emulator import Emulator, emulator
from infra.check.finding import Finding
from infra.check.record import Recording, Resource
from infra.check.references import References
from infra.check.terraform import Translation, translate
from infra.check.tool import DOCUMENT, Terraform

NOT_APPLIED: Mapping[str, str] = {
    "aws:costexplorer/anomalyMonitor:AnomalyMonitor": "moto has no CreateAnomalyMonitor",
    "aws:costexplorer/anomalySubscription:AnomalySubscription": "moto has no CreateAnomalySubscription",
    "aws:eks/accessEntry:AccessEntry": "moto has no CreateAccessEntry",
    "aws:eks/accessPolicyAssociation:AccessPolicyAssociation": "moto has no AssociateAccessPolicy",
    "aws:eks/addon:Addon": "moto has no CreateAddon",
    "aws:eks/podIdentityAssociation:PodIdentityAssociation": "moto has no CreatePodIdentityAssociation",
}
"""Type → why the emulator can't make it. It is planned all the same."""

NOT_ECHOED: Mapping[str, str] = {
    "aws:eks/nodeGroup:NodeGroup": "moto answers with a remote access that nobody asked for",
}
"""Type → why a second plan would make it anew, and that this is the emulator's doing."""

NOT_TERRAFORM = {
    "kubernetes": "needs a cluster: the resources are recorded and read by rules",
    "azure-native": "is another provider's: the resources are recorded and read by rules",
}
"""Package → why it is neither planned nor applied."""

AT_ONCE = ("-auto-approve", "-parallelism=40")
"""Nearly all of the time is Terraform's waiting until AWS would be done."""


@dataclass
class Applied:
    """What was seen: how many resources were planned, made, and left by the destruction."""

    planned: int = 0
    made: int = 0
    left: int = 0
    findings: list[Finding] = field(default_factory=list)


@contextmanager
def work_folder(keep: Path | None) -> Iterator[Path]:
    """A folder that goes with the block, or ``keep``, which stays."""
    if keep is not None:
        keep.mkdir(parents=True, exist_ok=True)
        yield keep.resolve()
        return
    with tempfile.TemporaryDirectory(prefix="infra-check-") as folder:
        yield Path(folder)


def provider_settings(region: str) -> dict[str, Any]:
    """Of the provider, for an emulator; ``max_retries``: of its own 25 an action that moto lacks would take minutes."""
    return {
        "region": region,
        "skip_credentials_validation": True,
        "skip_metadata_api_check": True,
        "skip_region_validation": True,
        "s3_use_path_style": True,
        "max_retries": 3,
    }


def skipped(recording: Recording) -> list[str]:
    """``not applied: …`` lines, one a type with its count and the reason."""
    counts: dict[tuple[str, str], int] = {}
    for each in recording.resources:
        package = each.type.partition(":")[0]
        reason = NOT_APPLIED.get(each.type) or NOT_TERRAFORM.get(package)
        if each.custom and reason is not None:
            shown = each.type if each.type in NOT_APPLIED else package
            counts[shown, reason] = counts.get((shown, reason), 0) + 1
    return [f"not applied: {count} {shown}: {reason}" for (shown, reason), count in counts.items()]


def check_applied(
    record: Callable[[References], Recording],
    terraform: Terraform,
    region: str,
    folder: Path,
    *,
    apply: bool,
    destroy: bool = True,
) -> Applied:
    """Plan and, where ``apply`` says so, apply; stage lines tell of it.

    Args:
        record: gives the recording with the outputs that it is handed.
        destroy: a stack that protects its data can't be taken down, and goes with the emulator.
    """
    with ending_in_order():
        return _Run(terraform, region, folder).run(record, apply, destroy)


@contextmanager
def ending_in_order() -> Iterator[None]:
    """A request to end comes as an exception, so that Terraform and the emulator are ended first."""
    if threading.current_thread() is not threading.main_thread():
        yield
        return

    def end(number: int, _frame: object) -> NoReturn:
        raise SystemExit(128 + number)

    before = signal.signal(signal.SIGTERM, end)
    try:
        yield
    finally:
        signal.signal(signal.SIGTERM, before)


class _Run:
    def __init__(self, terraform: Terraform, region: str, folder: Path) -> None:
        self._terraform = terraform
        self._region = region
        self._folder = folder
        self._seen = Applied()
        self._labels: dict[str, str] = {}

    def run(self, record: Callable[[References], Recording], apply: bool, destroy: bool) -> Applied:
        with stage("read the provider's schema") as current:
            schema = self._terraform.schema(self._folder)
            current.detail = f"{len(schema.resources)} types, provider {self._terraform.version}"
        with stage("translate to Terraform") as current:
            references = References(schema, self._region)
            recording = record(references)

            def translated(without: Callable[[Resource], bool] = lambda _: False) -> Translation:
                settings = provider_settings(self._region)
                return translate(recording, schema, references, self._folder, settings, without)

            whole = translated()
            labels = {each.urn: each.label for each in recording.resources}
            self._labels = {at: labels[urn] for urn, at in whole.addresses.items()}
            self._seen.findings += whole.findings
            current.detail = f"{len(whole.addresses)} resources"
        if not whole.findings:
            with emulator(self._folder) as server:
                self._plan(whole, server)
                if apply and not self._seen.findings:
                    self._apply(translated(lambda each: each.type in NOT_APPLIED), server, destroy)
        return self._seen

    def _write(self, translation: Translation) -> None:
        document = {**translation.document, "terraform": self._terraform.required}
        (self._folder / DOCUMENT).write_text(json.dumps(document, indent=1), encoding="utf-8")

    def _environment(self, translation: Translation, server: Emulator) -> dict[str, str]:
        variables = {f"TF_VAR_{name}": value for name, value in translation.variables.items()}
        return {**server.environment(self._region), **variables}

    def _plan(self, translation: Translation, server: Emulator) -> None:
        self._write(translation)
        with stage("plan") as current:
            outcome = self._terraform.events(self._folder, ["plan"], self._environment(translation, server))
            self._seen.findings += outcome.findings("plan", self._labels)
            self._seen.planned = outcome.changes()["add"]
            current.detail = f"{self._seen.planned} resources"

    def _apply(self, translation: Translation, server: Emulator, destroy: bool) -> None:
        self._write(translation)
        environment = self._environment(translation, server)
        with stage("apply to the emulator") as current:
            progress = _Progress(current, len(translation.addresses))
            outcome = self._terraform.events(self._folder, ["apply", *AT_ONCE], environment, progress.hear)
            self._seen.findings += outcome.findings("apply", self._labels)
            self._seen.made = len(self._terraform.resources(self._folder))
            current.detail = f"{self._seen.made} of {len(translation.addresses)} resources{progress.slowest()}"
        if self._seen.findings:
            # What is there goes with the emulator, and what went wrong is what is asked for.
            return
        self._look_again(environment)
        if destroy:
            self._destroy(environment)

    def _look_again(self, environment: Mapping[str, str]) -> None:
        with stage("read it again") as current:
            outcome = self._terraform.events(self._folder, ["plan"], environment)
            self._seen.findings += outcome.findings("read", self._labels)
            changed = 0
            for at, action in outcome.planned("create", "delete", "replace", "update"):
                label = self._labels.get(at, at)
                if action == "update" or label.partition(" ")[0] in NOT_ECHOED:
                    changed += 1
                else:
                    got = f"{action} in a second plan"
                    self._seen.findings.append(Finding(label, "", "to be as it was made", got, "read"))
            current.detail = f"{self._seen.made} are there, {changed} of them not echoed whole by the emulator"

    def _destroy(self, environment: Mapping[str, str]) -> None:
        with stage("destroy") as current:
            progress = _Progress(current, self._seen.made)
            outcome = self._terraform.events(self._folder, ["destroy", *AT_ONCE], environment, progress.hear)
            self._seen.findings += outcome.findings("destroy", self._labels)
            left = self._terraform.resources(self._folder)
            self._seen.left = len(left)
            self._seen.findings += [
                Finding(self._labels.get(at, at), "", "to be gone", "still in the state", "destroy") for at in left
            ]
            current.detail = f"{self._seen.left} left{progress.slowest()}"


class _Progress:
    """Says now and then how far Terraform is."""

    EVERY_SECONDS = 20

    def __init__(self, current: Stage, whole: int) -> None:
        self._stage = current
        self._whole = whole
        self._done = 0
        self._said = time.monotonic()
        self._took: list[tuple[float, str]] = []

    def hear(self, event: Mapping[str, Any]) -> None:
        if event.get("type") != "apply_complete":
            return
        self._done += 1
        self._took.append((event["hook"].get("elapsed_seconds", 0), event["hook"]["resource"]["addr"]))
        if time.monotonic() - self._said > self.EVERY_SECONDS:
            self._said = time.monotonic()
            self._stage.note(f"{self._done} of {self._whole}")

    def slowest(self) -> str:
        if not self._took:
            return ""
        seconds, address = max(self._took)
        return f", the slowest {address} ({seconds:.0f} s)"
