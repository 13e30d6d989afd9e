"""The pages on the cloud: what they show is what comes."""

from __future__ import annotations

import re
import shlex
import subprocess
import sys
from pathlib import Path

import boto3  # type: ignore[import-untyped]
import pytest
from moto import mock_aws

from infra.naming import Naming
from infra.settings import PROJECT
from serve.__main__ import main
from serve.access.stores import open_store
from tests.documentation import ROOT, Example, examples, shape

pytestmark = pytest.mark.integration

DOCS = ROOT / "docs"
REGION = "us-east-1"


def example(page: str, beginning: str) -> Example:
    """The last command of a page that begins so."""
    return [each for each in examples(DOCS / page) if each.program.startswith(beginning)][-1]


def words(line: str) -> list[str]:
    """Of a line's shape. Kinds that are as frequent come in an order of chance."""
    return sorted(shape(line).replace(",", "").split())


def test_the_check_shows_what_the_page_shows() -> None:
    shown = example("pulumi.md", "python -m infra check")
    found = subprocess.run(
        [sys.executable, *shlex.split(shown.program)[1:]],
        cwd=ROOT,
        capture_output=True,
        text=True,
        timeout=600,
        check=False,
    )
    assert found.returncode == 0, found.stdout + found.stderr
    printed = [words(line) for line in found.stdout.splitlines()]
    assert shown.output
    for line in shown.output.splitlines():
        assert line == "…" or words(line) in printed, line


def settings_of(page: str) -> str:
    """The ``keys.yaml`` of a page."""
    blocks: list[str] = re.findall(r"^```yaml\n(.*?)^```", (DOCS / page).read_text(), re.MULTILINE | re.DOTALL)
    return next(block for block in blocks if "access" in block)


@pytest.fixture
def credentials(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("AWS_ENDPOINT_URL", raising=False)
    for name in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY"):
        monkeypatch.setenv(name, "testing")


@pytest.mark.usefixtures("credentials")
def test_a_key_is_made_in_the_empty_secret_of_a_stack(capsys: pytest.CaptureFixture[str]) -> None:
    with mock_aws():
        made = boto3.client("secretsmanager", region_name=REGION).create_secret(
            Name=Naming(PROJECT, "dev").path("api-keys")
        )
        written = settings_of("aws.md")
        arn = re.search(r"arn:aws:secretsmanager:[^?]+", written)
        assert arn is not None
        Path("keys.yaml").write_text(written.replace(arn[0], made["ARN"]))
        assert main(shlex.split(example("aws.md", "python -m serve keys").program)[3:]) == 0
        assert capsys.readouterr().out.splitlines()[-1].startswith("mtd_")
        [key] = open_store(f"secretsmanager:{made['ARN']}?region={REGION}").read().values()
    assert key.name == "laptop"


@pytest.mark.usefixtures("credentials")
def test_a_key_for_azure_is_made_in_a_file(capsys: pytest.CaptureFixture[str]) -> None:
    Path("keys.yaml").write_text(settings_of("azure.md"))
    assert main(shlex.split(example("azure.md", "python -m serve keys").program)[3:]) == 0
    assert capsys.readouterr().out.splitlines()[-1].startswith("mtd_")
    assert "laptop" in Path("keys.json").read_text()
