"""ARNs, wherever one is written."""

from __future__ import annotations

import re
from collections.abc import Iterator

from infra.check.finding import Finding
from infra.check.record import Recording
from policies.reading.walk import last, leaves

PARTITIONS = frozenset({"aws", "aws-cn", "aws-us-gov"})
REGION = re.compile(r"^([a-z]{2}(-[a-z]+)+-\d|\*)?$")
ACCOUNT = re.compile(r"^([0-9]{12}|aws|\*)?$")
SERVICE = re.compile(r"^[a-z0-9-]+$")

WITHOUT_REGION = frozenset({"iam", "s3", "cloudfront", "route53", "organizations", "budgets", "sts", "health", "ce"})
WITHOUT_ACCOUNT = frozenset({"s3", "apigateway", "route53"})
"""https://docs.aws.amazon.com/IAM/latest/UserGuide/reference-arns.html"""

OF_AWS = {
    "states": "service integrations, such as arn:aws:states:::sns:publish",
    "bedrock": "foundation models, which belong to no account",
    "ssm": "public parameters",
    "ec2": "public images",
    "eks": "access policies, such as arn:aws:eks::aws:cluster-access-policy/AmazonEKSViewPolicy",
    "elasticbeanstalk": "platforms",
}
"""Service → which of its ARNs have no account, or neither region nor account."""


def arns(recording: Recording) -> Iterator[Finding]:
    """Six parts, each as its service has it; and an ARN where a property wants one."""
    for resource in recording.resources:
        if not resource.custom:
            continue
        for path, value in leaves(resource.inputs):
            if not isinstance(value, str):
                continue
            if value.startswith("arn:") and not re.search(r"\s", value):
                wrong = _wrong(value)
                if wrong is not None:
                    yield Finding(resource.label, path, wrong, value)
            elif resource.type.startswith("aws:") and re.search(r"Arns?$", last(path)) and value:
                yield Finding(resource.label, path, "an ARN, arn:aws:…", value)


def _wrong(arn: str) -> str | None:
    """What was expected of the part that is wrong."""
    parts = arn.split(":", 5)
    if len(parts) < 6 or not parts[5]:
        return "six parts: arn:partition:service:region:account:resource"
    _, partition, service, region, account, _ = parts
    checks = (
        (partition in PARTITIONS, f"a partition among {', '.join(sorted(PARTITIONS))}"),
        (SERVICE.match(service), "a service such as s3"),
        (REGION.match(region), "a region such as us-east-1"),
        (ACCOUNT.match(account) or service == "apigateway", "an account of 12 digits"),
        (region or service in WITHOUT_REGION | OF_AWS.keys(), f"a region, which an ARN of {service} has"),
        (not region or service not in WITHOUT_REGION - {"s3"}, f"no region, which an ARN of {service} hasn't"),
        (account or service in WITHOUT_ACCOUNT | OF_AWS.keys(), f"an account, which an ARN of {service} has"),
    )
    return next((expected for good, expected in checks if not good), None)
