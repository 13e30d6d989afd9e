"""Secrets Manager: what the stack keeps there, and who may do what with it."""

from __future__ import annotations

from dataclasses import dataclass

import pulumi
import pulumi_aws as aws

from infra.aws.account import Account
from infra.aws.iam import Statement, uses_key

RECOVERY_DAYS = 30
ROTATION_DAYS = 90
READ = ("secretsmanager:DescribeSecret", "secretsmanager:GetSecretValue")


@dataclass(frozen=True)
class SecretsArgs:
    """``webhook_url``: from the stack's secret config. ``rotation_lambda_arn``: what makes and stores a new one.

    The function keeps to https://docs.aws.amazon.com/secretsmanager/latest/userguide/rotate-secrets_lambda.html.
    """

    account: Account
    key_arn: pulumi.Input[str]
    webhook_url: pulumi.Output[str] | None = None
    rotation_lambda_arn: pulumi.Input[str] | None = None


class Secrets(pulumi.ComponentResource):
    """The API keys' secret and, where there is a webhook, its URL's.

    The first is made without a value and never written here: it holds the hashes of the keys, and whoever may write
    to it makes, rotates and revokes them with ``python -m serve keys``. So it has no rotation by Lambda.
    """

    api_keys_arn: pulumi.Output[str]
    webhook_arn: pulumi.Output[str] | None

    def __init__(self, name: str, args: SecretsArgs, opts: pulumi.ResourceOptions | None = None) -> None:
        super().__init__("ml:aws:Secrets", name, None, opts)
        self._name = name
        self._args = args
        self._opts = pulumi.ResourceOptions(parent=self)
        self.api_keys_arn = self._secret("api-keys", "Hashes of the API keys: change them with `python -m serve keys`")
        self.webhook_arn = None if args.webhook_url is None else self._webhook(args.webhook_url)
        self.register_outputs({"api_keys_arn": self.api_keys_arn, "webhook_arn": self.webhook_arn})

    def _secret(self, part: str, description: str) -> pulumi.Output[str]:
        account = self._args.account
        return aws.secretsmanager.Secret(
            f"{self._name}-{part}",
            name=account.naming.path(part),
            description=description,
            kms_key_id=self._args.key_arn,
            # Without protection a stack can be taken down and made again at once: a name is free only after this.
            recovery_window_in_days=RECOVERY_DAYS if account.protect else 0,
            opts=pulumi.ResourceOptions(parent=self, protect=account.protect),
        ).arn

    def _webhook(self, url: pulumi.Output[str]) -> pulumi.Output[str]:
        arn = self._secret("webhook", "URL that alerts are sent to")
        version = aws.secretsmanager.SecretVersion(
            f"{self._name}-webhook", secret_id=arn, secret_string=url, opts=self._opts
        )
        if self._args.rotation_lambda_arn is not None:
            self._rotation("webhook", arn, self._args.rotation_lambda_arn, version)
        return arn

    def _rotation(
        self, part: str, arn: pulumi.Output[str], function_arn: pulumi.Input[str], version: pulumi.Resource
    ) -> None:
        allowed = aws.lambda_.Permission(
            f"{self._name}-{part}",
            action="lambda:InvokeFunction",
            function=function_arn,
            principal="secretsmanager.amazonaws.com",
            source_account=self._args.account.id,
            source_arn=arn,
            opts=self._opts,
        )
        aws.secretsmanager.SecretRotation(
            f"{self._name}-{part}",
            secret_id=arn,
            rotation_lambda_arn=function_arn,
            rotation_rules=aws.secretsmanager.SecretRotationRotationRulesArgs(automatically_after_days=ROTATION_DAYS),
            opts=pulumi.ResourceOptions(parent=self, depends_on=[allowed, version]),
        )


def reads(account: Account, secret_arn: pulumi.Input[str], key_arn: pulumi.Input[str]) -> list[Statement]:
    """For a role that reads a secret and asks whether it has changed: the ingress, for its API keys."""
    return [
        Statement(READ, [secret_arn]),
        uses_key(account, key_arn, ("kms:Decrypt",), "secretsmanager"),
    ]


def writes(account: Account, secret_arn: pulumi.Input[str], key_arn: pulumi.Input[str]) -> list[Statement]:
    """For a role that changes a secret too: of whoever runs ``python -m serve keys create``, ``rotate``, ``revoke``."""
    return [
        Statement((*READ, "secretsmanager:PutSecretValue", "secretsmanager:UpdateSecretVersionStage"), [secret_arn]),
        uses_key(account, key_arn, ("kms:Decrypt", "kms:GenerateDataKey"), "secretsmanager"),
    ]
