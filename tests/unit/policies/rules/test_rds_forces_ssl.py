"""``rds-forces-ssl``."""

from __future__ import annotations

import pytest

from policies.node import UNKNOWN
from policies.rules.rds_forces_ssl import rds_forces_ssl
from policies.testing import Case, Cases, drop, gone, put, resource, stack

GROUP_TYPE = "aws:rds/parameterGroup:ParameterGroup"
GROUP = resource(
    GROUP_TYPE,
    {"name": "tls", "parameters": [{"name": "log_connections", "value": "1"}, {"name": "rds.force_ssl", "value": "1"}]},
    "group",
)
DATABASE = resource(
    "aws:rds/instance:Instance", {"engine": "postgres"}, "database", links={"parameterGroupName": [GROUP]}
)
MYSQL_GROUP = resource(
    "aws:rds/clusterParameterGroup:ClusterParameterGroup",
    {"name": "my", "parameters": [{"name": "require_secure_transport", "value": "ON"}]},
    "my-group",
)
MYSQL = resource(
    "aws:rds/cluster:Cluster", {"engine": "aurora-mysql", "dbClusterParameterGroupName": "my"}, "my-database"
)
REPLICA = resource("aws:rds/instance:Instance", {"parameterGroupName": "tls"}, "replica")
ORACLE = resource("aws:rds/instance:Instance", {"engine": "oracle-ee"}, "oracle")

CASES = Cases(
    rds_forces_ssl,
    passing=[stack(DATABASE, GROUP), stack(MYSQL, MYSQL_GROUP), stack(REPLICA, GROUP), stack(ORACLE)],
    failing=[
        gone("group"),
        put("parameters[1].value", "0", at="group"),
        drop("parameters[1]", at="group"),
        drop("parameters", at="group"),
        put("engine", "mysql", at="database"),
        stack(MYSQL),
        stack(REPLICA),
    ],
    unknown=[
        put("engine", UNKNOWN, at="database"),
        put("parameters", UNKNOWN, at="group"),
        put("parameters[1].value", UNKNOWN, at="group"),
    ],
)


@pytest.mark.parametrize("case", CASES.all(), ids=str)
def test_rds_forces_ssl(case: Case) -> None:
    case.check()
