"""``azure-ingress-refuses-plain-http``."""

from __future__ import annotations

import pytest

from policies.rules.azure_ingress_refuses_plain_http import azure_ingress_refuses_plain_http
from policies.testing import Case, Cases, put, resource

TYPE = "azure-native:app:ContainerApp"
INGRESS = {"allowInsecure": False, "transport": "auto", "external": True, "targetPort": 8000}

CASES = Cases(
    azure_ingress_refuses_plain_http,
    passing=[
        resource(TYPE, {"configuration": {"ingress": INGRESS}}),
        resource(TYPE, {"configuration": {"ingress": {"additionalPortMappings": [{"external": False}]}}}),
        resource(TYPE, {"configuration": {}}),
    ],
    failing=[
        put("configuration.ingress.allowInsecure", True),
        put("configuration.ingress.transport", "tcp"),
        put("configuration.ingress.additionalPortMappings", [{"external": True, "targetPort": 9000}]),
    ],
    unknown=["configuration.ingress", "configuration.ingress.allowInsecure", "configuration.ingress.transport"],
    fixed=True,
)


@pytest.mark.parametrize("case", CASES.all(), ids=str)
def test_azure_ingress_refuses_plain_http(case: Case) -> None:
    case.check()
