"""``lambda-urls-not-open``."""

from __future__ import annotations

from collections.abc import Iterable

from policies.rule import Resource, Severity, Violation, rule

URL = "aws:lambda/functionUrl:FunctionUrl"
PERMISSION = "aws:lambda/permission:Permission"


@rule(
    "lambda-urls-not-open",
    URL,
    PERMISSION,
    group="public access",
    severity=Severity.CRITICAL,
    remedy='authorization_type="AWS_IAM", function_url_auth_type="AWS_IAM"; or an API in front of the function',
    source="https://docs.aws.amazon.com/lambda/latest/dg/urls-auth.html",
)
def lambda_urls_not_open(resource: Resource) -> Iterable[Violation]:
    """A function's own URL answers only callers that AWS knows."""
    if resource.type == URL:
        return resource.expect("authorizationType", "AWS_IAM")
    # A permission that isn't of a URL has none.
    return resource.require("functionUrlAuthType", "AWS_IAM", lambda kind: kind != "NONE")
