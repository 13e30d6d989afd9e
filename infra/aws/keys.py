"""Three KMS keys, by who may use them: for data, for logs and messages, for secrets."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import pulumi
import pulumi_aws as aws

from infra.aws.account import Account
from infra.aws.iam import Statement, policy

# In a key's own policy "*" is that key alone: its ARN is not known before it is made.
# https://docs.aws.amazon.com/kms/latest/developerguide/key-policy-overview.html
THIS_KEY = ("*",)

ADMINISTER = (
    "kms:CancelKeyDeletion",
    "kms:CreateAlias",
    "kms:DeleteAlias",
    "kms:DescribeKey",
    "kms:DisableKey",
    "kms:DisableKeyRotation",
    "kms:EnableKey",
    "kms:EnableKeyRotation",
    "kms:GetKeyPolicy",
    "kms:GetKeyRotationStatus",
    "kms:ListGrants",
    "kms:ListKeyPolicies",
    "kms:ListKeyRotations",
    "kms:ListResourceTags",
    "kms:PutKeyPolicy",
    "kms:RevokeGrant",
    "kms:RotateKeyOnDemand",
    "kms:ScheduleKeyDeletion",
    "kms:TagResource",
    "kms:UntagResource",
    "kms:UpdateAlias",
    "kms:UpdateKeyDescription",
)
USE = (
    "kms:Decrypt",
    "kms:Encrypt",
    "kms:GenerateDataKey",
    "kms:GenerateDataKeyWithoutPlaintext",
    "kms:ReEncryptFrom",
    "kms:ReEncryptTo",
)
GRANT = ("kms:CreateGrant",)

MESSENGERS = (
    "budgets.amazonaws.com",
    "cloudwatch.amazonaws.com",
    "costalerts.amazonaws.com",
    "events.amazonaws.com",
    "sns.amazonaws.com",
    "sqs.amazonaws.com",
)
"""Services that write to an encrypted topic or queue by themselves: SNS to queues, the others to topics too."""

ROTATION_DAYS = 365
RECOVERY_DAYS = 30
LEAST_RECOVERY_DAYS = 7
"""KMS deletes no key sooner."""


@dataclass(frozen=True)
class KeysArgs:
    account: Account


class Keys(pulumi.ComponentResource):
    """Keys that rotate each year, each with an alias.

    data: buckets, images, tables, the database, disks. logs: log groups, topics, queues. secrets: Secrets Manager.
    What a role may do with one is said in the role's own policy: each key leaves that to the account.
    """

    data_arn: pulumi.Output[str]
    logs_arn: pulumi.Output[str]
    secrets_arn: pulumi.Output[str]

    def __init__(self, name: str, args: KeysArgs, opts: pulumi.ResourceOptions | None = None) -> None:
        super().__init__("ml:aws:Keys", name, None, opts)
        self._name = name
        self._account = args.account
        self.data_arn = self._key("data", [_disks_of_auto_scaling(args.account)])
        self.logs_arn = self._key("logs", [_log_groups(args.account), _messages(args.account)])
        self.secrets_arn = self._key("secrets", [])
        self.register_outputs({"data_arn": self.data_arn, "logs_arn": self.logs_arn, "secrets_arn": self.secrets_arn})

    def _key(self, purpose: str, statements: Sequence[Statement]) -> pulumi.Output[str]:
        account = self._account
        key = aws.kms.Key(
            f"{self._name}-{purpose}",
            description=f"{account.naming.prefix}: {purpose}",
            enable_key_rotation=True,
            rotation_period_in_days=ROTATION_DAYS,
            deletion_window_in_days=RECOVERY_DAYS if account.protect else LEAST_RECOVERY_DAYS,
            policy=policy([_account_decides(account), _grants(account), *statements]),
            tags={"Name": account.naming.name(purpose)},
            opts=pulumi.ResourceOptions(parent=self, protect=account.protect),
        )
        aws.kms.Alias(
            f"{self._name}-{purpose}",
            name=f"alias/{account.naming.name(purpose)}",
            target_key_id=key.key_id,
            opts=pulumi.ResourceOptions(parent=self),
        )
        return key.arn


def _account_decides(account: Account) -> Statement:
    """The account's IAM policies say who administers and uses the key; nobody does by this alone."""
    return Statement((*ADMINISTER, *USE), THIS_KEY, principals={"AWS": [account.arn("iam", "root", region="")]})


def _grants(account: Account) -> Statement:
    """Grants that RDS, DynamoDB, ECR and EC2 take for themselves when somebody who may use the key makes something."""
    return Statement(
        GRANT,
        THIS_KEY,
        principals={"AWS": [account.arn("iam", "root", region="")]},
        conditions={"Bool": {"kms:GrantIsForAWSResource": "true"}},
    )


def _disks_of_auto_scaling(account: Account) -> Statement:
    """Disks of the instances that Auto Scaling starts, which it does by a role that we can't give a policy.

    The role is named in a condition: as a principal it would have to be there before the first instance is.
    https://docs.aws.amazon.com/autoscaling/ec2/userguide/key-policy-requirements-EBS-encryption.html
    """
    starter = account.arn(
        "iam", "role/aws-service-role/autoscaling.amazonaws.com/AWSServiceRoleForAutoScaling", region=""
    )
    return Statement(
        ("kms:DescribeKey", *USE, *GRANT),
        THIS_KEY,
        principals={"AWS": ["*"]},
        conditions={
            "StringEquals": {"kms:CallerAccount": account.id, "kms:ViaService": f"ec2.{account.region}.amazonaws.com"},
            "ArnEquals": {"aws:PrincipalArn": starter},
        },
    )


def _log_groups(account: Account) -> Statement:
    """https://docs.aws.amazon.com/AmazonCloudWatch/latest/logs/encrypt-log-data-kms.html"""
    return Statement(
        USE,
        THIS_KEY,
        principals={"Service": [f"logs.{account.region}.amazonaws.com"]},
        conditions={"StringLike": {"kms:EncryptionContext:aws:logs:arn": account.arn("logs", "log-group:*")}},
    )


def _messages(account: Account) -> Statement:
    """https://docs.aws.amazon.com/sns/latest/dg/sns-key-management.html"""
    return Statement(
        ("kms:Decrypt", "kms:GenerateDataKey"),
        THIS_KEY,
        principals={"Service": list(MESSENGERS)},
        conditions={"StringEquals": {"aws:SourceAccount": account.id}},
    )
