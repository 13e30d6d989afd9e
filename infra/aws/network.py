"""A network whose private subnets reach AWS by endpoints: no task has a public address."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from ipaddress import IPv4Network

import pulumi
import pulumi_aws as aws

from infra.aws.account import Account
from infra.aws.iam import role, trust
from infra.aws.logs import log_group, writes
from infra.aws.security_groups import ANYWHERE, HTTPS, inbound

INTERFACE_ENDPOINTS = ("ecr.api", "ecr.dkr", "logs", "secretsmanager", "kms")
"""Of every stack. Components ask for more by ``NetworkArgs.endpoints``."""

GATEWAY_ENDPOINTS = ("s3", "dynamodb")
"""These cost nothing."""

SUBNET_BITS = 4
FIRST_PRIVATE = 8


@dataclass(frozen=True)
class NetworkArgs:
    """``endpoint_zones``: how many zones get an address of each interface endpoint."""

    account: Account
    cidr: str
    endpoint_zones: int
    nat: bool
    log_key_arn: pulumi.Input[str]
    endpoints: Sequence[str] = ()


class Network(pulumi.ComponentResource):
    """One public and one private subnet a zone."""

    vpc: aws.ec2.Vpc
    vpc_id: pulumi.Output[str]
    public_subnet_ids: list[pulumi.Output[str]]
    private_subnet_ids: list[pulumi.Output[str]]

    def __init__(self, name: str, args: NetworkArgs, opts: pulumi.ResourceOptions | None = None) -> None:
        super().__init__("ml:aws:Network", name, None, opts)
        self._name = name
        self._args = args
        self._naming = args.account.naming
        self._opts = pulumi.ResourceOptions(parent=self)
        self.vpc = aws.ec2.Vpc(
            name,
            cidr_block=args.cidr,
            enable_dns_hostnames=True,
            enable_dns_support=True,
            tags={"Name": self._naming.name("network")},
            opts=self._opts,
        )
        self.vpc_id = self.vpc.id
        # Its rules can't be deleted, and what names no group lands in it: it lets nothing through.
        aws.ec2.DefaultSecurityGroup(f"{name}-default", vpc_id=self.vpc.id, opts=self._opts)
        public, private = self._subnets("public", 0), self._subnets("private", FIRST_PRIVATE)
        self.public_subnet_ids = [subnet.id for subnet in public]
        self.private_subnet_ids = [subnet.id for subnet in private]
        tables = [self._public_routes(public), self._private_routes(private)]
        self._endpoints(tables)
        self._flow_log()
        self.register_outputs({"vpc_id": self.vpc_id})

    def _subnets(self, kind: str, first: int) -> list[aws.ec2.Subnet]:
        blocks = list(IPv4Network(self._args.cidr).subnets(SUBNET_BITS))
        # Load balancers of Kubernetes find their subnets by these.
        role = {"public": "kubernetes.io/role/elb", "private": "kubernetes.io/role/internal-elb"}[kind]
        return [
            aws.ec2.Subnet(
                f"{self._name}-{kind}-{zone[-1]}",
                vpc_id=self.vpc.id,
                cidr_block=str(blocks[first + index]),
                availability_zone=zone,
                map_public_ip_on_launch=False,
                tags={"Name": self._naming.name(kind, zone[-1]), role: "1"},
                opts=self._opts,
            )
            for index, zone in enumerate(self._args.account.zones)
        ]

    def _public_routes(self, subnets: list[aws.ec2.Subnet]) -> aws.ec2.RouteTable:
        gateway = aws.ec2.InternetGateway(self._name, vpc_id=self.vpc.id, opts=self._opts)
        table = self._table("public", subnets)
        aws.ec2.Route(
            f"{self._name}-public",
            route_table_id=table.id,
            destination_cidr_block=ANYWHERE,
            gateway_id=gateway.id,
            opts=self._opts,
        )
        return table

    def _private_routes(self, subnets: list[aws.ec2.Subnet]) -> aws.ec2.RouteTable:
        table = self._table("private", subnets)
        if self._args.nat:
            address = aws.ec2.Eip(f"{self._name}-nat", domain="vpc", opts=self._opts)
            nat = aws.ec2.NatGateway(
                self._name, allocation_id=address.id, subnet_id=self.public_subnet_ids[0], opts=self._opts
            )
            aws.ec2.Route(
                f"{self._name}-private",
                route_table_id=table.id,
                destination_cidr_block=ANYWHERE,
                nat_gateway_id=nat.id,
                opts=self._opts,
            )
        return table

    def _table(self, kind: str, subnets: list[aws.ec2.Subnet]) -> aws.ec2.RouteTable:
        table = aws.ec2.RouteTable(f"{self._name}-{kind}", vpc_id=self.vpc.id, opts=self._opts)
        for zone, subnet in zip(self._args.account.zones, subnets, strict=True):
            aws.ec2.RouteTableAssociation(
                f"{self._name}-{kind}-{zone[-1]}", subnet_id=subnet.id, route_table_id=table.id, opts=self._opts
            )
        return table

    def _endpoints(self, tables: list[aws.ec2.RouteTable]) -> None:
        region = self._args.account.region
        group = aws.ec2.SecurityGroup(
            f"{self._name}-endpoints",
            vpc_id=self.vpc.id,
            description="HTTPS from the network to AWS",
            ingress=[inbound("HTTPS from the network", HTTPS, cidrs=[self._args.cidr])],
            opts=self._opts,
        )
        for service in GATEWAY_ENDPOINTS:
            aws.ec2.VpcEndpoint(
                f"{self._name}-{service}",
                vpc_id=self.vpc.id,
                service_name=f"com.amazonaws.{region}.{service}",
                vpc_endpoint_type="Gateway",
                route_table_ids=[table.id for table in tables],
                opts=self._opts,
            )
        for service in dict.fromkeys([*INTERFACE_ENDPOINTS, *self._args.endpoints]):
            aws.ec2.VpcEndpoint(
                f"{self._name}-{service.replace('.', '-')}",
                vpc_id=self.vpc.id,
                service_name=f"com.amazonaws.{region}.{service}",
                vpc_endpoint_type="Interface",
                private_dns_enabled=True,
                subnet_ids=self.private_subnet_ids[: self._args.endpoint_zones],
                security_group_ids=[group.id],
                opts=self._opts,
            )

    def _flow_log(self) -> None:
        """Refused connections alone: the ones that tell of a mistake or of an attack."""
        account = self._args.account
        group = log_group(f"{self._name}-flow", account.naming.path("network"), account, self._args.log_key_arn, self)
        writer = role(
            f"{self._name}-flow",
            account.naming.name("flow-log"),
            trust("vpc-flow-logs.amazonaws.com", account.id),
            [writes(group.arn, "logs:DescribeLogStreams")],
            self,
        )
        aws.ec2.FlowLog(
            self._name,
            vpc_id=self.vpc.id,
            traffic_type="REJECT",
            log_destination=group.arn,
            iam_role_arn=writer.arn,
            opts=self._opts,
        )
