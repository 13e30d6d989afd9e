"""The two stacks as they are: the dev one is made and taken down, the prod one is planned."""

from __future__ import annotations

import re
import subprocess
import sys
from collections.abc import Callable

import pytest
import yaml

from infra import settings
from infra.__main__ import program
from infra.check.record import Recording, record
from infra.check.signatures import is_secret
from infra.check.tool import Terraform
from tests.documentation import ROOT
from tests.integration.infra.conftest import Checked

pytestmark = [pytest.mark.integration, pytest.mark.timeout(1200)]


def recorded(stack: str) -> Recording:
    config = settings.config_of(ROOT / f"Pulumi.{stack}.yaml")
    return record(program, project=settings.PROJECT, stack=stack, config=config)


@pytest.fixture(scope="module")
def dev() -> Recording:
    return recorded("dev")


@pytest.fixture(scope="module")
def prod() -> Recording:
    return recorded("prod")


def types(recording: Recording) -> set[str]:
    return {each.type for each in recording.resources}


def test_what_a_stack_does_not_switch_on_is_not_made(dev: Recording, prod: Recording) -> None:
    for type_ in ("aws:eks/cluster:Cluster", "aws:autoscaling/group:Group", "aws:ec2/natGateway:NatGateway"):
        assert type_ not in types(dev)
        assert type_ in types(prod)
    assert not any(type_.startswith(("azure-native:", "kubernetes:")) for type_ in types(dev))


def test_each_output_that_a_user_needs_is_there_and_the_way_into_the_cluster_is_secret(
    dev: Recording, prod: Recording
) -> None:
    needed = {"ingress_url", "function_url", "tracking_url", "pipeline_arn", "artifacts_bucket", "data_bucket"}
    assert needed | {"api_keys_secret_arn", "repository_serve"} <= set(dev.outputs)
    assert {*dev.outputs, "kubeconfig", "cluster_name", "azure_url", "azure_registry"} <= set(prod.outputs)
    assert is_secret(prod.raw_outputs["kubeconfig"])


@pytest.mark.parametrize("stack", ["dev", "prod"])
def test_the_ingress_reads_its_keys_from_the_secret_that_the_stack_makes(
    stack: str, request: pytest.FixtureRequest
) -> None:
    recording: Recording = request.getfixturevalue(stack)
    [made] = [each for each in recording.of_type("aws:secretsmanager/secret:Secret") if "api-keys" in each.name]
    tasks = recording.of_type("aws:ecs/taskDefinition:TaskDefinition")
    texts = [
        variable["value"]
        for task in tasks
        for container in yaml.safe_load(task.inputs["containerDefinitions"])
        for variable in container["environment"]
        if variable["name"] == "SERVE_SETTINGS_YAML"
    ]
    assert texts
    for text in texts:
        assert yaml.safe_load(text)["access"]["keys"] == f"secretsmanager:{made.inputs['name']}?region=us-east-1"


def test_the_prod_stack_is_planned_by_the_real_provider_and_nothing_is_found(terraform: Terraform) -> None:
    command = [sys.executable, "-m", "infra", "check", "--stack", "prod", "--plan"]
    ran = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=900, check=False)
    assert ran.returncode == 0, ran.stdout + ran.stderr
    assert re.search(r"✓ plan .* \d+ resources", ran.stdout)
    assert "\n0 findings in " in ran.stdout


def test_the_dev_stack_is_made_on_the_emulator_and_nothing_of_it_is_left(dev_applied: Callable[[], Checked]) -> None:
    checked = dev_applied()
    assert checked.code == 0, checked.output
    made = re.search(r"✓ apply to the emulator .* (\d+) of (\d+) resources", checked.output)
    assert made is not None, checked.output
    assert int(made[1]) == int(made[2]) > 100
    assert re.search(r"✓ destroy .* 0 left", checked.output)
