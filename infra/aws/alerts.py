"""Where alarms, budgets and the pipeline say what is wrong: one SNS topic."""

from __future__ import annotations

from dataclasses import dataclass

import pulumi
import pulumi_aws as aws

from infra.aws.account import Account
from infra.aws.iam import Statement, by_tls_alone, policy

SERVICES = ("budgets.amazonaws.com", "cloudwatch.amazonaws.com", "costalerts.amazonaws.com")
"""They publish by themselves; the pipeline does by its own role."""


@dataclass(frozen=True)
class AlertsArgs:
    """``key_arn``: its policy must let the :data:`SERVICES` use it. ``email`` has to confirm its subscription."""

    account: Account
    key_arn: pulumi.Input[str]
    email: str


class Alerts(pulumi.ComponentResource):
    """An encrypted topic with one reader by e-mail."""

    topic_arn: pulumi.Output[str]

    def __init__(self, name: str, args: AlertsArgs, opts: pulumi.ResourceOptions | None = None) -> None:
        super().__init__("ml:aws:Alerts", name, None, opts)
        child = pulumi.ResourceOptions(parent=self)
        topic = aws.sns.Topic(
            name,
            name=args.account.naming.name("alerts"),
            kms_master_key_id=args.key_arn,
            signature_version=2,
            opts=child,
        )
        rules = aws.sns.TopicPolicy(name, arn=topic.arn, policy=policy(_rules(args.account, topic.arn)), opts=child)
        aws.sns.TopicSubscription(
            f"{name}-email",
            topic=topic.arn,
            protocol="email",
            endpoint=args.email,
            opts=pulumi.ResourceOptions(parent=self, depends_on=[rules]),
        )
        # The policy's: who publishes waits until it may.
        self.topic_arn = rules.arn
        self.register_outputs({"topic_arn": self.topic_arn})


def _rules(account: Account, topic_arn: pulumi.Input[str]) -> list[Statement]:
    """https://docs.aws.amazon.com/sns/latest/dg/sns-access-policy-use-cases.html"""
    return [
        Statement(
            ("sns:Publish",),
            [topic_arn],
            principals={"Service": list(SERVICES)},
            conditions={"StringEquals": {"aws:SourceAccount": account.id}},
        ),
        by_tls_alone(("sns:Publish",), [topic_arn]),
    ]


def publishes(topic_arn: pulumi.Input[str], key_arn: pulumi.Input[str]) -> list[Statement]:
    """For a role that writes to the topic."""
    return [
        Statement(("sns:Publish",), [topic_arn]),
        Statement(("kms:Decrypt", "kms:GenerateDataKey"), [key_arn]),
    ]
