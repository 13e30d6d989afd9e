"""``eks-endpoint-not-open``."""

from __future__ import annotations

from collections.abc import Iterator

from policies.reading.networks import is_internet
from policies.rule import Resource, Severity, Violation, rule


@rule(
    "eks-endpoint-not-open",
    "aws:eks/cluster:Cluster",
    group="public access",
    severity=Severity.CRITICAL,
    remedy="endpoint_public_access=False, endpoint_private_access=True; or public_access_cidrs=[your networks]",
    source="https://docs.aws.amazon.com/eks/latest/userguide/cluster-endpoint.html",
)
def eks_endpoint_not_open(cluster: Resource) -> Iterator[Violation]:
    """A cluster's API is not open to the internet."""
    # Where nothing is said, EKS opens it to everybody.
    if cluster.get("vpcConfig.endpointPublicAccess") is False:
        return
    networks = [each.get() for each in cluster.each("vpcConfig.publicAccessCidrs")]
    if not networks or any(is_internet(each) for each in networks):
        yield cluster.violation("vpcConfig.publicAccessCidrs", "no endpoint, or networks that may reach it", networks)
