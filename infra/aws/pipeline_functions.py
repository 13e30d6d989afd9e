"""The pipeline's own steps: small functions from ``infra/lambdas``, inside the network, for MLflow is there."""

from __future__ import annotations

import ast
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import pulumi
import pulumi_aws as aws

from infra.aws.account import Account
from infra.aws.alarms import Alarm, Metric, alarm, queue_depth
from infra.aws.dead_letters import dead_letters, sends
from infra.aws.function import traces
from infra.aws.iam import Statement, role, trust
from infra.aws.keys import Keys
from infra.aws.logs import log_group, writes
from infra.aws.network import Network
from infra.aws.security_groups import outgoing

ROOT = Path(__file__).parents[2]
PACKAGE = "infra.lambdas"

RUNTIME = "python3.11"
"""The Python that the functions are tested with."""

LAYER_ACCOUNT = "017000801446"
LAYER_VERSION = 27
"""Of powertools, which AWS publishes for each region: 3.24.
https://docs.aws.amazon.com/powertools/python/latest/getting-started/install/"""

SECONDS = 300
MEMORY_MIB = 512
CONCURRENCY = 2
"""Of each function: one execution and another beside it."""

NAMESPACE = "MlPipeline"

INTERFACES = (
    "ec2:AssignPrivateIpAddresses",
    "ec2:CreateNetworkInterface",
    "ec2:DeleteNetworkInterface",
    "ec2:UnassignPrivateIpAddresses",
)
LOOKS = ("ec2:DescribeNetworkInterfaces", "ec2:DescribeSubnets")
"""https://docs.aws.amazon.com/lambda/latest/dg/configuration-vpc.html#configuration-vpc-permissions"""


@dataclass(frozen=True)
class Step:
    """One function. ``module``: of ``infra.lambdas``, which has a ``handler``; ``needs``: beyond what each one does."""

    module: str
    description: str
    needs: Sequence[Statement] = ()
    environment: Mapping[str, pulumi.Input[str]] = field(default_factory=dict)


@dataclass(frozen=True)
class PipelineFunctionsArgs:
    account: Account
    network: Network
    keys: Keys
    steps: Sequence[Step]
    environment: Mapping[str, pulumi.Input[str]]
    alerts_topic_arn: pulumi.Input[str]


class PipelineFunctions(pulumi.ComponentResource):
    """``arns``: module → ARN. All share one security group and one queue of dead letters."""

    arns: dict[str, pulumi.Output[str]]
    dead_letters_name: pulumi.Output[str]

    def __init__(self, name: str, args: PipelineFunctionsArgs, opts: pulumi.ResourceOptions | None = None) -> None:
        super().__init__("ml:aws:PipelineFunctions", name, None, opts)
        self._name = name
        self._args = args
        self._opts = pulumi.ResourceOptions(parent=self)
        group = outgoing(
            f"{name}-steps", args.account.naming.name("steps"), "Steps of the pipeline", args.network.vpc, self
        )
        self._queue = dead_letters(f"{name}-steps", args.account, args.keys.logs_arn, self)
        self.dead_letters_name = self._queue.name
        self.arns = {step.module: self._function(step, group) for step in args.steps}
        unhandled = queue_depth(
            "unhandled", self.dead_letters_name, "A step was invoked outside the state machine, and failed."
        )
        alarm(f"{name}-steps", args.account, unhandled, args.alerts_topic_arn, self)
        self.register_outputs({"dead_letters_name": self.dead_letters_name})

    def _function(self, step: Step, group: aws.ec2.SecurityGroup) -> pulumi.Output[str]:
        args, label = self._args, f"{self._name}-{step.module}"
        account = args.account
        physical = account.naming.name(step.module)
        log = log_group(label, account.naming.path("pipeline", step.module), account, args.keys.logs_arn, self)
        function = aws.lambda_.Function(
            label,
            name=physical,
            description=step.description,
            runtime=RUNTIME,
            handler=f"{PACKAGE}.{step.module}.handler",
            code=archive(step.module),
            layers=[powertools(account.region)],
            architectures=["x86_64"],
            role=self._role(step, label, physical, log).arn,
            memory_size=MEMORY_MIB,
            timeout=SECONDS,
            reserved_concurrent_executions=CONCURRENCY,
            kms_key_arn=args.keys.data_arn,
            environment=aws.lambda_.FunctionEnvironmentArgs(
                variables={
                    **args.environment,
                    "POWERTOOLS_SERVICE_NAME": step.module,
                    "POWERTOOLS_METRICS_NAMESPACE": NAMESPACE,
                    "POWERTOOLS_LOG_LEVEL": "INFO",
                    **step.environment,
                }
            ),
            vpc_config=aws.lambda_.FunctionVpcConfigArgs(
                subnet_ids=args.network.private_subnet_ids, security_group_ids=[group.id]
            ),
            dead_letter_config=aws.lambda_.FunctionDeadLetterConfigArgs(target_arn=self._queue.arn),
            tracing_config=aws.lambda_.FunctionTracingConfigArgs(mode="Active"),
            logging_config=aws.lambda_.FunctionLoggingConfigArgs(
                log_format="JSON", log_group=log.name, application_log_level="INFO", system_log_level="WARN"
            ),
            opts=self._opts,
        )
        throttles = Metric("AWS/Lambda", "Throttles", {"FunctionName": function.name}, "Sum", 300)
        text = f"More than {CONCURRENCY} executions of the pipeline at one time."
        alarm(label, account, Alarm("throttles", text, 0, throttles), args.alerts_topic_arn, self)
        return function.arn

    def _role(self, step: Step, label: str, physical: str, log: aws.cloudwatch.LogGroup) -> aws.iam.Role:
        """A step's own: its log, its traces, its dead letters, its address in the network, and what it itself needs."""
        account = self._args.account
        statements = [
            writes(log.arn),
            traces(),
            Statement(
                INTERFACES,
                [
                    # Lambda makes no function whose role it finds unable to do this on any of the account's…
                    account.arn("ec2", "*/*"),
                    # …and uses it on these.
                    *(account.arn("ec2", f"{kind}/*") for kind in ("network-interface", "security-group", "subnet")),
                ],
            ),
            Statement(LOOKS, ["*"]),
            *sends(self._queue.arn, self._args.keys.logs_arn),
            *step.needs,
        ]
        return role(label, physical, trust("lambda.amazonaws.com", account.id), statements, self)


def powertools(region: str) -> str:
    """The ARN of the layer with ``aws_lambda_powertools``."""
    layer = f"AWSLambdaPowertoolsPythonV3-{RUNTIME.replace('.', '')}-x86_64"
    return f"arn:aws:lambda:{region}:{LAYER_ACCOUNT}:layer:{layer}:{LAYER_VERSION}"


def archive(module: str) -> pulumi.AssetArchive:
    """A step's zip: its module and what that imports of its own package, so that no other change makes a new one."""
    files = ["infra/__init__.py", "infra/lambdas/__init__.py", *sorted(_files_of(module, set()))]
    return pulumi.AssetArchive({file: pulumi.FileAsset(str(ROOT / file)) for file in files})


def _files_of(module: str, seen: set[str]) -> set[str]:
    file = f"{PACKAGE.replace('.', '/')}/{module}.py"
    if file not in seen:
        seen.add(file)
        for imported in _imported_from(ROOT / file):
            _files_of(imported, seen)
    return seen


def _imported_from(file: Path) -> Iterator[str]:
    """The modules of the package that a file imports."""
    for node in ast.walk(ast.parse(file.read_text(encoding="utf-8"))):
        if isinstance(node, ast.ImportFrom) and node.module == PACKAGE:
            yield from (each.name for each in node.names)
        elif isinstance(node, ast.ImportFrom) and (node.module or "").startswith(f"{PACKAGE}."):
            yield (node.module or "").removeprefix(f"{PACKAGE}.").partition(".")[0]
