"""Where a stack serves, one kind a file. To add one: its file, and its line here."""

from __future__ import annotations

from collections.abc import Callable, Iterator

from policies.fit.place import Place
from policies.fit.places.container_apps import container_apps
from policies.fit.places.ecs_fargate import ecs_fargate
from policies.fit.places.ecs_instances import ecs_instances
from policies.fit.places.lambda_function import lambda_functions
from policies.fit.places.ray_service import ray_services
from policies.node import Stack

PLACES: tuple[Callable[[Stack], Iterator[Place]], ...] = (
    ecs_fargate,
    ecs_instances,
    ray_services,
    lambda_functions,
    container_apps,
)

TYPES = (
    "aws:ecs/service:Service",
    "aws:lambda/function:Function",
    "kubernetes:ray.io/v1:RayService",
    "azure-native:app:ContainerApp",
)
"""Of the resources that places are called by."""
