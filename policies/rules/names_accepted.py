"""``names-accepted``."""

from __future__ import annotations

import re
from collections.abc import Iterable

from policies.reading.buckets import BUCKETS
from policies.rule import Resource, Severity, Violation, rule

WORD = r"[a-z0-9]+(?:(?:[._]|__|-+)[a-z0-9]+)*"

NAMES = {
    "aws:ecr/repository:Repository": (
        "name",
        rf"(?=.{{2,256}}$){WORD}(?:/{WORD})*",
        "2 to 256 of a-z, 0-9 and, between them, . _ - /",
    ),
    **dict.fromkeys(
        BUCKETS,
        (
            "bucket",
            r"(?!xn--|\d+\.\d+\.\d+\.\d+$)[a-z0-9](?!.*\.\.)[a-z0-9.-]{1,61}[a-z0-9]",
            "3 to 63 of a-z, 0-9, . and -, a letter or digit at both ends",
        ),
    ),
    "aws:lb/loadBalancer:LoadBalancer": (
        "name",
        r"(?!internal-)(?!-)[A-Za-z0-9-]{1,32}(?<!-)",
        "up to 32 of letters, digits and -",
    ),
    "aws:lb/targetGroup:TargetGroup": ("name", r"(?!-)[A-Za-z0-9-]{1,32}(?<!-)", "up to 32 of letters, digits and -"),
    "aws:lambda/function:Function": ("name", r"[A-Za-z0-9_-]{1,64}", "up to 64 of letters, digits, - and _"),
    "aws:dynamodb/table:Table": ("name", r"[A-Za-z0-9_.-]{3,255}", "3 to 255 of letters, digits, _ . and -"),
    "aws:sqs/queue:Queue": (
        "name",
        r"[A-Za-z0-9_-]{1,80}|[A-Za-z0-9_-]{1,75}\.fifo",
        "up to 80 of letters, digits, - _",
    ),
    "aws:sns/topic:Topic": (
        "name",
        r"[A-Za-z0-9_-]{1,256}|[A-Za-z0-9_-]{1,251}\.fifo",
        "up to 256 of letters, digits, - _",
    ),
    "aws:sfn/stateMachine:StateMachine": ("name", r"[A-Za-z0-9_-]{1,80}", "up to 80 of letters, digits, - and _"),
    "aws:iam/role:Role": ("name", r"[\w+=,.@-]{1,64}", "up to 64 of letters, digits and + = , . @ - _"),
    "aws:kms/alias:Alias": ("name", r"alias/(?!aws/)[A-Za-z0-9/_-]{1,250}", "alias/… of letters, digits, / - and _"),
    "aws:ecs/cluster:Cluster": ("name", r"[A-Za-z0-9_-]{1,255}", "up to 255 of letters, digits, - and _"),
    "aws:ecs/capacityProvider:CapacityProvider": (
        "name",
        r"(?!aws|ecs|fargate)[A-Za-z0-9_-]{1,255}",
        "letters, digits, - and _, not beginning with aws, ecs or fargate",
    ),
    "aws:rds/instance:Instance": (
        "identifier",
        r"(?!.*--)[a-z][a-z0-9-]{0,61}[a-z0-9]",
        "up to 63 of a-z, 0-9 and single -, a letter first",
    ),
    "aws:eks/cluster:Cluster": ("name", r"[A-Za-z0-9][A-Za-z0-9_-]{0,99}", "up to 100 of letters, digits, - and _"),
    "aws:cloudwatch/logGroup:LogGroup": ("name", r"[A-Za-z0-9._/#-]{1,512}", "up to 512 of letters, digits, _ - / . #"),
    "aws:secretsmanager/secret:Secret": (
        "name",
        r"(?!.*-[A-Za-z0-9]{6}$)[A-Za-z0-9/_+=.@-]{1,512}",
        "letters, digits and / _ + = . @ -, no - and six characters at its end, which AWS adds itself",
    ),
}
"""Type → the property with its name, what it matches, and that in words."""


@rule(
    "names-accepted",
    *NAMES,
    group="operations",
    severity=Severity.LOW,
    remedy="a shorter part in Naming.name(...), or a shorter name of the stack",
    source="https://docs.aws.amazon.com/AmazonS3/latest/userguide/bucketnamingrules.html",
)
def names_accepted(resource: Resource) -> Iterable[Violation]:
    """Names have the characters and lengths that their services take, which a preview doesn't know."""
    path, pattern, words = NAMES[resource.type]
    name = resource.get(path)
    # Without a name Pulumi makes one.
    if name is not None and not (isinstance(name, str) and re.fullmatch(pattern, name)):
        yield resource.violation(path, words, name)
