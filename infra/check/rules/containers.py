"""Container definitions, held against AWS's own description of them in botocore: a plan takes any JSON."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from infra.check.finding import Finding
from infra.check.record import Recording
from policies.reading.containers import TASK
from policies.reading.shapes import shape_of
from policies.reading.walk import document

PATH = "containerDefinitions"


def containers(recording: Recording) -> Iterator[Finding]:
    """Known keys of the right type, an image, one essential container, and no name twice."""
    for task in recording.of_type(TASK):
        found = document(task.inputs.get(PATH))
        if not isinstance(found, list) or not found:
            yield Finding(task.label, PATH, "a JSON list of containers", task.inputs.get(PATH))
            continue
        for index, container in enumerate(found):
            yield from _container(task.label, f"{PATH}[{index}]", container)
        names = [each.get("name") for each in found if isinstance(each, dict)]
        for name in {each for each in names if names.count(each) > 1}:
            yield Finding(task.label, PATH, "each name once", name)
        if not any(each.get("essential", True) for each in found if isinstance(each, dict)):
            yield Finding(task.label, PATH, "one essential container", "none")


def _container(label: str, path: str, container: Any) -> Iterator[Finding]:
    if not isinstance(container, dict):
        yield Finding(label, path, "a container", container)
        return
    yield from _shaped(label, path, container, shape_of("ecs", "ContainerDefinition"))
    for key in ("name", "image"):
        if not container.get(key):
            yield Finding(label, f"{path}.{key}", f"the container's {key}", container.get(key))
    if str(container.get("image", "")).endswith(":latest"):
        yield Finding(label, f"{path}.image", "a tag that names a version", container["image"])
    for index, secret in enumerate(container.get("secrets") or []):
        if isinstance(secret, dict) and not str(secret.get("valueFrom", "")).startswith("arn:"):
            yield Finding(label, f"{path}.secrets[{index}].valueFrom", "a secret's ARN", secret.get("valueFrom"))


def _shaped(label: str, path: str, value: Any, shape: Any) -> Iterator[Finding]:
    """``value`` against botocore's shape, to the last leaf."""
    kind = shape.type_name
    if kind == "structure":
        if not isinstance(value, dict):
            yield Finding(label, path, "an object", value)
            return
        for key, each in value.items():
            if key not in shape.members:
                yield Finding(label, f"{path}.{key}", f"one of {', '.join(sorted(shape.members))}", key)
            else:
                yield from _shaped(label, f"{path}.{key}", each, shape.members[key])
        for key in shape.required_members:
            if key not in value:
                yield Finding(label, f"{path}.{key}", "to be given", "nothing")
    elif kind == "list":
        if not isinstance(value, list):
            yield Finding(label, path, "a list", value)
            return
        for index, each in enumerate(value):
            yield from _shaped(label, f"{path}[{index}]", each, shape.member)
    elif kind == "map":
        if not isinstance(value, dict) or not all(isinstance(each, str) for each in value.values()):
            yield Finding(label, path, "texts by name", value)
    elif not isinstance(value, TYPES[kind]) or (kind == "integer" and isinstance(value, bool)):
        yield Finding(label, path, f"{kind}", value)
    elif getattr(shape, "enum", None) and value not in shape.enum:
        yield Finding(label, path, f"one of {', '.join(shape.enum)}", value)


TYPES: dict[str, tuple[type, ...]] = {
    "string": (str,),
    "integer": (int,),
    "long": (int,),
    "boolean": (bool,),
    "double": (int, float),
    "float": (int, float),
}
