"""AWS as the commands use it: clients that give up in time, and its errors as one line.

boto3 is imported when a client is made. Credentials, endpoint (``AWS_ENDPOINT_URL``) and, unless it is
given, the region are found as boto3 finds them.

Errors::

    UserError
    └── AwsError
        ├── AwsMissing       boto3 is not installed
        ├── AwsNotFound      no such bucket, table or object
        ├── AwsDenied        no credentials, bad ones, or ones that may not do it
        ├── AwsUnreachable   nothing answers at the endpoint, or no region says which one
        └── AwsRefused       AWS answered with another error
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from console import UserError, one_line

CONNECT_SECONDS = 5
READ_SECONDS = 60
TRIES = 5

NOT_FOUND = {"404", "NoSuchBucket", "NoSuchKey", "ResourceNotFoundException"}

DENIED = {
    "401",
    "403",
    "AccessDenied",
    "AccessDeniedException",
    "ExpiredToken",
    "ExpiredTokenException",
    "InvalidAccessKeyId",
    "InvalidClientTokenId",
    "InvalidSignatureException",
    "SignatureDoesNotMatch",
    "UnrecognizedClientException",
}


class AwsError(UserError):
    """AWS can't do what it was asked to."""


class AwsMissing(AwsError):
    """boto3 is not installed."""


class AwsNotFound(AwsError):
    """No such bucket, table or object."""


class AwsDenied(AwsError):
    """No credentials, bad ones, or ones that may not do it."""


class AwsUnreachable(AwsError):
    """Nothing answers at the endpoint, or no region says which one."""


class AwsRefused(AwsError):
    """AWS answered with another error."""


def client(service: str, where: str, connections: int = 10, tries: int = TRIES, region: str | None = None) -> Any:
    """A boto3 client, which several threads may share; ``where`` names in errors what it is for.

    ``region``: of a service that answers in one alone.

    Raises:
        AwsMissing: boto3 is not installed.
        AwsError: AWS's settings are not good for a client (no region, a profile that is not there).
    """
    try:
        import boto3  # type: ignore[import-untyped]
        from botocore.config import Config  # type: ignore[import-untyped]
    except ImportError as error:
        raise AwsMissing(f"{where}: boto3 is not installed: pip install 'ml-training-deployment[aws]'") from error
    config = Config(
        connect_timeout=CONNECT_SECONDS,
        read_timeout=READ_SECONDS,
        retries={"mode": "standard", "total_max_attempts": tries},
        max_pool_connections=connections,
    )
    with mapped(where, "make a client"):
        try:
            return boto3.Session().client(service, region_name=region, config=config)
        except ValueError as error:
            raise AwsRefused(
                f"{where}: {one_line(str(error))}: mend AWS's settings, such as AWS_ENDPOINT_URL"
            ) from error


@contextmanager
def mapped(where: str, action: str) -> Iterator[None]:
    """Turn what AWS or boto3 says into an :class:`AwsError` of one line: where, what was done, what to do."""
    from boto3.exceptions import RetriesExceededError  # type: ignore[import-untyped]
    from botocore import exceptions  # type: ignore[import-untyped]

    credentials = (
        exceptions.NoCredentialsError,
        exceptions.PartialCredentialsError,
        exceptions.CredentialRetrievalError,
    )
    unreached = (exceptions.ConnectionError, exceptions.HTTPClientError, RetriesExceededError)
    try:
        yield
    except exceptions.ClientError as error:
        raise _answered(where, action, error) from error
    except credentials as error:
        raise AwsDenied(
            f"{where}: can't {action}, no AWS credentials are found: set AWS_PROFILE, log in, or give this task a role"
        ) from error
    except exceptions.NoRegionError as error:
        raise AwsUnreachable(f"{where}: can't {action}, AWS's region is not known: set AWS_REGION") from error
    except unreached as error:
        raise AwsUnreachable(
            f"{where}: can't {action}, AWS is not reached ({one_line(str(error))}): "
            "see the network, AWS_ENDPOINT_URL and the region"
        ) from error
    except exceptions.BotoCoreError as error:
        raise AwsRefused(f"{where}: can't {action} ({one_line(str(error))}): see AWS's settings") from error


def code_of(error: BaseException | None) -> str:
    """AWS's code of a ``ClientError`` (``NoSuchBucket``, ``404``), or "" for anything else."""
    response = getattr(error, "response", None)
    return str(response.get("Error", {}).get("Code", "")) if isinstance(response, dict) else ""


def _answered(where: str, action: str, error: Exception) -> AwsError:
    code = code_of(error)
    message = one_line(str(getattr(error, "response", {}).get("Error", {}).get("Message", "")))
    said = f"{code}: {message}" if message else code
    if code in NOT_FOUND:
        return AwsNotFound(f"{where}: can't {action}, it is not there ({said}): see its name, the account and region")
    if code in DENIED:
        return AwsDenied(f"{where}: can't {action}, access is denied ({said}): see this role's policy and credentials")
    return AwsRefused(f"{where}: can't {action}, AWS answered {said}")
