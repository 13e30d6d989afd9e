"""``security-groups-not-open``."""

from __future__ import annotations

import pytest

from policies.rules.security_groups_not_open import security_groups_not_open
from policies.testing import Case, Cases, put, resource

EVERYWHERE = "0.0.0.0/0"
GROUP = "aws:ec2/securityGroup:SecurityGroup"
HTTPS = {"protocol": "tcp", "fromPort": 443, "toPort": 443, "cidrBlocks": [EVERYWHERE], "ipv6CidrBlocks": ["::/0"]}
SSH = {"protocol": "tcp", "fromPort": 22, "toPort": 22, "cidrBlocks": ["10.0.0.0/8"], "ipv6CidrBlocks": ["fc00::/7"]}
RULE = "aws:ec2/securityGroupRule:SecurityGroupRule"
INGRESS_RULE = "aws:vpc/securityGroupIngressRule:SecurityGroupIngressRule"

CASES = [
    Cases(
        security_groups_not_open,
        passing=[
            resource(GROUP, {"ingress": [HTTPS, SSH], "egress": [{"protocol": "-1", "cidrBlocks": [EVERYWHERE]}]}),
            resource(GROUP, {"ingress": [{"protocol": "-1", "securityGroups": ["sg-0"]}]}),
            resource("aws:ec2/defaultSecurityGroup:DefaultSecurityGroup", {"vpcId": "vpc-0"}),
        ],
        failing=[
            put("ingress[0].fromPort", 22),
            put("ingress[0].toPort", 8443),
            put("ingress[0].fromPort", 80),
            put("ingress[0].protocol", "-1"),
            put("ingress[0].protocol", "icmp"),
            put("ingress[0].fromPort", None),
            put("ingress[1].cidrBlocks", [EVERYWHERE]),
            put("ingress[1].cidrBlocks", ["0.0.0.0/1", "128.0.0.0/1"]),
            put("ingress[1].ipv6CidrBlocks", ["::/0"]),
            resource(GROUP, {"ingress": [{"protocol": "-1", "fromPort": 0, "toPort": 0, "cidrBlocks": [EVERYWHERE]}]}),
        ],
        unknown=["ingress", "ingress[0].cidrBlocks", "ingress[0].fromPort", "ingress[1].cidrBlocks"],
    ),
    Cases(
        security_groups_not_open,
        passing=[
            resource(INGRESS_RULE, {"ipProtocol": "tcp", "fromPort": 443, "toPort": 443, "cidrIpv4": EVERYWHERE}),
            resource(INGRESS_RULE, {"ipProtocol": "-1", "referencedSecurityGroupId": "sg-0"}),
        ],
        failing=[
            put("ipProtocol", "-1"),
            put("fromPort", 0),
            resource(INGRESS_RULE, {"ipProtocol": "tcp", "fromPort": 22, "toPort": 22, "cidrIpv6": "::/0"}),
        ],
        unknown=["cidrIpv4", "ipProtocol"],
    ),
    Cases(
        security_groups_not_open,
        config={"ports": [443]},
        passing=[
            resource(RULE, {"type": "ingress", **HTTPS}),
            resource(RULE, {"type": "egress", "protocol": "-1", "cidrBlocks": [EVERYWHERE]}),
        ],
        failing=[
            put("fromPort", 80),
            resource(RULE, {"type": "ingress", **HTTPS, "fromPort": 80, "toPort": 80}),
        ],
        unknown=["type", "cidrBlocks"],
    ),
]


@pytest.mark.parametrize("case", [case for cases in CASES for case in cases.all()], ids=str)
def test_security_groups_not_open(case: Case) -> None:
    case.check()
