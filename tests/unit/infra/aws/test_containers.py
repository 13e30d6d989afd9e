"""Container definitions: what is given is written as ECS spells it, and what is not is left to ECS."""

import json

import pulumi
import pulumi_aws as aws

from infra.aws.containers import Container, HealthCheck, definitions, start_statements, volume_name, volumes
from infra.aws.iam import policy
from infra.check.record import record
from infra.check.rules.containers import containers as rule

SMALL = Container("app", image="repository/app:1.0.0", log_group="/app", region="eu-west-1")
FULL = Container(
    "gpu",
    image="repository/gpu:1.0.0",
    log_group="/gpu",
    region="eu-west-1",
    entry_point=("serve",),
    command=("run",),
    environment={"B": "2", "A": "1"},
    secrets={"KEY": "arn:aws:secretsmanager:eu-west-1:123456789012:secret:key-AbCdEf:key::"},
    port=8000,
    health=HealthCheck(("true",)),
    cpu=2048,
    memory=8192,
    shared_memory=1024,
    gpus=1,
    writable=("/tmp", "/var/lib/ray"),
)


def test_a_container_can_write_to_tmp_alone_and_is_nobody_unless_told_otherwise() -> None:
    found = SMALL.document()
    assert found["readonlyRootFilesystem"] is True
    assert found["user"] == "10001:10001"
    assert [mount["containerPath"] for mount in found["mountPoints"]] == ["/tmp"]


def test_what_is_not_given_is_left_out() -> None:
    left_out = {"entryPoint", "command", "portMappings", "healthCheck", "cpu", "memory", "resourceRequirements"}
    assert not left_out & SMALL.document().keys()
    assert "sharedMemorySize" not in SMALL.document()["linuxParameters"]


def test_what_is_given_is_spelt_as_ecs_does() -> None:
    def program() -> None:
        task = aws.ecs.TaskDefinition(
            "task", family="task", container_definitions=definitions([SMALL, FULL]), volumes=volumes([SMALL, FULL])
        )
        pulumi.export("volumes", task.volumes)

    recording = record(program, project="p", stack="s", config={})
    assert list(rule(recording)) == []
    found = recording.named("task").inputs
    _, full = json.loads(found["containerDefinitions"])
    assert full["resourceRequirements"] == [{"type": "GPU", "value": "1"}]
    assert full["linuxParameters"]["sharedMemorySize"] == 1024
    assert full["healthCheck"]["command"] == ["CMD", "true"]
    assert [volume["name"] for volume in found["volumes"]] == ["tmp", "var-lib-ray"]
    assert [mount["sourceVolume"] for mount in full["mountPoints"]] == ["tmp", "var-lib-ray"]


def test_the_same_settings_make_the_same_text() -> None:
    assert [each["name"] for each in FULL.document()["environment"]] == ["A", "B"]


def test_volumes_are_named_for_their_folders() -> None:
    assert volume_name("/var/app.d/cache/") == "var-app_d-cache"


def test_a_task_without_secrets_starts_without_a_right_to_any() -> None:
    def program() -> None:
        repository, group = (f"arn:aws:{each}:eu-west-1:123456789012:app" for each in ("ecr", "logs"))
        pulumi.export("policy", policy(start_statements([repository], [group])))

    found = json.loads(record(program, project="p", stack="s", config={}).outputs["policy"])["Statement"]
    assert {action.partition(":")[0] for each in found for action in each["Action"]} == {"ecr", "logs"}
