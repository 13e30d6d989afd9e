"""Whatever is served on whatever nodes: each change that a misfit names makes it fit, and a smaller one would not."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from policies.fit.instances import INSTANCES, smallest
from policies.fit.misfit import Misfit
from policies.reading.fargate import MEMORY
from tests.unit.policies.fit.worlds import KINDS, World

ROUNDS = 8

counts = st.integers(1, 6)
shares = st.sampled_from([0.1, 0.25, 0.5, 1, 1.5, 2, 3, 8])
scales = st.tuples(counts, counts).map(lambda both: {"lowest": min(both), "highest": max(both)})


@st.composite
def deployments(draw: st.DrawFn) -> dict[str, Any]:
    found: dict[str, Any] = {"cpus": draw(shares)}
    found.update({"autoscaling": draw(scales)} if draw(st.booleans()) else {"replicas": draw(counts)})
    return found


@st.composite
def models(draw: st.DrawFn, *, gpus: bool) -> dict[str, Any]:
    needs: dict[str, Any] = {}
    if draw(st.booleans()):
        needs["memory_gib"] = draw(st.sampled_from([0.1, 0.5, 2, 7.5, 20]))
    if draw(st.booleans()):
        return {"needs": needs}
    found = {**draw(deployments()), "placement": "replica", "needs": needs}
    if gpus and draw(st.booleans()):
        found["gpus"] = draw(st.sampled_from([0.25, 0.5, 0.6, 1, 2, 4]))
        if draw(st.booleans()):
            needs["gpu_memory_gib"] = draw(st.sampled_from([1, 8, 20, 40, 70]))
        if draw(st.booleans()):
            needs["compute_capability"] = draw(st.sampled_from(["7.5", "8.0", "8.6", "8.9", "9.0"]))
    return found


@st.composite
def engines(draw: st.DrawFn) -> dict[str, Any]:
    found: dict[str, Any] = {"kind": "vllm", "cpus": draw(shares), "replicas": draw(st.integers(1, 2)), "needs": {}}
    found["model"] = draw(st.sampled_from(["registry:chat@champion", "meta/llama-3b"]))
    found["gpus"] = draw(st.sampled_from([0.25, 0.5, 1]))
    found["tensor_parallel"] = draw(st.sampled_from([1, 2, 4]))
    if draw(st.booleans()):
        found["needs"]["memory_gib"] = draw(st.sampled_from([2, 4, 20]))
    if draw(st.booleans()):
        found["needs"]["gpu_memory_gib"] = draw(st.sampled_from([8, 16.9, 40, 120]))
    return found


@st.composite
def bought(draw: st.DrawFn) -> dict[str, Any]:
    model = draw(st.sampled_from(["amazon.nova-lite-v1:0", "us.amazon.nova-pro-v1:0"]))
    regions = draw(st.lists(st.sampled_from(["us-east-1", "us-west-2", "eu-west-1"]), min_size=1, unique=True))
    guardrail = {"guardrail": {"id": "abc123def456"}} if draw(st.booleans()) else {}
    return {"kind": "bedrock", "model": model, "regions": regions, **guardrail}


@st.composite
def language(draw: st.DrawFn, *, gpus: bool) -> dict[str, Any]:
    """The sections of language models."""
    backends = {}
    if gpus and draw(st.booleans()):
        backends["own"] = draw(engines())
    if draw(st.booleans()):
        backends["bought"] = draw(bought())
    if draw(st.booleans()):
        memory = draw(st.sampled_from([0.1, 1.5]))
        backends["vectors"] = {"kind": "onnx", "model": "registry:tiny/1", "memory_gib": memory}
    names = {name: {"routes": [{"backend": name}]} for name in backends}
    return {"backends": backends, "language_models": names, "usage": {"ledger": None}} if backends else {}


@st.composite
def worlds(draw: st.DrawFn, kind: str) -> World:
    world = World(kind)
    names = ["parcels", "orders"][: draw(st.integers(1, 2))]
    world.serving["models"] = {name: draw(models(gpus=kind in ("instances", "ray"))) for name in names}
    world.serving["ingress"] = draw(deployments())
    if kind in ("fargate", "instances", "ray"):
        world.serving.update(draw(language(gpus=kind != "fargate")))
    size = draw(st.sampled_from([(cpu, mib) for cpu, allowed in MEMORY.items() for mib in allowed]))
    world.config["ecs"]["size"] = {"cpu": size[0], "memory": size[1]}
    world.config["azure"]["cpu"] = draw(st.integers(2, 16)) / 4
    world.config["function"]["memory"] = draw(st.integers(128, 10_240))
    world.config["function"]["timeout_seconds"] = draw(st.integers(1, 29))
    gpu_types = sorted(name for name, each in INSTANCES.items() if each.gpus)
    for section in ("ecs", "eks"):
        world.config[section]["gpus"] = {
            "instance_type": draw(st.sampled_from(gpu_types)),
            "least": 0,
            "most": draw(counts),
        }
    cpu_types = sorted(name for name, each in INSTANCES.items() if not each.gpus)
    world.config["eks"]["nodes"] = {"instance_type": draw(st.sampled_from(cpu_types)), "most": draw(counts)}
    return world


def same(misfit: Misfit, other: Misfit) -> bool:
    return (misfit.check, misfit.asks, misfit.got) == (other.check, other.asks, other.got)


@pytest.mark.parametrize("kind", KINDS)
@settings(max_examples=40, suppress_health_check=list(HealthCheck))
@given(data=st.data())
def test_a_change_that_is_named_makes_it_fit(kind: str, data: st.DataObject) -> None:
    world = data.draw(worlds(kind))
    for misfit in world.misfits():
        assert misfit.changes or misfit.otherwise
        if misfit.changes:
            after = world.with_changes(*misfit.changes).misfits()
            assert not any(same(misfit, each) for each in after), str(misfit)
    for _ in range(ROUNDS):
        changes = next((each.changes for each in world.misfits() if each.changes), ())
        if not changes:
            break
        world = world.with_changes(*changes)
    assert all(not each.changes for each in world.misfits())


@settings(max_examples=25)
@given(data=st.data())
def test_no_smaller_size_of_fargate_would_do(data: st.DataObject) -> None:
    world = data.draw(worlds("fargate"))
    given_size = world.config["ecs"]["size"]
    for misfit in world.misfits():
        for change in misfit.changes:
            if change.path != "ecs.size":
                continue
            for cpu, allowed in MEMORY.items():
                for memory in allowed:
                    smaller = cpu <= change.value["cpu"] and memory <= change.value["memory"]
                    larger_than_now = cpu >= given_size["cpu"] and memory >= given_size["memory"]
                    if smaller and larger_than_now and (cpu, memory) != (change.value["cpu"], change.value["memory"]):
                        world.config["ecs"]["size"] = {"cpu": cpu, "memory": memory}
                        assert world.misfits()
            world.config["ecs"]["size"] = given_size


def test_the_smallest_instance_is_of_the_same_family_where_one_fits() -> None:
    def fits(least: int) -> str:
        found = smallest(lambda each: each.cpus >= least and each.gpus == 0, INSTANCES["r7i.large"])
        assert found is not None
        return found.name

    assert fits(5) == "r7i.2xlarge"
    assert fits(1) == "r7i.large"
    assert smallest(lambda _: False) is None
    elsewhere = smallest(lambda each: each.gpu is not None and each.gpu.capability == "9.0", INSTANCES["g6.xlarge"])
    assert elsewhere is not None
    assert elsewhere.name == "p5.4xlarge"
