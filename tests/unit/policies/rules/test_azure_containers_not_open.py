"""``azure-containers-not-open``."""

from __future__ import annotations

import pytest

from policies.rules.azure_containers_not_open import azure_containers_not_open
from policies.testing import Case, Cases, drop, put, resource

TYPE = "azure-native:containerinstance:ContainerGroup"

CASES = Cases(
    azure_containers_not_open,
    passing=[
        resource(TYPE, {"subnetIds": [{"id": "network/subnets/jobs"}], "ipAddress": {"type": "Private"}}),
        resource(TYPE, {"subnetIds": [{"id": "network/subnets/jobs"}]}),
    ],
    failing=[
        put("ipAddress.type", "Public"),
        drop("ipAddress.type"),
        put("subnetIds", []),
        drop("subnetIds"),
    ],
    unknown=["subnetIds", "ipAddress", "ipAddress.type"],
)


@pytest.mark.parametrize("case", CASES.all(), ids=str)
def test_azure_containers_not_open(case: Case) -> None:
    case.check()
