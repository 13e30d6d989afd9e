"""Reach: the place's role may read what the settings name: secrets, models, and the keys that encrypt them."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from policies.fit.access import Grants, Target, arn, grants, of, secret
from policies.fit.misfit import Change, Misfit
from policies.fit.place import Place
from policies.fit.places.container_apps import ContainerApp
from policies.fit.places.ecs_task import EcsTask
from policies.fit.stores import bucket_key, folder_of_models, password_key, secret_named, tables
from policies.node import Resource

GET_SECRET = ("secretsmanager:DescribeSecret", "secretsmanager:GetSecretValue")
PULL = ("ecr:BatchGetImage", "ecr:GetDownloadUrlForLayer")
READ_TABLE = "dynamodb:GetItem"
DECRYPT = ("kms:Decrypt",)

OF_REGISTRY = re.compile(r"^\d{12}\.dkr\.ecr\.[a-z0-9-]+\.amazonaws\.com[a-z.]*/([^:@]+)")


@dataclass(frozen=True)
class Need:
    """``who``: what asks for it. ``resource``: as a policy would name it."""

    who: str
    actions: Sequence[str]
    resource: str
    target: Target
    via: str = ""


def reach(place: Place) -> Iterator[Misfit]:
    if isinstance(place, ContainerApp):
        yield from _keys_file(place)
        return
    roles = place.roles()
    yield from _held(place, roles, [*_keys(place), *_password(place), *_models(place)])
    for role in roles:
        yield from _held(place, [role], list(_tables(place, grants(place.stack, role))))
    if isinstance(place, EcsTask):
        yield from _held(place, place.execution_roles(), list(_image(place)))


def _held(place: Place, roles: Sequence[Resource], needs: Sequence[Need]) -> Iterator[Misfit]:
    allowed: list[Grants] = [grants(place.stack, role) for role in roles]
    name = f"role {roles[0].name}" if roles else "the place"
    for need in needs:
        missing = [
            action for action in need.actions if not any(each.allows(action, need.target, need.via) for each in allowed)
        ]
        if missing:
            denied = any(each.denies(action, need.target) for each in allowed for action in missing)
            statement = {"Effect": "Allow", "Action": missing, "Resource": [need.resource]}
            yield place.misfit(
                "reach",
                "",
                f"{need.who} asks for {', '.join(missing)} on {need.resource}",
                f"{name} may not" if roles else f"{name} has no role",
                "a role that may",
                () if denied or not roles else (Change("the program", f"policy of {name}", statement),),
                otherwise="no statement that denies it" if denied else "a role for it",
            )


def _keys(place: Place) -> Iterator[Need]:
    yield from _secret(place, "access.keys", place.settings.access.keys)


def _password(place: Place) -> Iterator[Need]:
    """Of a ledger's database."""
    usage = place.settings.usage
    yield from _secret(place, "usage.password", usage.password)
    key = password_key(place.stack, (usage.ledger or "").partition("?")[0].rpartition("/")[2])
    if usage.password is not None and key is not None:
        yield Need("the key of the ledger's password", DECRYPT, key, arn(key), "secretsmanager")


def _secret(place: Place, who: str, address: str | None) -> Iterator[Need]:
    scheme, _, rest = (address or "").partition(":")
    if scheme != "secretsmanager":
        return
    named = rest.partition("?")[0]
    found = secret_named(place.stack, named)
    name = str(found.get("name")) if found is not None else named
    whole = named if named.startswith("arn:") else f"arn:aws:secretsmanager:*:*:secret:{name}-??????"
    target = arn(named) if named.startswith("arn:") and found is None else secret(name)
    yield Need(who, GET_SECRET, whole, target)
    key = found.get("kmsKeyId") if found is not None else None
    if isinstance(key, str):
        yield Need(f"the key of the secret {name}", DECRYPT, key, arn(key), "secretsmanager")


def _models(place: Place) -> Iterator[Need]:
    where = folder_of_models(place)
    if where is None:
        return
    bucket, folder = where
    path = f"{bucket}/{folder.strip('/')}/*" if folder.strip("/") else f"{bucket}/*"
    # A file below it, so that a policy for a part of the folder isn't taken for all of it.
    file = f"{path.removesuffix('*')}{'any/' if place.on_ray else ''}model.onnx"
    yield Need("the models' folder", ("s3:GetObject",), f"arn:aws:s3:::{path}", of("s3", file))
    key = bucket_key(place.stack, bucket)
    if key is not None:
        yield Need(f"the key of the bucket {bucket}", DECRYPT, key, arn(key), "s3")


def _tables(place: Place, allowed: Grants) -> Iterator[Need]:
    """The settings name no table: what the role may read of the stack's, it can decrypt."""
    for name, key in tables(place.stack):
        if key is not None and allowed.allows(READ_TABLE, of("dynamodb", f"table/{name}")):
            yield Need(f"the key of the table {name}", DECRYPT, key, arn(key), "dynamodb")


def _image(place: Place) -> Iterator[Need]:
    found = OF_REGISTRY.match(str(place.image.get(default="")))
    if found:
        repository = f"repository/{found[1]}"
        yield Need("the image", PULL, f"arn:aws:ecr:*:*:{repository}", of("ecr", repository))


def _keys_file(place: ContainerApp) -> Iterator[Misfit]:
    """The file of the keys is a secret of the app's, in a folder that the container has."""
    scheme, _, path = (place.settings.access.keys or "").partition("://")
    if scheme != "file":
        return
    secrets = [each.get("name") for each in place.resource.each("configuration.secrets")]
    files = {
        f"{str(mount.get('mountPath')).rstrip('/')}/{item.get('path')}": item.get("secretRef")
        for mount in place.container.each("volumeMounts")
        for volume in place.resource.each("template.volumes")
        if volume.get("name") == mount.get("volumeName")
        for item in volume.each("secrets")
    }
    wanted = path.partition("?")[0]
    if files.get(wanted) is None or files[wanted] not in secrets:
        yield place.misfit(
            "reach",
            "template.volumes",
            f"access.keys is {scheme}://{wanted}",
            f"the container has {', '.join(sorted(files)) or 'no file of a secret'}",
            "a secret of the app in that file",
            [place.in_serving("access.keys", f"file://{each}") for each in sorted(files)][:1],
            otherwise="a volume with the secret",
        )
