"""Small stacks as the program would make them, from settings that can be changed as a misfit says."""

from __future__ import annotations

import copy
import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

import yaml
from pydantic import ValidationError

from infra import settings as stack_settings
from infra.aws import bedrock, language, ray_service, served
from infra.aws.account import Account
from infra.aws.containers import Container, HealthCheck
from infra.aws.ingress_service import READY_COMMAND
from infra.naming import Naming
from policies.fit.engine import held
from policies.fit.misfit import Change, Misfit
from policies.node import Resource, Stack
from policies.testing import resource
from serve.settings import Settings
from tests.unit.policies.fit.stores import BUCKET, KEY, SECRET, TABLE, stores

REGISTRY = "123456789012.dkr.ecr.us-east-1.amazonaws.com/mtd-dev"

KINDS = ("fargate", "instances", "ray", "lambda", "app")

CONFIG: dict[str, Any] = {
    "ecs": {
        "size": {"cpu": 2048, "memory": 4096},
        "tasks": {"least": 1, "most": 2},
        "gpus": {"instance_type": "g6.xlarge", "least": 0, "most": 2},
    },
    "eks": {
        "nodes": {"instance_type": "m7i.xlarge", "most": 6},
        "gpus": {"instance_type": "g6.2xlarge", "most": 4},
    },
    "function": {"model": "models/parcels/1", "memory": 1024, "timeout_seconds": 15},
    "azure": {"cpu": 1.0, "most": 3},
    "network": {"nat": False},
}
SERVING: dict[str, Any] = {
    "http": {"host": "0.0.0.0", "port": 8000},
    "ingress": {"cpus": 0.5},
    "registry": {"cache": "/tmp/models"},
    "models": {"parcels": {}},
}


@dataclass
class World:
    """``config``: of the stack, ``serving``: what it serves, ``program``: what is written in the program itself."""

    kind: str
    config: dict[str, Any] = field(default_factory=lambda: copy.deepcopy(CONFIG))
    serving: dict[str, Any] = field(default_factory=lambda: copy.deepcopy(SERVING))
    program: dict[str, Any] = field(default_factory=dict)

    def __post_init__(self) -> None:
        store = "file:///run/keys/api-keys" if self.kind == "app" else f"secretsmanager:{SECRET}?region=us-east-1"
        self.serving.setdefault("access", {"keys": store})
        defaults = {
            "GPU_TASK_MEMORY": 12_288,
            "statements": self._statements(),
            "execution": [allow(["ecr:BatchGetImage", "ecr:GetDownloadUrlForLayer"], f"arn:aws:ecr:*:*:{REPOSITORY}*")],
            "milliseconds": 1000 * (self.config["function"]["timeout_seconds"] + 1),
            "wires": {},
            "doors": {},
        }
        self.program = {**defaults, **self.program}

    def _statements(self) -> list[dict[str, Any]]:
        folder = "models/parcels/1/*" if self.kind == "lambda" else "*"
        through = [f"{service}.us-east-1.amazonaws.com" for service in ("s3", "dynamodb")]
        return [
            allow(["secretsmanager:DescribeSecret", "secretsmanager:GetSecretValue"], f"{SECRET_ARN}-AbCdEf"),
            allow(["kms:Decrypt"], KEY.format(name="secrets"), via="secretsmanager.us-east-1.amazonaws.com"),
            allow(["s3:GetObject"], f"arn:aws:s3:::{BUCKET}/{folder}"),
            allow(["dynamodb:GetItem"], f"arn:aws:dynamodb:us-east-1:123456789012:table/{TABLE}"),
            allow(["kms:Decrypt"], KEY.format(name="data"), via=through),
        ]

    def image(self, *, gpus: bool = False) -> str:
        """As the program chooses it, where none is named."""
        name = language.gpu_image(self.settings) if gpus else language.pod_image(self.settings)
        return f"{REGISTRY}/{'lambda' if self.kind == 'lambda' else name}:1"

    def granted(self) -> list[dict[str, Any]]:
        """All that the role of the place may do, with what the stack's ``bedrock`` lists."""
        section = self.config.get("bedrock")
        if section is None:
            return list(self.program["statements"])
        listed = bedrock.statements(stack_settings.Bedrock.model_validate(section), ACCOUNT)
        return [*self.program["statements"], *(each.document() for each in listed)]

    @property
    def text(self) -> str:
        return yaml.safe_dump(self.serving, sort_keys=False)

    @property
    def settings(self) -> Settings:
        """As the program reads them; such as it reads, where it would refuse these."""
        try:
            return Settings.model_validate(self.serving)
        except ValidationError:
            return Settings.model_validate(SERVING)

    def stack(self) -> Stack:
        return Stack((*stores(), *_network(self), *BUILDERS[self.kind](self)))

    def misfits(self) -> list[Misfit]:
        [found] = held(self.stack())
        assert found.unknown is None
        return list(found.misfits)

    def with_changes(self, *changes: Change) -> World:
        made = copy.deepcopy(self)
        for change in changes:
            made._apply(change)
        return made

    def _apply(self, change: Change) -> None:
        # Settings go through YAML as they would through an editor.
        value = yaml.safe_load(str(change).partition(": ")[2].rpartition(" in ")[0])
        if change.file == "Pulumi.test.yaml":
            _put(self.config, change.path, value)
        elif change.file == "the serving settings":
            _put(self.serving, change.path, value)
        elif change.path == "GPU_TASK_MEMORY":
            assert change.file == "infra/aws/ingress.py"
            self.program["GPU_TASK_MEMORY"] = value
        elif change.path.startswith("policy of role execution"):
            self.program["execution"].append(value)
        elif change.path.startswith("policy of role"):
            self.program["statements"].append(value)
        elif change.path.startswith("image of"):
            self.program["image"] = f"{REGISTRY}/{value}:1"
        elif change.path.startswith("timeoutMilliseconds"):
            self.program["milliseconds"] = value
        elif " of security group " in change.path:
            self.program["doors"].pop(change.path.rpartition(" ")[2])
        else:
            self.program["wires"][change.path] = value

    def wire(self, name: str, value: Any) -> Any:
        return self.program["wires"].get(name, value)


ACCOUNT = Account("123456789012", "us-east-1", ("us-east-1a",), Naming("ml-training-deployment", "test"), 30, False)
REPOSITORY = "repository/mtd-dev/"
SECRET_ARN = f"arn:aws:secretsmanager:us-east-1:123456789012:secret:{SECRET}"


def allow(actions: list[str], on: str, via: Any = None) -> dict[str, Any]:
    found: dict[str, Any] = {"Effect": "Allow", "Action": actions, "Resource": [on]}
    return {**found, "Condition": {"StringEquals": {"kms:ViaService": via}}} if via else found


def _put(document: dict[str, Any], path: str, value: Any) -> None:
    *steps, last = path.split(".")
    for step in steps:
        document = document.setdefault(step, {})
    document[last] = value


def _network(world: World) -> list[Resource]:
    gateway = [resource("aws:ec2/natGateway:NatGateway", {}, "nat")] if world.config["network"]["nat"] else []
    if "bedrock" not in world.config:
        return gateway
    name = "com.amazonaws.us-east-1.bedrock-runtime"
    return [*gateway, resource("aws:ec2/vpcEndpoint:VpcEndpoint", {"serviceName": name}, "bedrock")]


def _role(name: str, statements: list[dict[str, Any]]) -> list[Resource]:
    role = resource("aws:iam/role:Role", {"name": name}, name)
    policy = json.dumps({"Version": "2012-10-17", "Statement": statements})
    return [role, resource("aws:iam/rolePolicy:RolePolicy", {"policy": policy}, name, links={"role": [role]})]


def _environment(world: World, health: str) -> dict[str, str]:
    url, port = world.wire("HEALTH_URL", health), world.wire("the port of HEALTH_URL", world.settings.http.port)
    return {
        "SERVE_SETTINGS_YAML": world.text,
        "MLFLOW_TRACKING_URI": "http://tracking",
        "AWS_DEFAULT_REGION": "us-east-1",
        "HEALTH_URL": f"http://127.0.0.1:{port}{url}",
        "RAY_DEFAULT_OBJECT_STORE_MAX_MEMORY_BYTES": str(served.OBJECT_STORE_BYTES),
    }


def _ecs(world: World, *, gpus: bool) -> list[Resource]:
    port = world.settings.http.port
    task_gpus = served.gpus_needed(world.settings) if gpus else 0
    container = Container(
        name="ingress",
        image=world.program.get("image") or world.image(gpus=gpus),
        log_group="logs",
        region="us-east-1",
        environment=_environment(world, served.READY),
        port=world.wire("the container's port", port),
        health=HealthCheck(READY_COMMAND),
        cpu=3072 if gpus else None,
        memory=world.program["GPU_TASK_MEMORY"] if gpus else None,
        gpus=task_gpus,
    ).document()
    roles = [*_role("task", world.granted()), *_role("execution", world.program["execution"])]
    size = {} if gpus else {key: str(value) for key, value in world.config["ecs"]["size"].items()}
    task = resource(
        "aws:ecs/taskDefinition:TaskDefinition",
        {
            "containerDefinitions": json.dumps([container]),
            "requiresCompatibilities": ["EC2" if gpus else "FARGATE"],
            **size,
        },
        "ingress",
        links={"taskRoleArn": [roles[0]], "executionRoleArn": [roles[2]]},
    )
    group = resource(
        "aws:lb/targetGroup:TargetGroup",
        {
            "port": world.wire("the port of target group front", port),
            "healthCheck": {"path": world.wire("the health check of target group front", served.READY)},
        },
        "front",
    )
    doors = world.program["doors"]
    front = resource(
        "aws:ec2/securityGroup:SecurityGroup", {"egress": [_door(doors.get("balancer", port))]}, "balancer"
    )
    tasks = resource(
        "aws:ec2/securityGroup:SecurityGroup",
        {"ingress": [_door(doors.get("tasks", port))], "egress": [_door(443)]},
        "tasks",
        links={"ingress": [front]},
    )
    clients = resource(
        "aws:ec2/securityGroup:SecurityGroup", {"egress": [_door(doors.get("clients", 5432))]}, "clients"
    )
    links = {
        "taskDefinition": [task],
        "loadBalancers": [group],
        "networkConfiguration": [tasks, clients],
    }
    machines = _machines(world) if gpus else []
    service = resource(
        "aws:ecs/service:Service",
        {
            "launchType": None if gpus else "FARGATE",
            "loadBalancers": [{"containerPort": world.wire("the service's port", port)}],
        },
        "ingress",
        links={**links, **({"capacityProviderStrategies": [machines[-1]]} if gpus else {})},
    )
    scale = world.config["ecs"]["gpus" if gpus else "tasks"]
    most = world.program.get("tasks", scale["most"])
    target = resource(
        "aws:appautoscaling/target:Target",
        {"minCapacity": scale["least"], "maxCapacity": most},
        links={"resourceId": [service]},
    )
    return [*roles, task, group, front, tasks, clients, *machines, service, target]


def _machines(world: World) -> list[Resource]:
    chosen = world.config["ecs"]["gpus"]
    template = resource("aws:ec2/launchTemplate:LaunchTemplate", {"instanceType": chosen["instance_type"]}, "template")
    group = resource(
        "aws:autoscaling/group:Group", {"maxSize": chosen["most"]}, "machines", links={"launchTemplate": [template]}
    )
    provider = resource(
        "aws:ecs/capacityProvider:CapacityProvider", {}, "provider", links={"autoScalingGroupProvider": [group]}
    )
    return [template, group, provider]


def _door(port: int) -> dict[str, Any]:
    return {"protocol": "tcp", "fromPort": port, "toPort": port}


def _ray(world: World) -> list[Resource]:
    images = ray_service.Images(world.program.get("image") or world.image(), world.image(gpus=True))
    document = ray_service.ray_service("ingress", world.settings, images, _environment(world, served.READY))
    for group in document["spec"]["rayClusterConfig"]["workerGroupSpecs"]:
        probe = group["template"]["spec"]["containers"][0]["readinessProbe"]["httpGet"]
        name = group["groupName"]
        probe["path"] = world.wire(f"the readiness probe in group {name}", probe["path"])
        probe["port"] = world.wire(f"the readiness probe's port in group {name}", probe["port"])
    chosen = world.config["eks"]
    nodes = [_nodes("cpu", chosen["nodes"], {"accelerator": "none"}, [])]
    if "gpus" in chosen:
        taint = {"key": "nvidia.com/gpu", "value": "true", "effect": "NO_SCHEDULE"}
        nodes.append(_nodes("gpu", chosen["gpus"], {"accelerator": "nvidia"}, [taint]))
    roles = _role("pods", world.granted())
    identity = resource(
        "aws:eks/podIdentityAssociation:PodIdentityAssociation",
        {"namespace": "serving", "serviceAccount": "serving"},
        links={"roleArn": [roles[0]]},
    )
    return [*nodes, *roles, identity, resource("kubernetes:ray.io/v1:RayService", document, "ingress")]


def _nodes(name: str, sizes: Mapping[str, Any], labels: Mapping[str, str], taints: list[dict[str, str]]) -> Resource:
    return resource(
        "aws:eks/nodeGroup:NodeGroup",
        {
            "nodeGroupName": name,
            "instanceTypes": [sizes["instance_type"]],
            "scalingConfig": {"maxSize": sizes["most"]},
            "labels": dict(labels),
            "taints": taints,
        },
        name,
    )


def _function(world: World) -> list[Resource]:
    chosen = world.config["function"]
    roles = _role("function", world.granted())
    variables = {"SERVE_SETTINGS_YAML": world.text, "MODEL_URI": f"s3://{BUCKET}/{chosen['model']}"}
    function = resource(
        "aws:lambda/function:Function",
        {
            "memorySize": chosen["memory"],
            "timeout": chosen["timeout_seconds"],
            "imageUri": world.program.get("image") or world.image(),
            "environment": {"variables": variables},
        },
        "predict",
        links={"role": [roles[0]]},
    )
    alias = resource("aws:lambda/alias:Alias", {}, "live", links={"functionName": [function]})
    api = resource(
        "aws:apigatewayv2/integration:Integration",
        {"timeoutMilliseconds": world.program["milliseconds"]},
        "api",
        links={"integrationUri": [alias]},
    )
    return [*roles, function, alias, api]


def _app(world: World) -> list[Resource]:
    cpu = world.config["azure"]["cpu"]
    probes = [
        {
            "type": type_,
            "httpGet": {
                "path": world.wire(f"the {type_.lower()} probe", path),
                "port": world.wire(f"the {type_.lower()} probe's port", 8000),
            },
        }
        for type_, path in (
            ("Startup", served.READY),
            ("Readiness", served.READY),
            ("Liveness", "/v2/health/live"),
        )
    ]
    container = {
        "name": "ingress",
        "image": world.program.get("image") or world.image(),
        "resources": {"cpu": cpu, "memory": f"{cpu * 2:.1f}Gi"},
        "env": [{"name": "SERVE_SETTINGS_YAML", "value": world.text}],
        "probes": probes,
        "volumeMounts": [{"volumeName": "keys", "mountPath": "/run/keys"}],
    }
    volume = {"name": "keys", "secrets": [{"secretRef": "api-keys", "path": "api-keys"}]}
    template = {
        "containers": [container],
        "volumes": [volume],
        "scale": {"minReplicas": 0, "maxReplicas": world.config["azure"]["most"]},
    }
    configuration = {
        "ingress": {"targetPort": world.wire("the app's target port", 8000)},
        "secrets": [{"name": "api-keys"}],
    }
    return [
        resource("azure-native:app:ContainerApp", {"template": template, "configuration": configuration}, "apps"),
    ]


BUILDERS: Mapping[str, Callable[[World], list[Resource]]] = {
    "fargate": lambda world: _ecs(world, gpus=False),
    "instances": lambda world: _ecs(world, gpus=True),
    "ray": _ray,
    "lambda": _function,
    "app": _app,
}
