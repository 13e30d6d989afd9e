"""Queues for what could not be delivered."""

from __future__ import annotations

import pulumi
import pulumi_aws as aws

from infra.aws.account import Account
from infra.aws.iam import Statement, by_tls_alone, policy

RETENTION_SECONDS = 14 * 24 * 3600
"""The longest that SQS keeps a message."""

USED = ("sqs:SendMessage", "sqs:ReceiveMessage", "sqs:DeleteMessage", "sqs:GetQueueAttributes", "sqs:PurgeQueue")


def dead_letters(
    name: str,
    account: Account,
    key_arn: pulumi.Input[str],
    parent: pulumi.Resource,
    rule_arn: pulumi.Input[str] | None = None,
) -> aws.sqs.Queue:
    """An encrypted queue, by TLS alone. ``rule_arn``: an EventBridge rule that may write to it by itself."""
    opts = pulumi.ResourceOptions(parent=parent)
    queue = aws.sqs.Queue(
        f"{name}-dead-letters",
        # SQS takes 80 characters.
        name="-".join((account.naming.prefix, name, "dead-letters")),
        kms_master_key_id=key_arn,
        message_retention_seconds=RETENTION_SECONDS,
        opts=opts,
    )
    statements = [by_tls_alone(USED, [queue.arn])]
    if rule_arn is not None:
        statements.append(
            Statement(
                ("sqs:SendMessage",),
                [queue.arn],
                principals={"Service": ["events.amazonaws.com"]},
                conditions={"ArnEquals": {"aws:SourceArn": rule_arn}},
            )
        )
    aws.sqs.QueuePolicy(f"{name}-dead-letters", queue_url=queue.url, policy=policy(statements), opts=opts)
    return queue


def sends(queue_arn: pulumi.Input[str], key_arn: pulumi.Input[str]) -> list[Statement]:
    """For the role of a function whose dead letters go there."""
    return [
        Statement(("sqs:SendMessage",), [queue_arn]),
        Statement(("kms:Decrypt", "kms:GenerateDataKey"), [key_arn]),
    ]
