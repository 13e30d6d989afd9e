"""Terraform and its AWS provider, where this machine has them."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Callable, Iterator
from dataclasses import dataclass

import pytest

from infra.check.schema import Schema
from infra.check.tool import Missing, Terraform
from tests.documentation import ROOT

PATIENCE_SECONDS = 900


@pytest.fixture(scope="session")
def terraform() -> Terraform:
    found = Terraform.found()
    if isinstance(found, Missing):
        pytest.skip(found.what)
    return found


@pytest.fixture(scope="session")
def schema(terraform: Terraform, tmp_path_factory: pytest.TempPathFactory) -> Schema:
    return terraform.schema(tmp_path_factory.mktemp("schema"))


@dataclass(frozen=True)
class Checked:
    """A finished ``python -m infra check``."""

    code: int
    output: str


@pytest.fixture(scope="session")
def dev_applied(terraform: Terraform, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Callable[[], Checked]]:
    """The whole dev stack, being made on the emulator; the function waits for the end."""
    log = tmp_path_factory.mktemp("dev") / "check.log"
    command = [sys.executable, "-m", "infra", "check", "--stack", "dev", "--apply"]
    with log.open("wb") as output:
        process = subprocess.Popen(command, cwd=ROOT, stdout=output, stderr=subprocess.STDOUT)

    def finished() -> Checked:
        return Checked(process.wait(PATIENCE_SECONDS), log.read_text())

    yield finished
    if process.poll() is None:
        process.terminate()
        process.wait(120)


@pytest.fixture(scope="session", autouse=True)
def dev_applied_from_the_first_test_on(request: pytest.FixtureRequest) -> None:
    """It waits more than it works, so it goes on beside the other tests, where one of them asks for it at all."""
    wanted = any("dev_applied" in getattr(item, "fixturenames", ()) for item in request.session.items)
    if wanted and isinstance(Terraform.found(), Terraform):
        request.getfixturevalue("dev_applied")
