"""AWS in this process, or behind a port of it (moto), with credentials that open nothing."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any
from unittest import mock

import boto3  # type: ignore[import-untyped]
from moto import mock_aws
from moto.server import ThreadedMotoServer

TABLE = "features"
BUCKET = "a-bucket"
REGION = "eu-west-1"

SETTINGS = {
    "AWS_ACCESS_KEY_ID": "test",
    "AWS_SECRET_ACCESS_KEY": "test",
    "AWS_REGION": REGION,
    "AWS_DEFAULT_REGION": REGION,
    "AWS_EC2_METADATA_DISABLED": "true",
    "AWS_CONFIG_FILE": os.devnull,
    "AWS_SHARED_CREDENTIALS_FILE": os.devnull,
}


@contextmanager
def running() -> Iterator[None]:
    """An account with an empty bucket and the online store's table."""
    others = {name: value for name, value in os.environ.items() if not name.startswith("AWS_")}
    with mock.patch.dict(os.environ, others | SETTINGS, clear=True), mock_aws():
        boto3.client("s3").create_bucket(Bucket=BUCKET, CreateBucketConfiguration={"LocationConstraint": REGION})
        make_table(boto3.client("dynamodb"))
        yield


@contextmanager
def served() -> Iterator[dict[str, str]]:
    """The environment of a process that finds an empty account behind a port of this machine."""
    server = ThreadedMotoServer("127.0.0.1", 0, verbose=False)
    server.start()
    host, port = server.get_host_and_port()
    try:
        yield SETTINGS | {"AWS_ENDPOINT_URL": f"http://{host}:{port}"}
    finally:
        server.stop()


def client(service: str, environment: dict[str, str]) -> Any:
    """A client of the account that :func:`served` gave the environment of."""
    return boto3.client(
        service,
        endpoint_url=environment["AWS_ENDPOINT_URL"],
        region_name=REGION,
        aws_access_key_id="test",
        aws_secret_access_key="test",
    )


def make_table(dynamodb: Any) -> None:
    """The online store's table, as the cloud program makes it."""
    dynamodb.create_table(
        TableName=TABLE,
        KeySchema=[
            {"AttributeName": "entity", "KeyType": "HASH"},
            {"AttributeName": "view", "KeyType": "RANGE"},
        ],
        AttributeDefinitions=[
            {"AttributeName": "entity", "AttributeType": "S"},
            {"AttributeName": "view", "AttributeType": "S"},
        ],
        BillingMode="PAY_PER_REQUEST",
    )
