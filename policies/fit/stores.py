"""Where a stack keeps what a service reads: secrets, models, tables, and the keys that encrypt them."""

from __future__ import annotations

from collections.abc import Iterator

from policies.fit.place import Place
from policies.node import Resource, Stack
from policies.reading.buckets import ENCRYPTION
from policies.reading.containers import ENVIRONMENT, TASK, variable

SECRET = "aws:secretsmanager/secret:Secret"  # noqa: S105 - a type
TABLE = "aws:dynamodb/table:Table"
DATABASE = "aws:rds/instance:Instance"
TRACKING = "MLFLOW_TRACKING_URI"
DESTINATION = "MLFLOW_ARTIFACTS_DESTINATION"
"""Of MLflow's server: where the versions lie."""


def secret_named(stack: Stack, named: str) -> Resource | None:
    """The stack's secret of this name or ARN."""
    for each in stack.of_type(SECRET):
        name = str(each.get("name"))
        if named == name or (named.startswith("arn:") and named.partition(":secret:")[2].startswith(name)):
            return each
    return None


def password_key(stack: Stack, database: str) -> str | None:
    """What encrypts the password that RDS keeps of a database, by its name."""
    for each in stack.of_type(DATABASE):
        key = each.get("masterUserSecretKmsKeyId")
        if each.get("dbName") == database and isinstance(key, str):
            return key
    return None


def folder_of_models(place: Place) -> tuple[str, str] | None:
    """Bucket and folder: of the one version that a function has, or of the stack's MLflow."""
    uri = place.variable("MODEL_URI").get() if not place.on_ray else None
    if place.on_ray and place.variable(TRACKING).get() is not None:
        uri = next(_destinations(place.stack), None)
    if not isinstance(uri, str) or not uri.startswith("s3://"):
        return None
    bucket, _, folder = uri.removeprefix("s3://").partition("/")
    return bucket, folder


def bucket_key(stack: Stack, bucket: str) -> str | None:
    for each in stack.of_type(*ENCRYPTION):
        if each.get("bucket") == bucket:
            for rule in each.each("rules"):
                key = rule.get("applyServerSideEncryptionByDefault.kmsMasterKeyId")
                if isinstance(key, str):
                    return key
    return None


def tables(stack: Stack) -> Iterator[tuple[str, str | None]]:
    """Each table's name, and its key where it has one of its own."""
    for each in stack.of_type(TABLE):
        key = each.get("serverSideEncryption.kmsKeyArn")
        yield str(each.get("name")), key if isinstance(key, str) else None


def _destinations(stack: Stack) -> Iterator[str]:
    for task in stack.of_type(TASK):
        containers = task.document("containerDefinitions")
        for container in containers.each() if containers else ():
            found = variable(container, DESTINATION, ENVIRONMENT[TASK])
            if found.value is not None:
                yield str(found.get())
