"""A PostgreSQL in the private subnets, whose password this program never sees."""

from __future__ import annotations

from dataclasses import dataclass

import pulumi
import pulumi_aws as aws

from infra import settings
from infra.aws.account import Account
from infra.aws.logs import log_group
from infra.aws.network import Network
from infra.aws.security_groups import inbound

MAJOR_VERSION = "17"
PORT = 5432
LOGS = ("postgresql", "upgrade")
INSIGHTS_DAYS = 7
"""More would be paid for."""

GROWS_TO = 2
"""Times its first size: a full disk would stop it."""

CERTIFICATE_AUTHORITY = "rds-ca-rsa2048-g1"


@dataclass(frozen=True)
class DatabaseArgs:
    """``part``: of names. ``database``: its name, and its user's. ``client``: who connects, in words.
    ``client_group_id``: the security group of those that may, and nobody else."""

    account: Account
    settings: settings.Postgres
    part: str
    database: str
    client: str
    network: Network
    key_arn: pulumi.Input[str]
    secrets_key_arn: pulumi.Input[str]
    logs_key_arn: pulumi.Input[str]
    client_group_id: pulumi.Input[str]


class Database(pulumi.ComponentResource):
    """``secret_arn``: JSON with ``username`` and ``password``, which RDS writes, and rotates each week."""

    address: pulumi.Output[str]
    secret_arn: pulumi.Output[str]

    def __init__(self, name: str, args: DatabaseArgs, opts: pulumi.ResourceOptions | None = None) -> None:
        super().__init__("ml:aws:Database", name, None, opts)
        self._name = name
        self._args = args
        self._identifier = args.account.naming.name(args.part)
        self._opts = pulumi.ResourceOptions(parent=self)
        made = self._instance(self._log_groups())
        self.address = made.address
        self.secret_arn = made.master_user_secrets[0].secret_arn
        self.register_outputs({"address": self.address, "secret_arn": self.secret_arn})

    def _log_groups(self) -> list[pulumi.Resource]:
        """RDS makes them itself where they are missing: readable by its own key, and kept for ever."""
        account = self._args.account
        return [
            log_group(
                f"{self._name}-{kind}",
                f"/aws/rds/instance/{self._identifier}/{kind}",
                account,
                self._args.logs_key_arn,
                self,
            )
            for kind in LOGS
        ]

    def _instance(self, log_groups: list[pulumi.Resource]) -> aws.rds.Instance:
        args, account, wanted = self._args, self._args.account, self._args.settings
        return aws.rds.Instance(
            self._name,
            identifier=self._identifier,
            engine="postgres",
            engine_version=MAJOR_VERSION,
            instance_class=wanted.database_class,
            allocated_storage=wanted.database_gib,
            max_allocated_storage=wanted.database_gib * GROWS_TO,
            storage_type="gp3",
            storage_encrypted=True,
            kms_key_id=args.key_arn,
            db_name=args.database,
            port=PORT,
            username=args.database,
            manage_master_user_password=True,
            master_user_secret_kms_key_id=args.secrets_key_arn,
            db_subnet_group_name=self._subnets().name,
            vpc_security_group_ids=[self._group().id],
            publicly_accessible=False,
            multi_az=wanted.multi_az,
            parameter_group_name=self._parameters().name,
            ca_cert_identifier=CERTIFICATE_AUTHORITY,
            backup_retention_period=wanted.backup_days,
            delete_automated_backups=not account.protect,
            copy_tags_to_snapshot=True,
            auto_minor_version_upgrade=True,
            performance_insights_enabled=True,
            performance_insights_kms_key_id=args.key_arn,
            performance_insights_retention_period=INSIGHTS_DAYS,
            enabled_cloudwatch_logs_exports=list(LOGS),
            deletion_protection=account.protect,
            skip_final_snapshot=not account.protect,
            final_snapshot_identifier=f"{self._identifier}-final" if account.protect else None,
            apply_immediately=not account.protect,
            opts=pulumi.ResourceOptions(parent=self, protect=account.protect, depends_on=log_groups),
        )

    def _subnets(self) -> aws.rds.SubnetGroup:
        return aws.rds.SubnetGroup(
            self._name,
            name=self._identifier,
            description="The private subnets",
            subnet_ids=self._args.network.private_subnet_ids,
            opts=self._opts,
        )

    def _parameters(self) -> aws.rds.ParameterGroup:
        return aws.rds.ParameterGroup(
            self._name,
            name=self._identifier,
            family=f"postgres{MAJOR_VERSION}",
            description="TLS for every connection",
            parameters=[
                aws.rds.ParameterGroupParameterArgs(name="rds.force_ssl", value="1"),
                aws.rds.ParameterGroupParameterArgs(name="log_connections", value="1"),
            ],
            opts=self._opts,
        )

    def _group(self) -> aws.ec2.SecurityGroup:
        """It lets the clients in, and nothing out: a database calls nobody."""
        from_client = f"PostgreSQL from {self._args.client}"
        return aws.ec2.SecurityGroup(
            self._name,
            name=f"{self._identifier}-database",
            vpc_id=self._args.network.vpc_id,
            description=from_client,
            ingress=[inbound(from_client, PORT, group_id=self._args.client_group_id)],
            tags={"Name": f"{self._identifier}-database"},
            opts=self._opts,
        )
