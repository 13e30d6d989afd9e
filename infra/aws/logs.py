"""Log groups of CloudWatch: each encrypted, and kept for as long as the stack says."""

from __future__ import annotations

import pulumi
import pulumi_aws as aws

from infra.aws.account import Account
from infra.aws.iam import Statement


def log_group(
    name: str, physical_name: str, account: Account, key_arn: pulumi.Input[str], parent: pulumi.Resource
) -> aws.cloudwatch.LogGroup:
    return aws.cloudwatch.LogGroup(
        name,
        name=physical_name,
        retention_in_days=account.log_days,
        kms_key_id=key_arn,
        opts=pulumi.ResourceOptions(parent=parent),
    )


def writes(group_arn: pulumi.Input[str], *more: str) -> Statement:
    """For a role that writes to the group. ``more``: actions that a service of AWS asks for beside these."""
    return Statement(
        ("logs:CreateLogStream", "logs:PutLogEvents", *more),
        [pulumi.Output.concat(group_arn, ":*")],
    )
