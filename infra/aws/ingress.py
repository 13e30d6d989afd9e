"""The ingress on ECS: a public load balancer before Fargate tasks and, where there are GPUs, tasks on instances."""

from __future__ import annotations

import math
from dataclasses import dataclass

import pulumi
import pulumi_aws as aws

from infra import settings
from infra.aws import language, served
from infra.aws.account import Account
from infra.aws.cluster import Cluster
from infra.aws.containers import start_statements, task_role
from infra.aws.gpu_wake import GpuWake, GpuWakeArgs
from infra.aws.gpus import GpuCapacity, GpuCapacityArgs
from infra.aws.ingress_service import GpuTask, IngressService, IngressServiceArgs, Tasks
from infra.aws.keys import Keys
from infra.aws.ledger import Ledger
from infra.aws.logs import log_group
from infra.aws.network import Network
from infra.aws.repositories import repository_arn
from infra.aws.security_groups import HTTP, HTTPS, inbound, outbound, to_aws, to_mlflow

TLS_POLICY = "ELBSecurityPolicy-TLS13-1-2-2021-06"
LEAST_IDLE_SECONDS = 60

ACCELERATOR_HEADER = "x-accelerator"
HEADER_PRIORITY = 1
OPENAI_PRIORITY = 2
FIRST_PATH_PRIORITY = 10

GPU_TASK_CPU = 3072
GPU_TASK_MEMORY = 12_288
"""What the smallest instances with a GPU (four CPUs, 16 GiB) have left beside ECS's agent."""

GPU_SHARED_MEMORY = 1024
"""For each GPU that a model is divided among."""


@dataclass(frozen=True)
class IngressArgs:
    """``serving``: the text of the serving settings, without the ``ledger``, which is written into it.
    ``gpu_image``: as :mod:`infra.aws.language` says. ``table_arn``, ``bedrock_policy_arn``: of what the stack has."""

    account: Account
    settings: settings.Ecs
    network: Network
    cluster: Cluster
    keys: Keys
    image: pulumi.Input[str]
    gpu_image: pulumi.Input[str]
    artifacts: aws.s3.Bucket
    tracking_url: pulumi.Input[str]
    api_keys_secret_arn: pulumi.Input[str]
    table_arn: pulumi.Input[str] | None
    bedrock_policy_arn: pulumi.Input[str] | None
    serving: str
    logs_bucket: pulumi.Input[str]
    ledger: Ledger | None = None


class Ingress(pulumi.ComponentResource):
    """HTTPS from ``allowed_cidrs`` to the tasks.

    With GPUs there is a second service, which serves all models. It gets what names a model that asks for GPUs, for
    Fargate can't place those, by its path: a client need not know where a model runs. Where a language model's engine
    asks for them, it gets OpenAI's API as a whole, whose paths name no model. And it gets any request with the header
    ``x-accelerator: gpu``, for models that run on both.

    Raises:
        UserError: ``serving`` is not as expected, or asks for GPUs that ``settings`` don't have.
    """

    url: pulumi.Output[str]
    load_balancer_suffix: pulumi.Output[str]
    target_group_suffixes: list[pulumi.Output[str]]
    service_name: pulumi.Output[str]
    security_group_id: pulumi.Output[str]
    gpus: GpuCapacity | None
    openai_on_gpus: bool

    def __init__(self, name: str, args: IngressArgs, opts: pulumi.ResourceOptions | None = None) -> None:
        super().__init__("ml:aws:Ingress", name, None, opts)
        self._name = name
        self._args = args
        self._naming = args.account.naming
        self._opts = pulumi.ResourceOptions(parent=self)
        self._served = served.read_for("ecs", args.settings.gpus, args.serving, ledger=args.ledger is not None)
        self._front = self._front_group()
        self._group = self._task_group()
        self._balancer = self._load_balancer()
        self._logs = log_group(name, self._naming.path("ingress"), args.account, args.keys.logs_arn, self)
        self._execution_role = self._made_execution_role().arn
        self._task_role = self._made_task_role().arn
        service = self._fargate()
        listener = self._listeners(service.target_group)
        service.start(self._balancer, [listener])
        services = [service]
        self.gpus = None
        self.openai_on_gpus = language.leads_to_gpus(self._served)
        if args.settings.gpus is not None:
            services.append(self._on_gpus(args.settings.gpus, listener))
        self.url = pulumi.Output.concat("https://", self._balancer.dns_name)
        self.load_balancer_suffix = self._balancer.arn_suffix
        self.target_group_suffixes = [each.target_group.arn_suffix for each in services]
        self.service_name = service.service.name
        self.security_group_id = self._group.id
        self.register_outputs({"url": self.url, "service_name": self.service_name})

    def _front_group(self) -> aws.ec2.SecurityGroup:
        allowed = self._args.settings.allowed_cidrs
        return aws.ec2.SecurityGroup(
            f"{self._name}-front",
            name=self._naming.name("ingress-front"),
            vpc_id=self._args.network.vpc_id,
            description="The ingress's load balancer",
            ingress=[
                inbound("HTTPS", HTTPS, cidrs=allowed),
                inbound("HTTP, which is sent on to HTTPS", HTTP, cidrs=allowed),
            ],
            egress=[outbound("To the tasks", self._served.http.port, self._args.network.vpc.cidr_block)],
            tags={"Name": self._naming.name("ingress-front")},
            opts=self._opts,
        )

    def _task_group(self) -> aws.ec2.SecurityGroup:
        return aws.ec2.SecurityGroup(
            self._name,
            name=self._naming.name("ingress"),
            vpc_id=self._args.network.vpc_id,
            description="Tasks of the ingress",
            ingress=[inbound("From the load balancer", self._served.http.port, group_id=self._front.id)],
            egress=[to_aws(), to_mlflow(self._args.network.vpc.cidr_block)],
            tags={"Name": self._naming.name("ingress")},
            opts=self._opts,
        )

    def _load_balancer(self) -> aws.lb.LoadBalancer:
        part = self._naming.name("ingress")
        seconds = self._served.http.request_timeout_seconds
        return aws.lb.LoadBalancer(
            self._name,
            name=part,
            internal=False,
            load_balancer_type="application",
            subnets=self._args.network.public_subnet_ids,
            security_groups=[self._front.id],
            drop_invalid_header_fields=True,
            enable_deletion_protection=self._args.account.protect,
            idle_timeout=max(LEAST_IDLE_SECONDS, round(seconds) + 5),
            access_logs=aws.lb.LoadBalancerAccessLogsArgs(
                bucket=self._args.logs_bucket, prefix="ingress", enabled=True
            ),
            opts=self._opts,
        )

    def _listeners(self, target_group: aws.lb.TargetGroup) -> aws.lb.Listener:
        aws.lb.Listener(
            f"{self._name}-http",
            load_balancer_arn=self._balancer.arn,
            port=HTTP,
            protocol="HTTP",
            default_actions=[
                aws.lb.ListenerDefaultActionArgs(
                    type="redirect",
                    redirect=aws.lb.ListenerDefaultActionRedirectArgs(
                        port=str(HTTPS), protocol="HTTPS", status_code="HTTP_301"
                    ),
                )
            ],
            opts=self._opts,
        )
        return aws.lb.Listener(
            f"{self._name}-https",
            load_balancer_arn=self._balancer.arn,
            port=HTTPS,
            protocol="HTTPS",
            ssl_policy=TLS_POLICY,
            certificate_arn=self._args.settings.certificate,
            default_actions=[aws.lb.ListenerDefaultActionArgs(type="forward", target_group_arn=target_group.arn)],
            opts=self._opts,
        )

    def _made_execution_role(self) -> aws.iam.Role:
        """ECS starts the tasks with it: reads their images and writes the log. No secret is put in by ECS."""
        account = self._args.account
        images = [repository_arn(account, image) for image in ("serve", language.gpu_image(self._served))]
        return task_role(
            f"{self._name}-execution",
            self._naming.name("ingress", "execution"),
            account,
            start_statements(images, [self._logs.arn]),
            self,
        )

    def _made_task_role(self) -> aws.iam.Role:
        """The ingress's own: API keys, model versions, online features, and the language models of the stack."""
        account, keys = self._args.account, self._args.keys
        made = task_role(
            f"{self._name}-task",
            self._naming.name("ingress", "task"),
            account,
            served.statements(
                account,
                self._args.artifacts,
                keys.data_arn,
                self._args.api_keys_secret_arn,
                keys.secrets_arn,
                self._args.table_arn,
                self._args.ledger,
            ),
            self,
        )
        if self._args.bedrock_policy_arn is not None:
            aws.iam.RolePolicyAttachment(
                f"{self._name}-task-bedrock", role=made.name, policy_arn=self._args.bedrock_policy_arn, opts=self._opts
            )
        return made

    def _fargate(self) -> IngressService:
        scale = self._args.settings.tasks
        text = served.without_gpus(self._args.serving)
        return IngressService(
            f"{self._name}-cpu",
            self._service_args(
                "ingress",
                self._args.image,
                text,
                self._args.settings.size,
                Tasks(scale.least, scale.most, scale.requests_per_task_and_minute),
            ),
            opts=self._opts,
        )

    def _on_gpus(self, gpus: settings.EcsGpus, listener: aws.lb.Listener) -> IngressService:
        args = self._args
        self.gpus = GpuCapacity(
            f"{self._name}-gpu",
            GpuCapacityArgs(
                args.account, gpus, args.network, args.cluster, args.keys.data_arn, [self._instance_group().id]
            ),
            opts=self._opts,
        )
        task = GpuTask(
            cpu=GPU_TASK_CPU,
            memory=GPU_TASK_MEMORY,
            shared_memory=GPU_SHARED_MEMORY * language.parallel(self._served),
            gpus=served.gpus_needed(self._served),
            capacity_provider_name=self.gpus.capacity_provider_name,
            start_seconds=math.ceil(language.start_seconds(self._served)),
        )
        requests = gpus.requests_per_task_and_minute or args.settings.tasks.requests_per_task_and_minute
        tasks = Tasks(gpus.least, gpus.most, requests)
        service = IngressService(
            f"{self._name}-gpu",
            self._service_args("ingress-gpu", args.gpu_image, args.serving, task, tasks),
            opts=self._opts,
        )
        rules = self._rules(service.target_group, listener)
        service.start(self._balancer, [*rules, self.gpus.listed])
        if gpus.least == 0:
            GpuWake(
                f"{self._name}-gpu",
                GpuWakeArgs(args.account, self._balancer.arn_suffix, service.target_group.arn_suffix, service.scalable),
                opts=self._opts,
            )
        return service

    def _instance_group(self) -> aws.ec2.SecurityGroup:
        """Tasks have addresses and groups of their own: nothing connects to an instance."""
        part = self._naming.name("ingress-instances")
        return aws.ec2.SecurityGroup(
            f"{self._name}-instances",
            name=part,
            vpc_id=self._args.network.vpc_id,
            description="Instances with GPUs",
            egress=[to_aws()],
            tags={"Name": part},
            opts=self._opts,
        )

    def _service_args(
        self, part: str, image: pulumi.Input[str], text: str, size: settings.FargateSize | GpuTask, tasks: Tasks
    ) -> IngressServiceArgs:
        args = self._args
        return IngressServiceArgs(
            account=args.account,
            part=part,
            network=args.network,
            cluster_arn=args.cluster.arn,
            cluster_name=args.cluster.name,
            image=image,
            settings=self._served,
            environment=served.environment(self._served, text, args.account, args.tracking_url, args.ledger),
            size=size,
            tasks=tasks,
            security_group_ids=[self._group.id, *([args.ledger.client_group_id] if args.ledger else [])],
            execution_role_arn=self._execution_role,
            task_role_arn=self._task_role,
            log_group=self._logs.name,
        )

    def _rules(self, target_group: aws.lb.TargetGroup, listener: aws.lb.Listener) -> list[aws.lb.ListenerRule]:
        header = aws.lb.ListenerRuleConditionArgs(
            http_header=aws.lb.ListenerRuleConditionHttpHeaderArgs(http_header_name=ACCELERATOR_HEADER, values=["gpu"])
        )
        conditions = {"header": (HEADER_PRIORITY, header)}
        for number, model in enumerate(served.on_gpus(self._served)):
            paths = aws.lb.ListenerRuleConditionPathPatternArgs(
                values=paths_of(model, is_default=model == self._served.default_name)
            )
            condition = aws.lb.ListenerRuleConditionArgs(path_pattern=paths)
            conditions[model] = (FIRST_PATH_PRIORITY + number, condition)
        if self.openai_on_gpus:
            openai = aws.lb.ListenerRuleConditionPathPatternArgs(values=language.PATHS)
            conditions["openai"] = (OPENAI_PRIORITY, aws.lb.ListenerRuleConditionArgs(path_pattern=openai))
        return [
            aws.lb.ListenerRule(
                f"{self._name}-gpu-{label}",
                listener_arn=listener.arn,
                priority=priority,
                conditions=[condition],
                actions=[aws.lb.ListenerRuleActionArgs(type="forward", target_group_arn=target_group.arn)],
                opts=self._opts,
            )
            for label, (priority, condition) in conditions.items()
        ]


def paths_of(model: str, *, is_default: bool) -> list[str]:
    """The paths that name a model, as patterns. A rule takes five."""
    found = [f"/v2/models/{model}", f"/v2/models/{model}/*", f"/v2/repository/models/{model}/*"]
    return [*found, "/invocations"] if is_default else found
