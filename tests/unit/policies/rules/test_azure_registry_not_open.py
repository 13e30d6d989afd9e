"""``azure-registry-not-open``."""

from __future__ import annotations

import pytest

from policies.rules.azure_registry_not_open import azure_registry_not_open
from policies.testing import Case, Cases, put, resource

TYPE = "azure-native:containerregistry:Registry"

CASES = Cases(
    azure_registry_not_open,
    passing=[resource(TYPE, {"adminUserEnabled": False, "anonymousPullEnabled": False}), resource(TYPE, {})],
    failing=[put("adminUserEnabled", True), put("anonymousPullEnabled", True)],
    unknown=["adminUserEnabled", "anonymousPullEnabled"],
    fixed=True,
)


@pytest.mark.parametrize("case", CASES.all(), ids=str)
def test_azure_registry_not_open(case: Case) -> None:
    case.check()
