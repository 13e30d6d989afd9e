"""Where the pipeline's heavy work runs: Spark on EMR Serverless, training on Fargate."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from pathlib import Path

import pulumi
import pulumi_aws as aws

from infra import settings
from infra.aws.account import Account
from infra.aws.containers import Container, start_statements, task_definition, task_role
from infra.aws.iam import Statement, role, trust, uses_key
from infra.aws.keys import Keys
from infra.aws.logs import log_group, writes
from infra.aws.network import Network
from infra.aws.online_store import OnlineStore
from infra.aws.repositories import repository_arn
from infra.aws.security_groups import outgoing
from infra.aws.storage import READ_AND_WRITE, Storage

ENTRY_POINT = Path(__file__).parents[1] / "jobs" / "features.py"
INCOMING = "incoming/"
VIEWS = "views/"
SPARK_LOGS = "logs/spark/"

RELEASE = "emr-spark-8.0.0"
"""Spark 4, as the image ``features`` has it: both must be of one release."""

GB_PER_VCPU = 4
DISK_GB_PER_VCPU = 20
IDLE_MINUTES = 5
CONTAINER = "training"


@dataclass(frozen=True)
class PipelineJobsArgs:
    """``training_image`` starts ``python -m``; ``features_image`` is made from EMR's own of :data:`RELEASE`."""

    account: Account
    settings: settings.Pipeline
    network: Network
    keys: Keys
    storage: Storage
    table: OnlineStore
    training_image: pulumi.Input[str]
    features_image: pulumi.Input[str]
    tracking_url: pulumi.Input[str]


class PipelineJobs(pulumi.ComponentResource):
    """An EMR Serverless application that is paid while a job runs, and one definition of a task."""

    application: aws.emrserverless.Application
    spark_role: aws.iam.Role
    spark_log: aws.cloudwatch.LogGroup
    entry_point: pulumi.Output[str]
    spark_logs: pulumi.Output[str]
    task: aws.ecs.TaskDefinition
    task_roles: list[pulumi.Output[str]]
    group: aws.ec2.SecurityGroup

    def __init__(self, name: str, args: PipelineJobsArgs, opts: pulumi.ResourceOptions | None = None) -> None:
        super().__init__("ml:aws:PipelineJobs", name, None, opts)
        self._name = name
        self._args = args
        self._opts = pulumi.ResourceOptions(parent=self)
        account = args.account
        self.group = outgoing(
            f"{name}-jobs", account.naming.name("jobs"), "Jobs of the pipeline", args.network.vpc, self
        )
        self.spark_log = self._log("features")
        self.spark_role = self._spark_role()
        self.application = self._application()
        self.entry_point = self._entry_point()
        self.spark_logs = pulumi.Output.concat("s3://", args.storage.artifacts.bucket, f"/{SPARK_LOGS}")
        log = self._log("training")
        execution, own = self._execution_role(log), self._task_role()
        self.task = self._task(log, execution, own)
        self.task_roles = [execution.arn, own.arn]
        self.register_outputs({"task": self.task.arn, "application": self.application.id})

    def _log(self, part: str) -> aws.cloudwatch.LogGroup:
        account = self._args.account
        physical = account.naming.path("pipeline", part)
        return log_group(f"{self._name}-{part}", physical, account, self._args.keys.logs_arn, self)

    def _application(self) -> aws.emrserverless.Application:
        args, vcpus = self._args, self._args.settings.spark_vcpus
        return aws.emrserverless.Application(
            self._name,
            name=args.account.naming.name("features"),
            release_label=RELEASE,
            type="spark",
            architecture="X86_64",
            image_configuration=aws.emrserverless.ApplicationImageConfigurationArgs(image_uri=args.features_image),
            maximum_capacity=aws.emrserverless.ApplicationMaximumCapacityArgs(
                cpu=f"{vcpus} vCPU", memory=f"{vcpus * GB_PER_VCPU} GB", disk=f"{vcpus * DISK_GB_PER_VCPU} GB"
            ),
            auto_start_configuration=aws.emrserverless.ApplicationAutoStartConfigurationArgs(enabled=True),
            auto_stop_configuration=aws.emrserverless.ApplicationAutoStopConfigurationArgs(
                enabled=True, idle_timeout_minutes=IDLE_MINUTES
            ),
            network_configuration=aws.emrserverless.ApplicationNetworkConfigurationArgs(
                subnet_ids=args.network.private_subnet_ids, security_group_ids=[self.group.id]
            ),
            opts=self._opts,
        )

    def _entry_point(self) -> pulumi.Output[str]:
        args = self._args
        entry_point = aws.s3.BucketObjectv2(
            f"{self._name}-entry-point",
            bucket=args.storage.artifacts.bucket,
            key=f"jobs/{ENTRY_POINT.name}",
            source=pulumi.FileAsset(str(ENTRY_POINT)),
            source_hash=hashlib.sha256(ENTRY_POINT.read_bytes()).hexdigest(),
            content_type="text/x-python",
            server_side_encryption="aws:kms",
            kms_key_id=args.keys.data_arn,
            opts=self._opts,
        )
        return pulumi.Output.concat("s3://", entry_point.bucket, "/", entry_point.key)

    def _spark_role(self) -> aws.iam.Role:
        """The feature job's: reads new data and its own program, writes the view, its log and Spark's event log."""
        args = self._args
        data, artifacts = args.storage.data.arn, args.storage.artifacts.arn
        statements = [
            Statement(
                ("s3:GetObject",),
                [pulumi.Output.concat(data, f"/{INCOMING}*"), pulumi.Output.concat(artifacts, "/jobs/*")],
            ),
            Statement(
                READ_AND_WRITE,
                [pulumi.Output.concat(artifacts, f"/{folder}*") for folder in (VIEWS, SPARK_LOGS)],
            ),
            Statement(("s3:ListBucket",), [data], conditions={"StringLike": {"s3:prefix": [INCOMING, f"{INCOMING}*"]}}),
            Statement(
                ("s3:ListBucket",),
                [artifacts],
                conditions={"StringLike": {"s3:prefix": ["jobs/*", f"{VIEWS}*", f"{SPARK_LOGS}*"]}},
            ),
            uses_key(args.account, args.keys.data_arn, ("kms:Decrypt", "kms:GenerateDataKey"), "s3"),
            writes(self.spark_log.arn, "logs:DescribeLogStreams"),
            Statement(("logs:DescribeLogGroups",), ["*"]),
        ]
        trusted = trust("emr-serverless.amazonaws.com", args.account.id)
        return role(f"{self._name}-features", args.account.naming.name("features"), trusted, statements, self)

    def _execution_role(self, log: aws.cloudwatch.LogGroup) -> aws.iam.Role:
        """ECS starts the jobs with it: reads the image, writes the log."""
        account = self._args.account
        statements = start_statements([repository_arn(account, "training")], [log.arn])
        physical = account.naming.name("training", "execution")
        return task_role(f"{self._name}-execution", physical, account, statements, self)

    def _task_role(self) -> aws.iam.Role:
        """The jobs' own. Train and Register read the view, PublishOnlineFeatures also writes to the table.

        MLflow's server keeps their artifacts for them, so they write to no bucket.
        """
        args, artifacts = self._args, self._args.storage.artifacts.arn
        statements = [
            Statement(("s3:GetObject",), [pulumi.Output.concat(artifacts, f"/{VIEWS}*")]),
            Statement(("s3:ListBucket",), [artifacts], conditions={"StringLike": {"s3:prefix": [f"{VIEWS}*"]}}),
            Statement(
                ("dynamodb:BatchWriteItem", "dynamodb:DescribeTable", "dynamodb:PutItem", "dynamodb:UpdateItem"),
                [args.table.arn],
            ),
            uses_key(
                args.account,
                args.keys.data_arn,
                ("kms:Decrypt", "kms:DescribeKey", "kms:GenerateDataKey"),
                "s3",
                "dynamodb",
            ),
        ]
        physical = args.account.naming.name("training", "task")
        return task_role(f"{self._name}-task", physical, args.account, statements, self)

    def _task(self, log: aws.cloudwatch.LogGroup, execution: aws.iam.Role, own: aws.iam.Role) -> aws.ecs.TaskDefinition:
        args = self._args
        container = Container(
            name=CONTAINER,
            image=args.training_image,
            log_group=log.name,
            region=args.account.region,
            command=("training", "--help"),
            environment={
                "MLFLOW_TRACKING_URI": args.tracking_url,
                "AWS_DEFAULT_REGION": args.account.region,
                "HOME": "/tmp",  # noqa: S108
            },
            stop_seconds=120,
        )
        return task_definition(
            f"{self._name}-training",
            args.account.naming.name("training"),
            args.settings.training_size,
            [container],
            execution.arn,
            own.arn,
            self,
        )
