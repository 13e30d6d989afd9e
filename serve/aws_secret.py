"""One secret of AWS Secrets Manager, of an address as in ``secretsmanager:NAME-OR-ARN?region=REGION``.

Credentials and the endpoint (``AWS_ENDPOINT_URL``) are found as boto3 finds them.

Errors::

    SecretError         it can't be asked, or it holds no text: who asks says so in an error of its own
    └── SecretNotThere  there is no such secret, or it has no value yet
"""

from __future__ import annotations

import contextlib
import functools
from collections.abc import Iterator
from typing import Any
from urllib.parse import parse_qsl

from console.aws import code_of

CURRENT = "AWSCURRENT"
CONNECT_SECONDS = 3
READ_SECONDS = 5

REMEDIES = {
    "AccessDeniedException": "allow this role that action on this secret",
    "UnrecognizedClientException": "see that AWS's credentials are there and good",
    "ExpiredTokenException": "log in to AWS again",
    "DecryptionFailure": "give this role kms:Decrypt on the secret's key",
    "ThrottlingException": "it is tried again",
}


class SecretError(Exception):
    """The secret can't be asked, or it holds no text."""


class SecretNotThere(SecretError):
    """There is no such secret, or it has no value yet."""


class Secret:
    """Used by any thread."""

    def __init__(self, name: str, region: str | None) -> None:
        self.name = name
        self.where = f"secretsmanager:{name}"
        self._region = region

    @classmethod
    def at(cls, rest: str) -> Secret:
        """The secret of what is behind ``secretsmanager:``. Nothing is read yet.

        Raises:
            ValueError: it is not ``NAME-OR-ARN``, with ``?region=REGION`` or without.
        """
        name, mark, query = rest.partition("?")
        options = dict(parse_qsl(query, keep_blank_values=True))
        if not name or set(options) != ({"region"} if mark else set()) or not all(options.values()):
            raise ValueError(
                "expected secretsmanager:NAME-OR-ARN?region=REGION, or no region where the environment has one"
            )
        return cls(name, options.get("region"))

    def text(self) -> tuple[str, str]:
        """The id of the current version, and what it holds.

        Raises:
            SecretError: one of the above.
        """
        with self.asked("GetSecretValue"):
            found = self.client.get_secret_value(SecretId=self.name, VersionStage=CURRENT)
        if "SecretString" not in found:
            raise SecretError(f"{self.where}: holds binary data: name a secret that holds text")
        return found["VersionId"], found["SecretString"]

    @functools.cached_property
    def client(self) -> Any:
        """Raises: SecretError."""
        try:
            import boto3  # type: ignore[import-untyped]
            from botocore.config import Config  # type: ignore[import-untyped]
            from botocore.exceptions import BotoCoreError  # type: ignore[import-untyped]
        except ImportError as error:
            raise SecretError(f"{self.where}: boto3 is not installed: `pip install boto3`") from error
        config = Config(
            connect_timeout=CONNECT_SECONDS,
            read_timeout=READ_SECONDS,
            retries={"mode": "standard", "total_max_attempts": 2},
        )
        try:
            # A session of its own: boto3's default one is not made for several threads.
            return boto3.Session(region_name=self._region).client("secretsmanager", config=config)
        except (BotoCoreError, ValueError) as error:
            raise SecretError(f"{self.where}: {error}: mend the URI or AWS's settings") from error

    @contextlib.contextmanager
    def asked(self, action: str) -> Iterator[None]:
        """Around calls of ``client``. Raises: SecretError."""
        client = self.client
        from botocore.exceptions import BotoCoreError, ClientError

        try:
            yield
        except client.exceptions.ResourceNotFoundException as error:
            raise SecretNotThere(f"{self.where}: is not there, or has no value yet: see its name and region") from error
        except ClientError as error:
            remedy = REMEDIES.get(code_of(error), "see what AWS says of it")
            message = error.response.get("Error", {}).get("Message", "")
            raise SecretError(f"{self.where}: {action}: {code_of(error)}: {message}: {remedy}") from error
        except BotoCoreError as error:
            raise SecretError(
                f"{self.where}: {action}: {error}: see that AWS can be reached and that its credentials are there"
            ) from error
