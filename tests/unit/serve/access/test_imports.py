"""What access needs, it needs only where the settings ask for it."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[4]
ABSENT = ("boto3", "botocore", "jwt", "cryptography", "ray", "mlflow", "starlette")


@pytest.mark.parametrize(
    "program",
    [
        "import serve.access",
        "import serve.access.settings, serve.access.stores, serve.access.authenticator, serve.access.keys_command",
        "import serve.__main__",
        "from serve.access.stores import STORES; [STORES[name]('///k') for name in STORES]",
    ],
)
def test_importing_access_and_naming_a_store_loads_neither_boto3_nor_pyjwt_nor_ray(program: str) -> None:
    program = f"{program}\nimport sys; print([m for m in {ABSENT!r} if m in sys.modules])"
    ran = subprocess.run([sys.executable, "-c", program], cwd=ROOT, capture_output=True, text=True, check=True)
    assert ran.stdout.strip() == "[]"
