"""Each check: what fits, and each misfit with both sides and a change after which it is gone."""

from __future__ import annotations

import pytest

from tests.unit.policies.fit.broken import Broken, config, hold, model, on_both, program, serving, wire, without
from tests.unit.policies.fit.worlds import KINDS, World, allow

BROKEN = [
    Broken(
        "fargate",
        serving("ingress", {"cpus": 1.5, "replicas": 2}),
        "cpu",
        ("ingress 2 × 1.5 ask for 3 CPUs", "the task has 2", "ecs.size: {cpu: 4096, memory: 8192} in Pulumi.test.yaml"),
    ),
    Broken("fargate", serving("ingress", {"replicas": 40}), "cpu", ("40 CPUs", "no ECS service has as many"), False),
    Broken(
        "fargate",
        serving("models", {"parcels": {"needs": {"memory_gib": 4}}}),
        "memory",
        (
            "ingress 1 × 4286 MiB + Ray 1620 MiB ask for 5906 MiB",
            "the task has 4096 MiB, of which Ray uses 95%",
            "at least 6217 MiB",
            "ecs.size: {cpu: 2048, memory: 7168}",
        ),
    ),
    Broken(
        "fargate",
        model(gpus=1),
        "gpus",
        ("models.parcels 1 × 1 ask for 1 GPUs", "the task has none", "ecs.gpus"),
        False,
    ),
    Broken(
        "fargate",
        serving("ingress", {"autoscaling": {"highest": 4}, "cpus": 1}),
        "replicas",
        ("ingress 4 × 1 ask for 4 CPUs at their highest", "the task has 2", "ecs.size: {cpu: 4096, memory: 8192}"),
    ),
    Broken(
        "fargate",
        serving("ingress", {"autoscaling": {"highest": 40}, "cpus": 1}),
        "replicas",
        ("40 CPUs at their highest", "ingress.autoscaling.highest: 2 in the serving settings"),
    ),
    Broken(
        "app",
        config("azure", "cpu", 0.5),
        "cpu",
        ("ask for 0.5 CPUs", "a replica of the app has 0", "azure.cpu: 1.0 in Pulumi.test.yaml"),
    ),
    Broken(
        "app",
        serving("models", {"parcels": {"needs": {"memory_gib": 3}}}),
        "memory",
        ("3262 MiB", "has 2048 MiB", "azure.cpu: 2.75"),
    ),
    Broken("app", serving("http.port", 9000), "ports", ("http.port is 9000", "is 8000", "http.port: 8000 in the serv")),
    Broken(
        "app", wire("the startup probe's port", 81), "ports", ("http.port is 8000", "the startup probe's port is 81")
    ),
    Broken(
        "app",
        wire("the readiness probe", "/ping"),
        "health",
        ("answers on /v2/health/ready", "the readiness probe asks /ping", "/v2/health/ready in the program"),
    ),
    Broken(
        "app",
        serving("access", {"keys": "file:///run/other/keys"}),
        "reach",
        ("access.keys is file:///run/other/keys", "/run/keys/api-keys", "access.keys: file:///run/keys/api-keys"),
    ),
    Broken(
        "instances",
        model(gpus=2, cpus=1),
        "nodes",
        ("2 GPUs", "an instance of auto scaling group machines (g6.xlarge)", "ecs.gpus.instance_type: g6.12xlarge"),
    ),
    Broken(
        "instances",
        model(gpus=1, needs={"gpu_memory_gib": 30}),
        "gpus",
        ("models.parcels asks for 30720 MiB of each GPU", "the L4 of g6.xlarge has 22888 MiB", "g6e.xlarge"),
    ),
    Broken(
        "instances",
        model(gpus=0.5, replicas=2, needs={"gpu_memory_gib": 14}),
        "gpus",
        ("28672 MiB of each GPU", "the L4 of g6.xlarge has 22888 MiB", "g6e.xlarge"),
    ),
    Broken(
        "instances",
        model(gpus=1, needs={"compute_capability": "7.5"}),
        "gpus",
        ("built for compute capability 7.5", "the L4 of g6.xlarge has 8.9", "a GPU of 7.5", "g4dn.xlarge"),
    ),
    Broken(
        "instances",
        model(gpus=1, needs={"compute_capability": "5.0"}),
        "gpus",
        ("built for compute capability 5.0", "build models.parcels for 8.9"),
        False,
    ),
    Broken(
        "instances",
        model(gpus=1, needs={"memory_gib": 14}),
        "memory",
        ("the task has 12288 MiB", "GPU_TASK_MEMORY: 17408 in infra/aws/ingress.py", "instance_type: g6.2xlarge"),
    ),
    Broken("instances", model(gpus=1, cpus=6), "cpu", ("6.5 CPUs", "the task has 4", "instance_type: g6.2xlarge")),
    Broken(
        "instances",
        model(gpus=1, autoscaling={"highest": 3}),
        "replicas",
        ("models.parcels 3 × 1 ask for 3 GPUs", "the task has 1", "models.parcels.autoscaling.highest: 1"),
    ),
    Broken(
        "instances",
        program(tasks=3),
        "replicas",
        ("3 × the task need 3 instances", "(g6.xlarge) has at most 2", "ecs.gpus.most: 3 in Pulumi.test.yaml"),
    ),
    Broken(
        "instances",
        on_both(model(gpus=1), program(image="1.dkr.ecr.us-east-1.amazonaws.com/mtd-dev/serve:1")),
        "image",
        ("models.parcels.gpus 1 needs onnxruntime-gpu", "the image serve has no such package", "serve-gpu"),
    ),
    Broken(
        "fargate",
        program(image="ours/lambda:2"),
        "image",
        ("ECS service ingress needs ray", "image lambda has no such package", "image of ECS service ingress: serve"),
    ),
    Broken("fargate", program(image="ours/tuned@sha256:ab"), "image", ("the image tuned", "one of serve, serve-gpu")),
    Broken("ray", model(cpus=4), "nodes", ("4 CPUs, 12288 MiB", "(m7i.xlarge) has 3.57", "instance_type: m7i.2xlarge")),
    Broken(
        "ray",
        model(needs={"memory_gib": 4}),
        "memory",
        ("models.parcels 1 × 4286 MiB", "a pod of group cpu has 3072 MiB", "models.parcels.cpus: 2 in the serving"),
    ),
    Broken(
        "ray",
        model(gpus=1, needs={"compute_capability": "8.6"}),
        "gpus",
        ("capability 8.6", "the L4 of g6.2xlarge has 8.9", "eks.gpus.instance_type: g5.xlarge"),
    ),
    Broken(
        "ray",
        on_both(model(gpus=1), lambda world: world.config["eks"].pop("gpus")),
        "nodes",
        ("a pod of group gpu asks for 1 CPUs, 3072 MiB, 1 GPUs", "no group of nodes takes it", "eks.gpus"),
        False,
    ),
    Broken(
        "ray",
        on_both(
            model(cpus=2, autoscaling={"highest": 8}),
            config("eks", "nodes", {"instance_type": "m7i.xlarge", "most": 6}),
        ),
        "replicas",
        ("need 11 instances", "node group cpu (m7i.xlarge) has at most 6", "eks.nodes.most: 11"),
    ),
    Broken(
        "ray",
        config("eks", "nodes", {"instance_type": "x9.huge", "most": 6}),
        "nodes",
        ("what x9.huge has is not known here", "policies/fit/instances.py", "instance_type: m7i.large"),
    ),
    Broken("ray", wire("the readiness probe's port in group cpu", 1), "ports", ("is 8000", "in group cpu is 1")),
    Broken("ray", wire("the readiness probe in group cpu", "/"), "health", ("/v2/health/ready", "in group cpu asks /")),
    *(
        Broken(
            kind,
            without("secretsmanager:GetSecretValue"),
            "reach",
            ("access.keys asks for secretsmanager:DescribeSecret, secretsmanager:GetSecretValue", "may not"),
        )
        for kind in ("fargate", "ray", "lambda")
    ),
    Broken(
        "lambda",
        without("s3:GetObject"),
        "reach",
        ("asks for s3:GetObject on arn:aws:s3:::artifacts/models/parcels/1/*",),
    ),
    Broken("fargate", without("s3:GetObject"), "reach", ("on arn:aws:s3:::artifacts/mlflow/*", "role task may not")),
    Broken(
        "fargate", without("kms:Decrypt"), "reach", ("the key of the secret /mtd/dev/api-keys asks for kms:Decrypt",)
    ),
    Broken(
        "fargate",
        lambda world: world.program["statements"].append({**allow(["s3:*"], "*"), "Effect": "Deny"}),
        "reach",
        ("s3:GetObject", "may not", "no statement that denies it"),
        False,
    ),
    Broken(
        "fargate", program(execution=[]), "reach", ("the image asks for ecr:BatchGetImage", "role execution may not")
    ),
    Broken(
        "fargate",
        wire("the port of target group front", 80),
        "ports",
        ("http.port is 8000", "the port of target group front is 80"),
    ),
    Broken(
        "fargate", program(doors={"tasks": 22}), "ports", ("security group tasks has no rule (ingress) for it: 22",)
    ),
    Broken("fargate", program(doors={"balancer": 22}), "ports", ("security group balancer has no rule (egress)",)),
    Broken("fargate", wire("HEALTH_URL", "/ping"), "health", ("HEALTH_URL asks /ping",)),
    Broken("fargate", wire("the port of HEALTH_URL", 1), "ports", ("the port of HEALTH_URL is 1",)),
    Broken("fargate", wire("the health check of target group front", "/"), "health", ("front asks /",)),
    Broken(
        "lambda",
        serving("models", {"parcels": {"needs": {"memory_gib": 2}}}),
        "memory",
        ("models.parcels and Python ask for 2248 MiB", "the function has 1024 MiB", "function.memory: 2304"),
    ),
    Broken(
        "lambda",
        serving("models", {"parcels": {"needs": {"memory_gib": 12}}}),
        "memory",
        ("12488 MiB", "serve it by the ingress"),
        False,
    ),
    Broken(
        "lambda",
        serving("models", {"orders": {}}),
        "function",
        (
            "the settings serve orders",
            "MODEL_URI is s3://artifacts/models/parcels/1",
            "function.model: models/orders/1",
        ),
    ),
    Broken(
        "lambda",
        on_both(config("function", "memory", 256), config("function", "timeout_seconds", 5)),
        "function",
        ("a cold start with 256 MiB takes about 7 s", "time is 5 s", "function.timeout_seconds: 8"),
    ),
    Broken(
        "lambda",
        program(milliseconds=5000),
        "function",
        ("the function's time is 15 s", "the API waits 5000 ms", "timeoutMilliseconds of api: 15000"),
    ),
    Broken(
        "lambda",
        on_both(serving("models", {"parcels": {"placement": "replica", "gpus": 1}})),
        "gpus",
        ("models.parcels 1 × 1 ask for 1 GPUs", "the function has none"),
        False,
    ),
    Broken(
        "fargate",
        serving("models.parcels", {"runtime": "abacus"}),
        "settings",
        ("it would refuse them", "expected one of the runtimes onnx", "settings that it takes"),
        False,
    ),
]


@pytest.mark.parametrize("kind", KINDS)
def test_what_the_program_makes_of_small_settings_fits(kind: str) -> None:
    assert World(kind).misfits() == []


@pytest.mark.parametrize("broken", BROKEN, ids=str)
def test_a_misfit_names_both_sides_and_a_change_after_which_it_fits(broken: Broken) -> None:
    hold(broken)
