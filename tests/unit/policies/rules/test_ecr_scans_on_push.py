"""``ecr-scans-on-push``."""

from __future__ import annotations

import pytest

from policies.rules.ecr_scans_on_push import ecr_scans_on_push
from policies.testing import Case, Cases, drop, put, resource

SCAN = "imageScanningConfiguration.scanOnPush"

CASES = Cases(
    ecr_scans_on_push,
    passing=[resource("aws:ecr/repository:Repository", {"imageScanningConfiguration": {"scanOnPush": True}})],
    failing=[put(SCAN, False), drop("imageScanningConfiguration")],
    unknown=[SCAN],
    fixed=True,
)


@pytest.mark.parametrize("case", CASES.all(), ids=str)
def test_ecr_scans_on_push(case: Case) -> None:
    case.check()
