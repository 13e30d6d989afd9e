"""The containers that a resource runs, whatever its type calls them: their images and their variables."""

from __future__ import annotations

from collections.abc import Iterator, Mapping

from policies.node import UNKNOWN, Node, Resource, unknown_at
from policies.reading.walk import children

TASK = "aws:ecs/taskDefinition:TaskDefinition"
FUNCTION = "aws:lambda/function:Function"
SPARK = "aws:emrserverless/application:Application"
APPS = ("azure-native:app:ContainerApp", "azure-native:app:Job")
GROUP = "azure-native:containerinstance:ContainerGroup"

PODS: Mapping[str, str] = {
    "kubernetes:apps/v1:DaemonSet": "spec.template.spec",
    "kubernetes:apps/v1:Deployment": "spec.template.spec",
    "kubernetes:apps/v1:ReplicaSet": "spec.template.spec",
    "kubernetes:apps/v1:StatefulSet": "spec.template.spec",
    "kubernetes:batch/v1:CronJob": "spec.jobTemplate.spec.template.spec",
    "kubernetes:batch/v1:Job": "spec.template.spec",
    "kubernetes:core/v1:Pod": "spec",
}
"""Type → where its pod is."""

RAY: Mapping[str, str] = {
    "kubernetes:ray.io/v1:RayCluster": "spec",
    "kubernetes:ray.io/v1:RayJob": "spec.rayClusterSpec",
    "kubernetes:ray.io/v1:RayService": "spec.rayClusterConfig",
}
"""Type → where its Ray cluster is, which has the pods in groups.
https://ray-project.github.io/kuberay/reference/api/"""

ON_KUBERNETES = (*PODS, *RAY)


def pods(resource: Resource) -> Iterator[Node]:
    """The pods' specs."""
    if resource.type in PODS:
        yield resource.at(PODS[resource.type])
    elif resource.type in RAY:
        cluster = resource.at(RAY[resource.type])
        yield cluster.at("headGroupSpec.template.spec")
        for group in cluster.each("workerGroupSpecs"):
            yield group.at("template.spec")


def autoscaler(resource: Resource) -> Node | None:
    """The options of the container that KubeRay adds to the head's pod, where it adds one."""
    if resource.type not in RAY:
        return None
    cluster = resource.at(RAY[resource.type])
    return cluster.at("autoscalerOptions") if cluster.get("enableInTreeAutoscaling") else None


def containers(resource: Resource) -> Iterator[Node]:
    """All of them, those that run before the others too. A text that is no JSON counts as an empty one."""
    if resource.type == TASK:
        path = "containerDefinitions"
        found = resource.document(path)
        yield from [Node(None, path, resource.urn)] if found is None else found.each()
    elif resource.type in APPS:
        yield from all_in(resource.at("template"))
    elif resource.type == GROUP:
        yield from all_in(resource)
    for pod in pods(resource):
        yield from all_in(pod)


def all_in(holder: Node) -> Iterator[Node]:
    """Those of a pod, or of what has them as a pod does."""
    yield from holder.each("containers")
    yield from holder.each("initContainers")


def images(resource: Resource) -> Iterator[Node]:
    """Where each image is named. What may do without one of its own and has none is left out."""
    for container in containers(resource):
        yield container.at("image")
    options = autoscaler(resource)
    own = [options.at("image")] if options is not None else []
    if resource.type == FUNCTION:
        own.append(resource.at("imageUri"))
    elif resource.type == SPARK:
        own.append(resource.at("imageConfiguration.imageUri"))
    yield from (each for each in own if each.value is not None)


ENVIRONMENT: Mapping[str, str] = {TASK: "environment", GROUP: "environmentVariables"}
"""Type → what its containers call their variables; ``env`` for the others."""


def variables(resource: Resource) -> Iterator[tuple[str, Node]]:
    """Name and value of each variable that is written out. Those that name a secret have no value."""
    for container in containers(resource):
        for variable in container.each(ENVIRONMENT.get(resource.type, "env")):
            yield str(variable.get("name")), variable.at("value")
    if resource.type == FUNCTION:
        yield from _named(resource.at("environment.variables"))
    elif resource.type == SPARK:
        for configuration in resource.each("runtimeConfigurations"):
            yield from _named(configuration.at("properties"))


def variable(container: Node, name: str, path: str = "env") -> Node:
    """The value of the one of this name in the list at ``path``; a node of None where it has no such."""
    return next(
        (each.at("value") for each in container.each(path) if each.at("name").value == name),
        Node(None, container.path, container.urn),
    )


def _named(mapping: Node) -> Iterator[tuple[str, Node]]:
    if mapping.value is UNKNOWN:
        raise unknown_at(mapping.path)
    if isinstance(mapping.value, dict):
        names = [str(each) for each in mapping.value]
        paths = children(mapping.value, mapping.path)
        yield from ((name, Node(value, path, mapping.urn)) for name, (path, value) in zip(names, paths, strict=True))
