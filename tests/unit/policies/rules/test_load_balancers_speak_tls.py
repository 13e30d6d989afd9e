"""``load-balancers-speak-tls``."""

from __future__ import annotations

import pytest

from policies.node import UNKNOWN
from policies.rules.load_balancers_speak_tls import load_balancers_speak_tls
from policies.testing import Case, Cases, drop, gone, put, resource, stack

OUTSIDE = resource("aws:lb/loadBalancer:LoadBalancer", {"internal": False}, "outside")
INSIDE = resource("aws:lb/loadBalancer:LoadBalancer", {"internal": True}, "inside")
FORWARD = {"type": "forward", "targetGroupArn": "arn"}
REDIRECT = {"type": "redirect", "redirect": {"protocol": "HTTPS", "port": "443", "statusCode": "HTTP_301"}}
LISTENER = "aws:lb/listener:Listener"
HTTPS = resource(
    LISTENER,
    {"protocol": "HTTPS", "sslPolicy": "ELBSecurityPolicy-TLS13-1-2-2021-06", "defaultActions": [FORWARD]},
    "https",
    links={"loadBalancerArn": [OUTSIDE]},
)
HTTP = resource(
    LISTENER, {"protocol": "HTTP", "defaultActions": [REDIRECT]}, "http", links={"loadBalancerArn": [OUTSIDE]}
)
RULE = resource("aws:lb/listenerRule:ListenerRule", {"actions": [REDIRECT]}, "rule", links={"listenerArn": [HTTP]})
WITHIN = resource(
    LISTENER, {"protocol": "HTTP", "defaultActions": [FORWARD]}, "within", links={"loadBalancerArn": [INSIDE]}
)
NO_BALANCER = resource(LISTENER, {"protocol": "HTTP", "defaultActions": [FORWARD], "loadBalancerArn": "arn"}, "alone")
CLASSIC = resource(
    "aws:elb/loadBalancer:LoadBalancer",
    {"listeners": [{"lbPort": 443, "lbProtocol": "HTTPS"}, {"lbPort": 993, "lbProtocol": "ssl"}]},
    "classic",
)
CLASSIC_WITHIN = resource(CLASSIC.type, {"listeners": [{"lbProtocol": "tcp"}], "internal": True}, "classic-within")

CASES = [
    Cases(
        load_balancers_speak_tls,
        passing=[stack(OUTSIDE, INSIDE, HTTPS, HTTP, RULE, WITHIN), stack()],
        failing=[
            put("sslPolicy", "ELBSecurityPolicy-2016-08", at="https"),
            drop("sslPolicy", at="https"),
            put("protocol", "HTTP", at="https"),
            put("defaultActions", [FORWARD], at="http"),
            put("defaultActions[0].redirect.protocol", "HTTP", at="http"),
            drop("defaultActions", at="http"),
            put("actions", [FORWARD], at="rule"),
            put("internal", False, at="inside"),
            drop("internal", at="inside"),
            gone("inside"),
            stack(NO_BALANCER),
        ],
        unknown=[
            put("protocol", UNKNOWN, at="https"),
            put("sslPolicy", UNKNOWN, at="https"),
            put("defaultActions", UNKNOWN, at="http"),
            put("internal", UNKNOWN, at="inside"),
        ],
    ),
    Cases(
        load_balancers_speak_tls,
        passing=[stack(CLASSIC, CLASSIC_WITHIN)],
        failing=[
            put("listeners[0].lbProtocol", "http", at="classic"),
            put("listeners[1].lbProtocol", "tcp", at="classic"),
            drop("listeners[0].lbProtocol", at="classic"),
            put("internal", False, at="classic-within"),
            drop("internal", at="classic-within"),
        ],
        unknown=[
            put("listeners", UNKNOWN, at="classic"),
            put("listeners[0].lbProtocol", UNKNOWN, at="classic"),
            put("internal", UNKNOWN, at="classic-within"),
        ],
    ),
    Cases(
        load_balancers_speak_tls,
        config={"ssl_policies": ["ELBSecurityPolicy-TLS13-1-3-2021-06"]},
        passing=[stack(HTTP)],
        failing=[stack(HTTPS), put("protocol", "HTTPS", at="http")],
    ),
]


@pytest.mark.parametrize("case", [case for cases in CASES for case in cases.all()], ids=str)
def test_load_balancers_speak_tls(case: Case) -> None:
    case.check()
