"""A small stack without a mistake, whose every part can be replaced by one with a mistake."""

from __future__ import annotations

import base64
import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pulumi
import pulumi_aws as aws

from infra.check.pack import config_file
from infra.check.record import Recording, record
from infra.naming import Naming
from infra.tagging import tag_everything

PROJECT = "ml-training-deployment"
SECRET = "https://example.com/hidden"
SETTINGS = """
config:
  aws:region: us-east-1
  ml-training-deployment:owner: ml
  ml-training-deployment:operations: {email: a@example.com, monthly_budget_usd: 1}
  ml-training-deployment:images: {tag: 0.1.0}
"""


def configure(folder: Path, config: Mapping[str, Any]) -> None:
    """How strict the policy pack is with the stack in ``folder``: a small one has next to nothing that it wants."""
    file = config_file(folder, "dev")
    file.parent.mkdir(parents=True, exist_ok=True)
    file.write_text(json.dumps(config))


ARN = "arn:aws:{}:us-east-1:123456789012:{}"
ACCESS = {
    "Version": "2012-10-17",
    "Statement": [
        {
            "Effect": "Allow",
            "Action": ["dynamodb:GetItem", "dynamodb:Query"],
            "Resource": [ARN.format("dynamodb", "table/store")],
        },
        {"Effect": "Allow", "Action": ["ecr:GetAuthorizationToken", "xray:PutTraceSegments"], "Resource": ["*"]},
    ],
}
TRUST = {
    "Version": "2012-10-17",
    "Statement": [
        {"Effect": "Allow", "Action": ["sts:AssumeRole"], "Principal": {"Service": ["ecs-tasks.amazonaws.com"]}}
    ],
}
CONTAINER = {
    "name": "serve",
    "image": "123456789012.dkr.ecr.us-east-1.amazonaws.com/mtd-dev/serve:0.1.0",
    "essential": True,
    "portMappings": [{"containerPort": 8080, "protocol": "tcp"}],
    "environment": [{"name": "MODELS_FOLDER", "value": "/models"}],
    "secrets": [{"name": "API_KEYS", "valueFrom": ARN.format("secretsmanager", "secret:keys-AbCdEf")}],
}
MACHINE = {
    "StartAt": "Train",
    "States": {
        "Train": {
            "Type": "Task",
            "Resource": ARN.format("lambda", "function:train"),
            "Retry": [{"ErrorEquals": ["States.TaskFailed"], "MaxAttempts": 2}],
            "Catch": [{"ErrorEquals": ["States.ALL"], "ResultPath": "$.error", "Next": "Failed"}],
            "Next": "Good",
        },
        "Good": {
            "Type": "Choice",
            "Choices": [{"Variable": "$.auc", "NumericGreaterThanEquals": 0.7, "Next": "Both"}],
            "Default": "Failed",
        },
        "Both": {
            "Type": "Parallel",
            "Branches": [{"StartAt": "Wait", "States": {"Wait": {"Type": "Wait", "Seconds": 1, "End": True}}}],
            "End": True,
        },
        "Failed": {"Type": "Fail", "Error": "Failed", "Cause": "see above"},
    },
}
USER_DATA = "#!/bin/bash\necho ECS_CLUSTER=mtd-dev >> /etc/ecs/ecs.config\n"


@dataclass(frozen=True)
class Parts:
    access: Any = field(default_factory=lambda: ACCESS)
    container: Any = field(default_factory=lambda: CONTAINER)
    machine: Any = field(default_factory=lambda: MACHINE)
    cpu: str = "512"
    memory: str = "1024"
    repository: str = "mtd-dev/serve"
    role_arn: str = ARN.format("iam", "role/x").replace("us-east-1", "")
    instance_type: str = "g6.xlarge"
    user_data: str = USER_DATA
    tags: bool = True
    secret_is_secret: bool = True
    secret_in_environment: bool = False
    export_kubeconfig: bool = False
    output_in_text: bool = False


GOOD = Parts()


def program(parts: Parts = GOOD) -> Callable[[], None]:
    return lambda: _make(parts)


def _make(parts: Parts) -> None:
    naming = Naming(PROJECT, "dev")
    if parts.tags:
        tag_everything(naming.tags("ml"))
    url = pulumi.Config().require_secret("webhook_url")
    repository = aws.ecr.Repository("serve", name=parts.repository)
    role = aws.iam.Role("serve", name=naming.name("serve"), assume_role_policy=json.dumps(TRUST))
    aws.iam.RolePolicy("serve", role=role.id, policy=json.dumps(parts.access))
    container = pulumi.Output.json_dumps({**parts.container, "environment": _environment(parts, url)})
    aws.ecs.TaskDefinition(
        "serve",
        family=naming.name("serve"),
        cpu=parts.cpu,
        memory=parts.memory,
        network_mode="awsvpc",
        requires_compatibilities=["FARGATE"],
        execution_role_arn=role.arn,
        container_definitions=container.apply(lambda text: f"[{text}]"),
    )
    aws.sfn.StateMachine(
        "train", name=naming.name("train"), role_arn=parts.role_arn, definition=json.dumps(parts.machine)
    )
    aws.ec2.LaunchTemplate(
        "gpus",
        name=naming.name("gpus"),
        instance_type=parts.instance_type,
        user_data=base64.b64encode(parts.user_data.encode()).decode(),
    )
    secret = aws.secretsmanager.Secret("webhook", name=naming.path("webhook"))
    if parts.secret_is_secret:
        aws.secretsmanager.SecretVersion("webhook", secret_id=secret.id, secret_string=url)
    else:
        url.apply(lambda value: _leak(value))
    if parts.output_in_text:
        aws.cloudwatch.LogGroup("serve", name=f"/of/{repository.arn}")
    pulumi.export("repository", repository.repository_url)
    pulumi.export("kubeconfig", "apiVersion: v1" if parts.export_kubeconfig else pulumi.Output.secret("apiVersion: v1"))


def _leak(value: str) -> None:
    aws.ssm.Parameter("webhook", name="/webhook", type="String", value=value)


def _environment(parts: Parts, url: pulumi.Output[str]) -> list[Any]:
    found = list(parts.container.get("environment", []))
    return [*found, {"name": "HOOK", "value": url}] if parts.secret_in_environment else found


def recorded(parts: Parts = GOOD, secret: str = SECRET) -> Recording:
    key = f"{PROJECT}:webhook_url"
    return record(program(parts), project=PROJECT, stack="dev", config={key: secret}, secret_keys=[key])
