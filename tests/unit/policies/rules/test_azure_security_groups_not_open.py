"""``azure-security-groups-not-open``."""

from __future__ import annotations

import pytest

from policies.rules.azure_security_groups_not_open import azure_security_groups_not_open
from policies.testing import Case, Cases, drop, put, resource

GROUP = "azure-native:network:NetworkSecurityGroup"
RULE = "azure-native:network:SecurityRule"
HTTPS = {
    "direction": "Inbound",
    "access": "Allow",
    "protocol": "Tcp",
    "sourceAddressPrefix": "Internet",
    "destinationPortRanges": ["443", "31443"],
}
SSH = {**HTTPS, "sourceAddressPrefix": "VirtualNetwork", "destinationPortRanges": ["22"]}

CASES = [
    Cases(
        azure_security_groups_not_open,
        passing=[
            resource(GROUP, {"securityRules": [HTTPS, SSH]}),
            resource(GROUP, {"securityRules": [{**SSH, "sourceAddressPrefix": "*", "access": "Deny"}]}),
            resource(GROUP, {"securityRules": [{**SSH, "sourceAddressPrefix": "*", "direction": "Outbound"}]}),
            resource(GROUP, {"securityRules": []}),
        ],
        failing=[
            put("securityRules[0].destinationPortRanges[0]", "22"),
            put("securityRules[0].destinationPortRanges[0]", "*"),
            put("securityRules[0].destinationPortRange", "443-445"),
            drop("securityRules[0].destinationPortRanges"),
            put("securityRules[1].sourceAddressPrefix", "*"),
            put("securityRules[1].sourceAddressPrefix", "0.0.0.0/0"),
            put("securityRules[1].sourceAddressPrefixes", ["10.0.0.0/8", "Internet"]),
        ],
        unknown=[
            "securityRules",
            "securityRules[0].access",
            "securityRules[0].destinationPortRanges",
            "securityRules[1].sourceAddressPrefix",
        ],
    ),
    Cases(
        azure_security_groups_not_open,
        config={"ports": [80, 81]},
        passing=[resource(RULE, {**HTTPS, "destinationPortRanges": ["80-81"]})],
        failing=[put("destinationPortRanges[0]", "443"), put("destinationPortRanges[0]", "80-82")],
        unknown=["sourceAddressPrefix"],
    ),
]


@pytest.mark.parametrize("case", [case for cases in CASES for case in cases.all()], ids=str)
def test_azure_security_groups_not_open(case: Case) -> None:
    case.check()
