"""``rds-forces-ssl``."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from functools import partial

from policies.reading.links import comes_from
from policies.rule import Resource, Severity, Stack, Violation, each_held, stack_rule

GROUPS: Mapping[str, tuple[str, str]] = {
    "aws:rds/instance:Instance": ("parameterGroupName", "aws:rds/parameterGroup:ParameterGroup"),
    "aws:rds/cluster:Cluster": ("dbClusterParameterGroupName", "aws:rds/clusterParameterGroup:ClusterParameterGroup"),
}
"""Type of the database → its property that names its parameter group, and the group's type."""

PARAMETERS: Mapping[str, str] = {
    "aurora-mysql": "require_secure_transport",
    "aurora-postgresql": "rds.force_ssl",
    "mariadb": "require_secure_transport",
    "mysql": "require_secure_transport",
    "postgres": "rds.force_ssl",
    "sqlserver": "rds.force_ssl",
}
"""How the engine's name begins → the parameter. Oracle and Db2 have none."""


@stack_rule(
    "rds-forces-ssl",
    *GROUPS,
    group="encryption in transit",
    severity=Severity.HIGH,
    remedy='aws.rds.ParameterGroup(parameters=[ParameterGroupParameterArgs(name="rds.force_ssl", value="1")])',
    source="https://docs.aws.amazon.com/AmazonRDS/latest/UserGuide/PostgreSQL.Concepts.General.SSL.html",
)
def rds_forces_ssl(stack: Stack) -> Iterator[Violation]:
    """A database's parameter group refuses connections without TLS."""
    return each_held(stack.of_type(*GROUPS), partial(_of_database, stack))


def _of_database(stack: Stack, database: Resource) -> Iterator[Violation]:
    path, type_ = GROUPS[database.type]
    wanted = _parameters(database.get("engine"))
    if not wanted:
        return
    groups = [each for each in stack.of_type(type_) if comes_from(stack, database, path, each, "name")]
    if not groups:
        # What a default group says depends on the engine's version.
        expected = f"a parameter group of the stack with {' or '.join(wanted)}"
        yield Violation(path, expected, database.get(path), database.urn)
    for group in groups:
        yield from _lax(group, wanted)


def _parameters(engine: object) -> list[str]:
    """All of them where there is no engine: that of a replica is its source's."""
    return sorted(
        {each for begins, each in PARAMETERS.items() if not isinstance(engine, str) or engine.startswith(begins)}
    )


def _lax(group: Resource, wanted: list[str]) -> Iterator[Violation]:
    found = [each for each in group.each("parameters") if each.get("name") in wanted]
    if not found:
        yield group.violation("parameters", f"{' or '.join(wanted)} = 1", None)
    for each in found:
        yield from each.require("value", "1", lambda value: str(value).upper() in ("1", "ON"))
