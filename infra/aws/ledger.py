"""The ledger of language models in a PostgreSQL: a task's disk ends with it, and all of them share one bill."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import pulumi
import pulumi_aws as aws
import yaml

from infra import settings
from infra.aws import database
from infra.aws.account import Account
from infra.aws.database import Database, DatabaseArgs
from infra.aws.network import Network
from infra.aws.security_groups import outbound

DATABASE = "usage"
JOURNALS = "/tmp/journals"  # noqa: S108 - of the container alone
"""What a process has not written yet: it ends with the task, which hands it on when it is stopped."""


@dataclass(frozen=True)
class LedgerArgs:
    account: Account
    settings: settings.Ledger
    network: Network
    key_arn: pulumi.Input[str]
    secrets_key_arn: pulumi.Input[str]
    logs_key_arn: pulumi.Input[str]


class Ledger(pulumi.ComponentResource):
    """``client_group_id``: what is in this security group may connect, and may ask nothing else by it.
    ``secret_arn``: of the password."""

    client_group_id: pulumi.Output[str]
    secret_arn: pulumi.Output[str]

    def __init__(self, name: str, args: LedgerArgs, opts: pulumi.ResourceOptions | None = None) -> None:
        super().__init__("ml:aws:Ledger", name, None, opts)
        part = args.account.naming.name("ledger-clients")
        clients = aws.ec2.SecurityGroup(
            f"{name}-clients",
            name=part,
            vpc_id=args.network.vpc_id,
            description="Who writes to the ledger of language models",
            egress=[outbound("To the ledger", database.PORT, args.network.vpc.cidr_block)],
            tags={"Name": part},
            opts=pulumi.ResourceOptions(parent=self),
        )
        made = Database(
            f"{name}-database",
            DatabaseArgs(
                args.account,
                args.settings,
                "ledger",
                DATABASE,
                "the ingress",
                args.network,
                args.key_arn,
                args.secrets_key_arn,
                args.logs_key_arn,
                client_group_id=clients.id,
            ),
            opts=pulumi.ResourceOptions(parent=self),
        )
        self._region = args.account.region
        self._address = made.address
        self.client_group_id = clients.id
        self.secret_arn = made.secret_arn
        self.register_outputs({"secret_arn": self.secret_arn})

    def within(self, text: str) -> pulumi.Output[str]:
        """The serving settings with the ledger in them, which names no password."""

        def written(known: Sequence[str]) -> str:
            address, secret = known
            return with_ledger(text, address, f"secretsmanager:{secret}?region={self._region}")

        return pulumi.Output.all(self._address, self.secret_arn).apply(written)


def with_ledger(text: str, address: str, password: str) -> str:
    """``text``: serving settings as YAML. ``password``: where it is, as ``usage.password`` has it."""
    document = yaml.safe_load(text)
    document["usage"] = {
        **document.get("usage", {}),
        "ledger": f"postgresql://{DATABASE}@{address}:{database.PORT}/{DATABASE}?sslmode=require",
        "password": password,
        "journals": JOURNALS,
    }
    return yaml.safe_dump(document, sort_keys=False)
