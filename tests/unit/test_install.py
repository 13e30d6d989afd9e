"""``scripts/install.sh`` says in one line what a fresh machine is missing."""

from __future__ import annotations

import os
import shutil
import subprocess
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
TOOLS = ("bash", "env", "dirname", "sed", "head", "grep", "cat")
PYTHON_3_11 = "#!/bin/bash\nexit 0\n"
OTHER_PYTHON = "#!/bin/bash\nexit 1\n"


def java(version: str, modules: str = "jdk.incubator.vector@17") -> str:
    return (
        "#!/bin/bash\n"
        f'if [ "$1" = -version ]; then echo \'openjdk version "{version}" 2025-04-15\' >&2; else echo "{modules}"; fi\n'
    )


@pytest.mark.parametrize(
    ("programs", "says"),
    [
        ({}, "error: Python 3.11 not found"),
        ({"python3": OTHER_PYTHON}, "error: Python 3.11 not found"),
        ({"python3.11": PYTHON_3_11}, "error: Java not found, and Spark needs 17 or newer"),
        ({"python3.11": PYTHON_3_11, "java": java("11.0.2")}, "error: Java 11 found, and Spark needs 17 or newer"),
        ({"python3": PYTHON_3_11, "java": java("1.8.0_402")}, "error: Java 1 found, and Spark needs 17 or newer"),
        (
            {"python3": PYTHON_3_11, "java": java("17.0.15", "java.base@17")},
            "error: this Java lacks the module jdk.incubator.vector",
        ),
    ],
    ids=["nothing", "another Python", "no Java", "Java 11", "Java 8", "a trimmed Java"],
)
def test_what_is_missing_is_one_line_and_exit_code_2(programs: dict[str, str], says: str, tmp_path: Path) -> None:
    for tool in TOOLS:
        (tmp_path / tool).symlink_to(shutil.which(tool) or tool)
    for name, text in programs.items():
        (tmp_path / name).write_text(text)
        (tmp_path / name).chmod(0o755)
    found = subprocess.run(
        [tmp_path / "bash", ROOT / "scripts" / "install.sh", "requirements.lock"],
        env={"PATH": str(tmp_path), "HOME": os.environ.get("HOME", "/")},
        capture_output=True,
        text=True,
        check=False,
    )
    assert found.returncode == 2, found.stderr
    assert found.stdout == ""
    assert len(found.stderr.splitlines()) == 1
    assert found.stderr.startswith(says)
