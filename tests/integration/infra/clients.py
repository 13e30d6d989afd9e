"""boto3's clients of the emulator."""

from __future__ import annotations

from typing import Any

import boto3

from infra.check.emulator import CREDENTIALS, Emulator

REGION = "us-east-1"


def client(service: str, server: Emulator) -> Any:
    return boto3.client(
        service,
        endpoint_url=server.url,
        region_name=REGION,
        aws_access_key_id=CREDENTIALS["AWS_ACCESS_KEY_ID"],
        aws_secret_access_key=CREDENTIALS["AWS_SECRET_ACCESS_KEY"],
    )
