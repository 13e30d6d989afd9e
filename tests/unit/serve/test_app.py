"""What Ray is asked to find free for each deployment."""

from __future__ import annotations

from typing import Any

import pytest

from serve.app import bind
from serve.settings import Settings
from training.registry import ModelVersion

VERSION = ModelVersion("parcels", "1", "", "0" * 64, "0" * 64)
OWN: dict[str, Any] = {"placement": "replica", "cpus": 2, "gpus": 0.5}


def asked(**models: dict[str, Any]) -> dict[str, dict[str, float]]:
    settings = Settings.model_validate({"ingress": {"cpus": 0.5}, "models": models})
    bound = bind(settings, dict.fromkeys(models, VERSION), "sqlite://")._bound_deployment
    deployments = [bound, *(each._bound_deployment for each in bound.init_args[4:])]
    return {each.name: each.ray_actor_options for each in deployments}


@pytest.mark.parametrize("needs", [{}, {"memory_gib": 3}])
def test_a_model_with_processes_of_its_own_has_its_memory_there(needs: dict[str, float]) -> None:
    found = asked(parcels={**OWN, "needs": needs})
    memory = {"memory": 3 * 2**30} if needs else {}
    assert found["model-parcels"] == {"num_cpus": 2, "num_gpus": 0.5, **memory}
    assert found["ingress"] == {"num_cpus": 0.5, "num_gpus": 0}


def test_models_in_the_ingress_have_their_memory_with_it() -> None:
    found = asked(parcels={"needs": {"memory_gib": 1}}, orders={"needs": {"memory_gib": 0.5}}, rest={})
    assert found == {"ingress": {"num_cpus": 0.5, "num_gpus": 0, "memory": 3 * 2**29}}
