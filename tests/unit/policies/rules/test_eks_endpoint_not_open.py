"""``eks-endpoint-not-open``."""

from __future__ import annotations

import pytest

from policies.rules.eks_endpoint_not_open import eks_endpoint_not_open
from policies.testing import Case, Cases, drop, put, resource

TYPE = "aws:eks/cluster:Cluster"

CASES = Cases(
    eks_endpoint_not_open,
    passing=[
        resource(TYPE, {"vpcConfig": {"endpointPublicAccess": True, "publicAccessCidrs": ["192.0.2.0/24"]}}),
        resource(TYPE, {"vpcConfig": {"endpointPublicAccess": False}}),
    ],
    failing=[
        put("vpcConfig.publicAccessCidrs[0]", "0.0.0.0/0"),
        put("vpcConfig.publicAccessCidrs", ["192.0.2.0/24", "::/0"]),
        put("vpcConfig.publicAccessCidrs", []),
        drop("vpcConfig.publicAccessCidrs"),
        drop("vpcConfig"),
    ],
    unknown=["vpcConfig", "vpcConfig.endpointPublicAccess", "vpcConfig.publicAccessCidrs"],
)


@pytest.mark.parametrize("case", CASES.all(), ids=str)
def test_eks_endpoint_not_open(case: Case) -> None:
    case.check()
