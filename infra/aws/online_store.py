"""The online store: the latest features of each entity, in one DynamoDB table."""

from __future__ import annotations

from dataclasses import dataclass

import pulumi
import pulumi_aws as aws

from infra.aws.account import Account

PARTITION_KEY = "entity"
SORT_KEY = "view"
EXPIRES_AT = "expires_at"
"""Seconds since 1970, after which DynamoDB drops the item within days."""


@dataclass(frozen=True)
class OnlineStoreArgs:
    """``recovery``: to any second of the last 35 days."""

    account: Account
    key_arn: pulumi.Input[str]
    recovery: bool


class OnlineStore(pulumi.ComponentResource):
    """Paid by request. One item an entity and view."""

    name: pulumi.Output[str]
    arn: pulumi.Output[str]

    def __init__(self, name: str, args: OnlineStoreArgs, opts: pulumi.ResourceOptions | None = None) -> None:
        super().__init__("ml:aws:OnlineStore", name, None, opts)
        table = aws.dynamodb.Table(
            name,
            name=args.account.naming.name("features"),
            billing_mode="PAY_PER_REQUEST",
            hash_key=PARTITION_KEY,
            range_key=SORT_KEY,
            attributes=[
                aws.dynamodb.TableAttributeArgs(name=PARTITION_KEY, type="S"),
                aws.dynamodb.TableAttributeArgs(name=SORT_KEY, type="S"),
            ],
            ttl=aws.dynamodb.TableTtlArgs(attribute_name=EXPIRES_AT, enabled=True),
            point_in_time_recovery=aws.dynamodb.TablePointInTimeRecoveryArgs(enabled=args.recovery),
            server_side_encryption=aws.dynamodb.TableServerSideEncryptionArgs(enabled=True, kms_key_arn=args.key_arn),
            deletion_protection_enabled=args.account.protect,
            opts=pulumi.ResourceOptions(parent=self, protect=args.account.protect),
        )
        self.name = table.name
        self.arn = table.arn
        self.register_outputs({"name": self.name, "arn": self.arn})
