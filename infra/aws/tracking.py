"""MLflow on Fargate behind an internal load balancer, with a PostgreSQL of its own."""

from __future__ import annotations

from dataclasses import dataclass

import pulumi
import pulumi_aws as aws

from infra import settings
from infra.aws import database
from infra.aws.account import Account
from infra.aws.containers import Container, HealthCheck, start_statements, task_definition, task_role
from infra.aws.database import Database, DatabaseArgs
from infra.aws.iam import Statement, uses_key
from infra.aws.logs import log_group
from infra.aws.network import Network
from infra.aws.repositories import repository_arn
from infra.aws.security_groups import HTTP, inbound, outbound, to_aws
from infra.aws.storage import READ_AND_WRITE

PORT = 5000
WORKERS = 2
DATABASE = "mlflow"
FOLDER = "mlflow"
"""Of the artifacts bucket, for what the server keeps there."""

START_SECONDS = 120
"""The first server makes the tables."""

UPLOAD_SECONDS = 300
"""Between two bytes: while the server hands a large file on to S3, it says nothing."""

HEALTH = f"""
import os, urllib.request, psycopg2
psycopg2.connect(os.environ["MLFLOW_BACKEND_STORE_URI"].replace("+psycopg2", ""), connect_timeout=4).close()
urllib.request.urlopen("http://127.0.0.1:{PORT}/health", timeout=4).close()
"""
"""A new connection each time: RDS rotates the password each week, and a task has the one of its start. This then
fails, and ECS starts a task with the new one, while the old one answers on with the connections that it has."""


@dataclass(frozen=True)
class TrackingArgs:
    """``image``: has ``mlflow``, ``psycopg2`` and ``boto3``, and declares ``/tmp`` with ``VOLUME`` and its user."""

    account: Account
    settings: settings.Tracking
    network: Network
    key_arn: pulumi.Input[str]
    secrets_key_arn: pulumi.Input[str]
    logs_key_arn: pulumi.Input[str]
    artifacts: aws.s3.Bucket
    image: pulumi.Output[str]
    cluster_arn: pulumi.Input[str]


class Tracking(pulumi.ComponentResource):
    """The tracking server and model registry, for whoever is in the network: MLflow itself asks for no password.

    ``url`` is HTTP: no public authority certifies a load balancer's internal name, and a certificate needs a domain.
    Nothing outside the network can connect; what leaves it for S3, RDS or Secrets Manager goes by TLS.
    """

    url: pulumi.Output[str]
    service_name: pulumi.Output[str]

    def __init__(self, name: str, args: TrackingArgs, opts: pulumi.ResourceOptions | None = None) -> None:
        super().__init__("ml:aws:Tracking", name, None, opts)
        self._name = name
        self._args = args
        self._part = args.account.naming.name("tracking")
        self._opts = pulumi.ResourceOptions(parent=self)
        front = self._front_group()
        group = self._server_group(front)
        self._database = Database(
            f"{name}-database",
            DatabaseArgs(
                args.account,
                args.settings,
                "tracking",
                DATABASE,
                "the tracking server",
                args.network,
                args.key_arn,
                args.secrets_key_arn,
                args.logs_key_arn,
                client_group_id=group.id,
            ),
            opts=self._opts,
        )
        balancer = self._balancer(front)
        self.url = pulumi.Output.concat("http://", balancer.dns_name)
        self.service_name = self._service(self._task(balancer), group, *self._target(balancer)).name
        self.register_outputs({"url": self.url, "service_name": self.service_name})

    def _front_group(self) -> aws.ec2.SecurityGroup:
        cidr = self._args.network.vpc.cidr_block
        return aws.ec2.SecurityGroup(
            f"{self._name}-front",
            name=f"{self._part}-front",
            vpc_id=self._args.network.vpc_id,
            description="MLflow, from within the network",
            ingress=[inbound("HTTP from the network", HTTP, cidrs=[cidr])],
            egress=[outbound("To the servers", PORT, cidr)],
            tags={"Name": f"{self._part}-front"},
            opts=self._opts,
        )

    def _server_group(self, front: aws.ec2.SecurityGroup) -> aws.ec2.SecurityGroup:
        return aws.ec2.SecurityGroup(
            f"{self._name}-server",
            name=self._part,
            vpc_id=self._args.network.vpc_id,
            description="MLflow servers",
            ingress=[inbound("From the load balancer", PORT, group_id=front.id)],
            egress=[outbound("To the database", database.PORT, self._args.network.vpc.cidr_block), to_aws()],
            tags={"Name": self._part},
            opts=self._opts,
        )

    def _balancer(self, front: aws.ec2.SecurityGroup) -> aws.lb.LoadBalancer:
        return aws.lb.LoadBalancer(
            self._name,
            name=self._part,
            internal=True,
            load_balancer_type="application",
            subnets=self._args.network.private_subnet_ids,
            security_groups=[front.id],
            drop_invalid_header_fields=True,
            idle_timeout=UPLOAD_SECONDS,
            enable_deletion_protection=self._args.account.protect,
            opts=self._opts,
        )

    def _target(self, balancer: aws.lb.LoadBalancer) -> tuple[aws.lb.TargetGroup, aws.lb.Listener]:
        target = aws.lb.TargetGroup(
            self._name,
            name=self._part,
            vpc_id=self._args.network.vpc_id,
            target_type="ip",
            port=PORT,
            protocol="HTTP",
            deregistration_delay=30,
            health_check=aws.lb.TargetGroupHealthCheckArgs(
                path="/health", matcher="200", interval=15, timeout=5, healthy_threshold=2, unhealthy_threshold=3
            ),
            opts=self._opts,
        )
        listener = aws.lb.Listener(
            self._name,
            load_balancer_arn=balancer.arn,
            port=HTTP,
            protocol="HTTP",
            default_actions=[aws.lb.ListenerDefaultActionArgs(type="forward", target_group_arn=target.arn)],
            opts=self._opts,
        )
        return target, listener

    def _task(self, balancer: aws.lb.LoadBalancer) -> aws.ecs.TaskDefinition:
        account = self._args.account
        logs = log_group(self._name, account.naming.path("tracking"), account, self._args.logs_key_arn, self)
        return task_definition(
            self._name,
            self._part,
            self._args.settings.size,
            [self._container(logs, balancer)],
            self._execution_role(logs).arn,
            self._task_role().arn,
            self,
        )

    def _container(self, logs: aws.cloudwatch.LogGroup, balancer: aws.lb.LoadBalancer) -> Container:
        uri = pulumi.Output.concat(
            # Which driver a plain "postgresql" means depends on SQLAlchemy's version.
            f"postgresql+psycopg2://{DATABASE}@",
            self._database.address,
            f":{database.PORT}/{DATABASE}?sslmode=require",
        )
        return Container(
            name="mlflow",
            image=self._args.image,
            log_group=logs.name,
            region=self._args.account.region,
            entry_point=("mlflow", "server"),
            command=("--host", "0.0.0.0", "--port", str(PORT), "--workers", str(WORKERS)),  # noqa: S104
            environment={
                # Without the password: PostgreSQL's client takes that from PGPASSWORD, so no process list shows it.
                "MLFLOW_BACKEND_STORE_URI": uri,
                "MLFLOW_ARTIFACTS_DESTINATION": pulumi.Output.concat(
                    "s3://", self._args.artifacts.bucket, f"/{FOLDER}"
                ),
                "MLFLOW_SERVER_ALLOWED_HOSTS": balancer.dns_name,
                "MLFLOW_SERVER_CORS_ALLOWED_ORIGINS": self.url,
                # Jobs of its own would need a second database, on a disk that outlives the task.
                "MLFLOW_SERVER_ENABLE_JOB_EXECUTION": "false",
                "AWS_DEFAULT_REGION": self._args.account.region,
                "HOME": "/tmp",  # noqa: S108
                "PYTHONDONTWRITEBYTECODE": "1",
            },
            secrets={"PGPASSWORD": pulumi.Output.concat(self._database.secret_arn, ":password::")},
            port=PORT,
            health=HealthCheck(("python", "-c", HEALTH), timeout=10, start_period=START_SECONDS),
        )

    def _execution_role(self, logs: aws.cloudwatch.LogGroup) -> aws.iam.Role:
        """ECS starts the tasks with it: reads the image and the database's password, writes the log."""
        account = self._args.account
        return task_role(
            f"{self._name}-execution",
            account.naming.name("tracking", "execution"),
            account,
            start_statements(
                [repository_arn(account, "mlflow")],
                [logs.arn],
                [self._database.secret_arn],
                self._args.secrets_key_arn,
            ),
            self,
        )

    def _task_role(self) -> aws.iam.Role:
        """The server's own: it keeps artifacts in its folder of the bucket, encrypted with the bucket's key."""
        account, bucket = self._args.account, self._args.artifacts
        return task_role(
            f"{self._name}-task",
            account.naming.name("tracking", "task"),
            account,
            [
                Statement(READ_AND_WRITE, [pulumi.Output.concat(bucket.arn, f"/{FOLDER}/*")]),
                Statement(
                    ("s3:ListBucket",), [bucket.arn], conditions={"StringLike": {"s3:prefix": [FOLDER, f"{FOLDER}/*"]}}
                ),
                uses_key(account, self._args.key_arn, ("kms:Decrypt", "kms:GenerateDataKey"), "s3"),
            ],
            self,
        )

    def _service(
        self,
        task: aws.ecs.TaskDefinition,
        group: aws.ec2.SecurityGroup,
        target: aws.lb.TargetGroup,
        listener: aws.lb.Listener,
    ) -> aws.ecs.Service:
        return aws.ecs.Service(
            self._name,
            name=self._part,
            cluster=self._args.cluster_arn,
            task_definition=task.arn,
            launch_type="FARGATE",
            platform_version="LATEST",
            desired_count=self._args.settings.servers,
            deployment_minimum_healthy_percent=100,
            deployment_maximum_percent=200,
            deployment_circuit_breaker=aws.ecs.ServiceDeploymentCircuitBreakerArgs(enable=True, rollback=True),
            health_check_grace_period_seconds=START_SECONDS,
            enable_execute_command=False,
            enable_ecs_managed_tags=True,
            propagate_tags="SERVICE",
            network_configuration=aws.ecs.ServiceNetworkConfigurationArgs(
                subnets=self._args.network.private_subnet_ids, security_groups=[group.id], assign_public_ip=False
            ),
            load_balancers=[
                aws.ecs.ServiceLoadBalancerArgs(
                    target_group_arn=target.arn, container_name="mlflow", container_port=PORT
                )
            ],
            # A target group has to belong to a load balancer before a service may use it.
            opts=pulumi.ResourceOptions(parent=self, depends_on=[listener]),
        )
