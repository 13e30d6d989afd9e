"""``containers-not-root``."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import Any

from policies.node import Node
from policies.reading.containers import ON_KUBERNETES, TASK, all_in, autoscaler, containers, pods
from policies.rule import Resource, Severity, Violation, rule


@rule(
    "containers-not-root",
    TASK,
    *ON_KUBERNETES,
    group="compute",
    severity=Severity.HIGH,
    remedy="the container's user '10001:10001' and read-only root, as infra.aws.containers and "
    "infra.aws.ray_service write them",
    source="https://docs.aws.amazon.com/AmazonECS/latest/developerguide/security-tasks-containers.html",
)
def containers_not_root(resource: Resource) -> Iterable[Violation]:
    """Containers run as a user that isn't root, on a root that can't be written, and can't become more."""
    if resource.type == TASK:
        for container in containers(resource):
            yield from _of_task(container)
        return
    for pod in pods(resource):
        for container in all_in(pod):
            yield from _of_pod(container, pod)
    options = autoscaler(resource)
    if options is not None:
        yield from _of_pod(options, next(pods(resource)))


def _of_task(container: Node) -> Iterator[Violation]:
    yield from container.require("user", "a user that isn't root", _is_user)
    yield from container.expect("readonlyRootFilesystem", True)
    yield from container.require("privileged", "not to be true", _is_off)


def _is_user(user: object) -> bool:
    """``UID``, ``UID:GID``, or names for them."""
    parts = str(user).split(":") if isinstance(user, str | int) and not isinstance(user, bool) else [""]
    return all(part.strip("0") not in ("", "root") for part in parts)


def _of_pod(container: Node, pod: Node) -> Iterator[Violation]:
    """What a container leaves out of it, its pod says.

    https://kubernetes.io/docs/concepts/security/pod-security-standards/
    """
    context = "securityContext"
    not_root = _own(container, pod, f"{context}.runAsNonRoot")
    if not_root is not True:
        yield container.violation(f"{context}.runAsNonRoot", "True", not_root)
    user = _own(container, pod, f"{context}.runAsUser")
    if user is not None and not _is_user(user):
        yield container.violation(f"{context}.runAsUser", "a user that isn't 0", user)
    yield from container.expect(f"{context}.allowPrivilegeEscalation", False)
    yield from container.expect(f"{context}.readOnlyRootFilesystem", True)
    yield from container.require(f"{context}.privileged", "not to be true", _is_off)


def _own(container: Node, pod: Node, path: str) -> Any:
    found = container.get(path)
    return pod.get(path) if found is None else found


def _is_off(value: object) -> bool:
    return value is None or value is False
