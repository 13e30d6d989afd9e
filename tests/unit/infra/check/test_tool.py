"""Terraform where it lies, and what it says in our words."""

from __future__ import annotations

import platform
from pathlib import Path

import pytest

from infra.check.tool import PROVIDER, Missing, Outcome, Terraform

MACHINE = {"x86_64": "amd64", "aarch64": "arm64"}.get(platform.machine(), platform.machine())
TARGET = f"{platform.system().lower()}_{MACHINE}"


@pytest.fixture
def machine(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """One with a ``terraform`` on its path and no provider in a usual place."""
    binary = tmp_path / "terraform"
    binary.write_text("#!/bin/sh\n")
    binary.chmod(0o755)
    monkeypatch.setenv("PATH", str(tmp_path))
    monkeypatch.setattr("infra.check.tool.PLACES", (tmp_path / "usual",))
    monkeypatch.setattr("infra.check.tool.ADD_ONS", tmp_path / "add-ons")
    return tmp_path


def provider(place: Path, version: str) -> None:
    folder = place / PROVIDER / version / TARGET
    folder.mkdir(parents=True)
    (folder / f"terraform-provider-aws_v{version}_x5").touch()


def test_the_newest_provider_of_a_usual_place_is_taken(machine: Path) -> None:
    for version in ("5.9.0", "5.100.0"):
        provider(machine / "usual", version)
    found = Terraform.found()
    assert isinstance(found, Terraform)
    assert (found.plugins, found.version) == (machine / "usual", "5.100.0")


def test_a_folder_that_is_named_goes_before_the_usual_ones(machine: Path) -> None:
    provider(machine / "usual", "5.100.0")
    provider(machine / "mine", "5.9.0")
    found = Terraform.found(machine / "mine")
    assert isinstance(found, Terraform)
    assert found.version == "5.9.0"


def test_a_folder_of_add_ons_is_a_usual_place(machine: Path) -> None:
    provider(machine / "add-ons" / "some-plugins", "5.100.0")
    found = Terraform.found()
    assert isinstance(found, Terraform)
    assert found.plugins == machine / "add-ons" / "some-plugins"


def test_a_machine_without_the_provider_says_where_it_was_looked_for(machine: Path) -> None:
    found = Terraform.found()
    assert isinstance(found, Missing)
    assert str(machine / "usual") in found.what


def test_an_error_of_terraforms_names_the_resource_and_the_argument() -> None:
    problem = {
        "severity": "error",
        "summary": "expected at most 32",
        "detail": "",
        "address": "aws_lb.it",
        "snippet": {"code": '        "name": "a-name-that-is-too-long",'},
    }
    (found,) = Outcome(1, ({"type": "diagnostic", "diagnostic": problem},)).findings("plan", {"aws_lb.it": "aws:lb it"})
    assert str(found) == "aws:lb it: name: expected plan to go through, got expected at most 32 [plan]"


def test_a_command_that_fails_without_a_word_is_a_finding_too() -> None:
    assert [each.got for each in Outcome(1, ()).findings("apply", {})] == ["exit code 1"]
