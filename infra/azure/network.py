"""A network for the apps and the jobs, so that the vault can refuse everybody else."""

from __future__ import annotations

from dataclasses import dataclass
from ipaddress import IPv4Network

import pulumi
import pulumi_azure_native as azure

from infra.azure.place import Place

APPS_PREFIX = 27
"""The smallest subnet that an environment with workload profiles takes.
https://learn.microsoft.com/azure/container-apps/custom-virtual-networks"""

JOBS_PREFIX = 28
VAULT = "Microsoft.KeyVault"
HTTPS_PORTS = ("443", "31443")
"""The ingress's own, and that of its proxies in the subnet.
https://learn.microsoft.com/azure/container-apps/firewall-integration"""


@dataclass(frozen=True)
class NetworkArgs:
    """``cidr``: at least a /26; nothing else is connected to it, so it may overlap with any other."""

    place: Place
    group: pulumi.Input[str]
    cidr: str = "10.30.0.0/24"


class Network(pulumi.ComponentResource):
    """Two subnets that reach the vault by a service endpoint, which costs nothing."""

    apps_subnet_id: pulumi.Output[str]
    jobs_subnet_id: pulumi.Output[str]

    def __init__(self, name: str, args: NetworkArgs, opts: pulumi.ResourceOptions | None = None) -> None:
        super().__init__("ml:azure:Network", name, None, opts)
        self._args = args
        halves = list(IPv4Network(args.cidr).subnets(1))
        apps = next(halves[0].subnets(new_prefix=APPS_PREFIX))
        jobs = next(halves[1].subnets(new_prefix=JOBS_PREFIX))
        network = azure.network.VirtualNetwork(
            name,
            virtual_network_name=args.place.name("network"),
            resource_group_name=args.group,
            location=args.place.location,
            address_space=azure.network.AddressSpaceArgs(address_prefixes=[args.cidr]),
            subnets=[
                self._subnet("apps", apps, "Microsoft.App/environments", [_from_the_internet(apps)]),
                # What Azure's own rules let in is from the network alone.
                self._subnet("jobs", jobs, "Microsoft.ContainerInstance/containerGroups", []),
            ],
            opts=args.place.options(self),
        )
        self.apps_subnet_id = pulumi.Output.concat(network.id, "/subnets/apps")
        self.jobs_subnet_id = pulumi.Output.concat(network.id, "/subnets/jobs")
        self.register_outputs({"apps_subnet_id": self.apps_subnet_id, "jobs_subnet_id": self.jobs_subnet_id})

    def _subnet(
        self, part: str, block: IPv4Network, service: str, rules: list[azure.network.SecurityRuleArgs]
    ) -> azure.network.SubnetArgs:
        group = azure.network.NetworkSecurityGroup(
            part,
            network_security_group_name=self._args.place.name("security_group", part),
            resource_group_name=self._args.group,
            location=self._args.place.location,
            security_rules=rules,
            opts=self._args.place.options(self),
        )
        return azure.network.SubnetArgs(
            name=part,
            address_prefix=str(block),
            network_security_group=azure.network.NetworkSecurityGroupArgs(id=group.id),
            delegations=[azure.network.DelegationArgs(name=part, service_name=service)],
            service_endpoints=[azure.network.ServiceEndpointPropertiesFormatArgs(service=VAULT)],
            # Images come from the registry's public address. A NAT gateway would cost more than all the rest.
            default_outbound_access=True,
        )


def _from_the_internet(block: IPv4Network) -> azure.network.SecurityRuleArgs:
    return azure.network.SecurityRuleArgs(
        name="https",
        description="HTTPS from everywhere to the ingress",
        priority=100,
        direction="Inbound",
        access="Allow",
        protocol="Tcp",
        source_address_prefix="Internet",
        source_port_range="*",
        destination_address_prefix=str(block),
        destination_port_ranges=list(HTTPS_PORTS),
    )
