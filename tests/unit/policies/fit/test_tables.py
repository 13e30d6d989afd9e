"""The tables are what they say that they are taken from."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
from moto.ec2.models.instance_types import INSTANCE_TYPES

from policies.fit import images
from policies.fit.checks.health import READY
from policies.fit.instances import INSTANCES
from policies.fit.nodes import on_ecs, on_eks
from policies.reading.gpus import has_gpu
from serve.gateway.open_inference import endpoints
from serve.llm.requirements import PACKAGES
from serve.runtimes import RUNTIMES

LOCKS = Path(__file__).parents[4] / "infra/images/locks"


@pytest.mark.parametrize("name", INSTANCES)
def test_an_instance_has_what_ec2_says_that_it_has(name: str) -> None:
    """As moto recorded it from DescribeInstanceTypes."""
    each, said = INSTANCES[name], INSTANCE_TYPES[name]
    gpus = said.get("GpuInfo", {}).get("Gpus", [])
    assert (each.cpus, each.memory_mib) == (said["VCpuInfo"]["DefaultVCpus"], said["MemoryInfo"]["SizeInMiB"])
    assert each.gpus == sum(gpu["Count"] for gpu in gpus)
    if each.gpu is not None:
        assert [(each.gpu.model, each.gpu.memory_mib)] == [
            (gpu["Name"], gpu["MemoryInfo"]["SizeInMiB"]) for gpu in gpus
        ]


@pytest.mark.parametrize("name", INSTANCES)
def test_the_rules_know_the_same_instances_for_ones_with_gpus(name: str) -> None:
    assert has_gpu(name) == (INSTANCES[name].gpus > 0)


@pytest.mark.parametrize("name", INSTANCES)
def test_less_is_left_of_an_instance_than_it_has(name: str) -> None:
    each = INSTANCES[name]
    for left in (on_ecs(each), on_eks(each)):
        assert 0.5 * each.memory_mib < left.memory_mib < each.memory_mib
        assert 0.75 * each.cpus < left.cpus <= each.cpus
        assert left.gpus == each.gpus


def packages(lock: str) -> set[str]:
    return set(re.findall(r"^([a-z0-9._-]+)==", (LOCKS / f"{lock}.lock").read_text(), re.MULTILINE))


@pytest.mark.parametrize("variant", images.VARIANTS)
def test_an_image_has_what_its_lock_installs(variant: str) -> None:
    asked_for = images.ON_RAY | images.ON_LAMBDA | set(images.KEY_STORES.values()) | {images.TOKENS}
    asked_for = asked_for.union(*images.RUNTIMES.values(), images.ON_GPUS.values(), images.LEDGERS.values())
    if variant != "lambda":
        asked_for = asked_for.union(*(one for each in images.BACKENDS.values() for one in each))
    assert images.VARIANTS[variant] == packages(variant) & asked_for


def test_each_kind_of_backend_has_here_what_it_looks_for_when_it_starts() -> None:
    named = {"botocore": "boto3"}
    assert set(images.BACKENDS) == set(PACKAGES)
    for kind, (packages_, _) in PACKAGES.items():
        for each in packages_:
            assert any(named.get(each, each) in one for one in images.BACKENDS[kind])


def test_each_runtime_of_the_ingress_has_its_packages_here() -> None:
    assert set(images.RUNTIMES) == set(RUNTIMES)
    assert set(images.ON_GPUS) <= set(RUNTIMES)


@pytest.mark.parametrize(
    ("image", "variant"),
    [
        ("123456789012.dkr.ecr.us-east-1.amazonaws.com/mtd-dev/serve:0.1.0", "serve"),
        ("registry.azurecr.io/serve-gpu:1", "serve-gpu"),
        ("localhost:5000/lambda", "lambda"),
        ("serve@sha256:0123ab", "serve"),
        ("", ""),
    ],
)
def test_the_variant_is_the_last_part_of_an_image_s_name(image: str, variant: str) -> None:
    assert images.variant_of(image) == variant


def test_the_ingress_answers_where_it_is_asked_whether_it_is_ready() -> None:
    assert READY in {each.path for each in endpoints.ENDPOINTS if each.open}
