"""Language models: what fits, and each misfit of their backends with a change after which it is gone."""

from __future__ import annotations

from typing import Any

import pytest

from tests.unit.policies.fit.broken import Broken, Edit, config, hold, on_both, program, serving, without
from tests.unit.policies.fit.worlds import World, allow

HAIKU = "anthropic.claude-haiku-4-5-20251001-v1:0"
PROFILE = f"us.{HAIKU}"
WORLDWIDE = f"global.{HAIKU}"
TWELVE = {"instance_type": "g6.12xlarge", "most": 4}
NEEDS = {"memory_gib": 4, "gpu_memory_gib": 17.5}
PASSWORD = "arn:aws:secretsmanager:us-east-1:123456789012:secret:rds!db-1-AbCdEf"
POSTGRES = "postgresql://usage@ledger:5432/usage?sslmode=require"


def backends(**sections: dict[str, Any]) -> Edit:
    names = {name: {"routes": [{"backend": name}]} for name in sections}
    return on_both(
        serving("backends", dict(sections)), serving("language_models", names), serving("usage", {"ledger": None})
    )


def own(**changed: Any) -> Edit:
    section = {"kind": "vllm", "model": "registry:chat@champion", "gpus": 1, "cpus": 2, "needs": NEEDS}
    return backends(own={**section, **changed})


def bought(**changed: Any) -> Edit:
    return backends(bought={"kind": "bedrock", "model": HAIKU, "regions": ["us-east-1"], **changed})


def listed(**section: Any) -> Edit:
    return lambda world: world.config.update({"bedrock": {"models": [HAIKU], **section}})


GUARDED = {"id": "abc123def456", "version": "1"}

FITTING: list[tuple[str, Edit]] = [
    ("instances", own()),
    ("ray", own()),
    ("instances", own(kind="huggingface")),
    ("ray", own(model="registry:chat/3", replicas=2)),
    ("fargate", on_both(bought(), listed())),
    ("ray", on_both(bought(), listed())),
    ("fargate", on_both(bought(model=PROFILE), listed(profiles=[PROFILE], profile_regions=["us-east-1", "us-west-2"]))),
    ("fargate", on_both(bought(model=WORLDWIDE), listed(profiles=[WORLDWIDE]))),
    ("fargate", on_both(bought(guardrail=GUARDED), listed(guardrails=["abc123def456"]))),
    (
        "fargate",
        on_both(
            bought(regions=["us-east-1", "eu-west-1"]), listed(regions=["eu-west-1"]), config("network", "nat", True)
        ),
    ),
    ("fargate", on_both(bought(endpoint="https://gateway.internal"), listed())),
    ("instances", on_both(own(model="meta/llama-3b"), config("network", "nat", True))),
]

BROKEN = [
    Broken(
        "fargate",
        bought(),
        "bedrock",
        (
            "backends.bought asks for bedrock:InvokeModel, bedrock:InvokeModelWithResponseStream on "
            f"arn:aws:bedrock:us-east-1::foundation-model/{HAIKU}",
            "role task may not",
            f"bedrock.models: ['{HAIKU}'] in Pulumi.test.yaml",
        ),
    ),
    Broken(
        "ray",
        on_both(bought(model="amazon.nova-lite-v1:0"), listed()),
        "bedrock",
        ("role pods may not", f"bedrock.models: ['{HAIKU}', 'amazon.nova-lite-v1:0'] in Pulumi.test.yaml"),
    ),
    Broken(
        "fargate",
        on_both(bought(model=PROFILE), listed()),
        "bedrock",
        (f"arn:aws:bedrock:us-east-1:*:inference-profile/{PROFILE}", f"bedrock.profiles: ['{PROFILE}']"),
    ),
    Broken(
        "fargate",
        on_both(bought(model=WORLDWIDE), listed()),
        "bedrock",
        (f"arn:aws:bedrock:::foundation-model/{HAIKU}", f"bedrock.profiles: ['{WORLDWIDE}']"),
    ),
    Broken(
        "fargate",
        on_both(bought(regions=["us-east-1", "us-west-2"]), listed(), config("network", "nat", True)),
        "bedrock",
        (f"arn:aws:bedrock:us-west-2::foundation-model/{HAIKU}", "bedrock.regions: [us-west-2]"),
    ),
    # A profile leads there, and whoever asks without it may not.
    Broken(
        "fargate",
        on_both(
            bought(regions=["us-west-2"]),
            listed(profiles=[PROFILE], profile_regions=["us-west-2"]),
            config("network", "nat", True),
        ),
        "bedrock",
        (f"arn:aws:bedrock:us-west-2::foundation-model/{HAIKU}", "bedrock.regions: [us-west-2]"),
    ),
    Broken(
        "fargate",
        on_both(bought(regions=["us-east-1", "us-west-2"]), listed(regions=["us-west-2"])),
        "bedrock",
        ("asks Bedrock in us-west-2", "the network leads to no address of it", "network.nat: true in Pulumi.test.yaml"),
    ),
    Broken(
        "fargate",
        on_both(bought(guardrail=GUARDED), listed()),
        "bedrock",
        ("bedrock:ApplyGuardrail on arn:aws:bedrock:us-east-1:*:guardrail/abc123def456", "guardrails: [abc123def456]"),
    ),
    Broken(
        "fargate",
        on_both(
            bought(), lambda world: world.program["statements"].append({**allow(["bedrock:*"], "*"), "Effect": "Deny"})
        ),
        "bedrock",
        ("may not", "no statement that denies it"),
        False,
    ),
    Broken(
        "fargate",
        on_both(bought(model="arn:aws:bedrock:us-east-1:123456789012:application-inference-profile/a1b2"), listed()),
        "bedrock",
        ("application-inference-profile/a1b2", "a policy that names it"),
        False,
    ),
    Broken("app", bought(), "bedrock", ("backends.bought asks for", "no credentials of AWS", "azure.serving"), False),
    Broken(
        "instances",
        own(model="meta/llama-3b"),
        "engines",
        ("backends.own.model is meta/llama-3b of a hub", "the network leads to AWS alone", "network.nat: true"),
    ),
    Broken(
        "instances",
        own(needs={"memory_gib": 4}),
        "engines",
        ("how much of their memory it takes is not said", "backends.own.needs.gpu_memory_gib", "python -m infra fit"),
        False,
    ),
    Broken(
        "instances",
        own(gpus=0.5, needs={"gpu_memory_gib": 8}),
        "engines",
        ("vLLM takes 0.9 of its memory", "at most 0.5", "backends.own.arguments.gpu-memory-utilization: 0.45"),
    ),
    # Two GPUs have room for it together, and one alone has not.
    Broken(
        "ray",
        on_both(own(gpus=2, needs={"memory_gib": 4, "gpu_memory_gib": 40}), config("eks", "gpus", TWELVE)),
        "engines",
        ("backends.own.gpus is 2", "vLLM uses one: tensor_parallel is 1", "backends.own.tensor_parallel: 2"),
    ),
    Broken(
        "instances",
        own(needs={"gpu_memory_gib": 40}),
        "gpus",
        (
            "backends.own asks for 40960 MiB of each GPU",
            "the L4 of g6.xlarge has 22888 MiB",
            "instance_type: g6e.xlarge",
        ),
    ),
    # A version that the alias names anew starts beside the one before it, and a cluster that takes over beside both.
    Broken(
        "ray",
        own(replicas=2),
        "replicas",
        ("those of the cluster that takes over need 6 instances", "(g6.2xlarge) has at most 4", "eks.gpus.most: 6"),
    ),
    Broken(
        "ray",
        own(tensor_parallel=4, needs={"memory_gib": 4, "gpu_memory_gib": 60}),
        "nodes",
        ("a pod of group gpu asks for 2 CPUs, 6144 MiB, 4 GPUs", "g6.12xlarge"),
    ),
    Broken(
        "instances",
        own(needs={"memory_gib": 20, "gpu_memory_gib": 17.5}),
        "memory",
        ("backends.own 1 × 20670 MiB", "the task has 12288 MiB", "GPU_TASK_MEMORY: 24576", "instance_type: g6.2xlarge"),
    ),
    Broken("instances", own(cpus=4), "cpu", ("backends.own 1 × 4 ask for 4.5 CPUs", "the task has 4", "g6.2xlarge")),
    Broken("fargate", own(), "gpus", ("backends.own 1 × 1 ask for 1 GPUs", "the task has none", "ecs.gpus"), False),
    Broken(
        "instances",
        on_both(own(), program(image="ours/serve-gpu:1")),
        "image",
        ("backends.own.kind vllm needs vllm", "the image serve-gpu has no such package", "serve-llm"),
    ),
    Broken(
        "fargate",
        on_both(bought(), listed(), program(image="ours/lambda:1")),
        "image",
        ("backends.bought.kind bedrock needs httpx", "the image lambda has no such package"),
    ),
    Broken(
        "fargate",
        on_both(backends(vectors={"kind": "onnx", "model": "registry:tiny@champion", "memory_gib": 1.5})),
        "memory",
        # Twice, for a new version is loaded beside the one whose place it takes.
        ("ingress 1 × 3262 MiB", "ecs.size: {cpu: 2048, memory: 6144}"),
    ),
    Broken(
        "fargate",
        on_both(bought(), listed(), serving("usage", {"ledger": POSTGRES, "password": f"secretsmanager:{PASSWORD}"})),
        "reach",
        ("usage.password asks for secretsmanager:DescribeSecret, secretsmanager:GetSecretValue", "role task may not"),
    ),
    Broken(
        "fargate",
        on_both(
            bought(),
            listed(),
            serving("usage", {"ledger": POSTGRES, "password": f"secretsmanager:{PASSWORD}"}),
            lambda world: world.program["statements"].append(
                allow(["secretsmanager:DescribeSecret", "secretsmanager:GetSecretValue"], PASSWORD)
            ),
            without("kms:Decrypt"),
        ),
        "reach",
        ("the key of the ledger's password asks for kms:Decrypt", "role task may not"),
    ),
    Broken(
        "fargate",
        on_both(bought(), listed(), serving("usage", {"ledger": POSTGRES}), program(doors={"clients": 80})),
        "ports",
        (
            "usage.ledger is at port 5432",
            "security groups tasks, clients have no rule (egress) for it: 443, 80",
            "egress of security group clients: 5432",
        ),
    ),
]


@pytest.mark.parametrize(("kind", "edit"), FITTING)
def test_what_is_listed_and_has_room_fits(kind: str, edit: Edit) -> None:
    world = World(kind)
    edit(world)
    assert world.misfits() == []


@pytest.mark.parametrize("broken", BROKEN, ids=str)
def test_a_misfit_names_both_sides_and_a_change_after_which_it_fits(broken: Broken) -> None:
    hold(broken)
