"""``no-plain-environment-secrets``."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator

from policies.node import Node
from policies.reading.containers import APPS, FUNCTION, GROUP, ON_KUBERNETES, SPARK, TASK, variables
from policies.reading.plain_text import named, readings, reads_as_secret
from policies.reading.states import MACHINE
from policies.reading.walk import nodes
from policies.rule import Resource, Severity, UnknownValueError, Violation, rule

USER_DATA = (
    "aws:ec2/instance:Instance",
    "aws:ec2/launchConfiguration:LaunchConfiguration",
    "aws:ec2/launchTemplate:LaunchTemplate",
)
OF_SPARK = re.compile(r"\b(?:driverEnv|executorEnv|appMasterEnv)\.([A-Za-z_]\w*)=(\S+)")
"""Variables in Spark's own settings, which a job is submitted with."""


@rule(
    "no-plain-environment-secrets",
    TASK,
    FUNCTION,
    SPARK,
    MACHINE,
    *APPS,
    GROUP,
    *ON_KUBERNETES,
    *USER_DATA,
    group="operations",
    severity=Severity.CRITICAL,
    remedy="secrets={NAME: secret_arn} of infra.aws.containers.Container, or an ARN or a URI that the program reads",
    source="https://docs.aws.amazon.com/AmazonECS/latest/developerguide/specifying-sensitive-data.html",
)
def no_plain_environment_secrets(resource: Resource) -> Iterable[Violation]:
    """Environment variables and user data, which whoever may look at the resource reads, hold no secret."""
    unknown: UnknownValueError | None = None
    for name, value in _written(resource):
        try:
            known = value.get()
        except UnknownValueError as error:
            # The other variables may be known, and a secret in one of them is found all the same.
            unknown = unknown or error
            continue
        found = [named(value.path, name)] if reads_as_secret(name, known) else readings(known, value.path)
        # An environment shows what Pulumi would hide.
        yield from (Violation(each.path, "a reference to a secret of a vault", each.got) for each in found)
    if unknown is not None:
        raise unknown


def _written(resource: Resource) -> Iterator[tuple[str, Node]]:
    """Name and value; user data has a name that says nothing."""
    if resource.type in USER_DATA:
        for path in ("userData", "userDataBase64"):
            yield path, resource.at(path)
    elif resource.type == MACHINE:
        definition = resource.document("definition")
        if definition is not None:
            yield from _of_jobs(definition)
    else:
        yield from variables(resource)


def _of_jobs(definition: Node) -> Iterator[tuple[str, Node]]:
    """What a state machine starts its tasks and jobs with."""
    for path, each in nodes(definition.value, definition.path):
        if isinstance(each, dict) and {"Name", "Value"} <= each.keys():
            yield str(each["Name"]), Node(each["Value"], f"{path}.Value")
        elif isinstance(each, str):
            yield from ((name, Node(value, path)) for name, value in OF_SPARK.findall(each))
