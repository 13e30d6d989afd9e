"""Keys in one secret of AWS Secrets Manager: ``secretsmanager:NAME-OR-ARN?region=REGION``.

The secret string is the document of :mod:`serve.access.documents`; 64 KiB of it are some 200 keys. Who
reads needs ``secretsmanager:DescribeSecret`` and ``GetSecretValue``; who changes keys needs
``PutSecretValue`` and ``UpdateSecretVersionStage`` as well, and ``CreateSecret`` for the first. Credentials
and the endpoint (``AWS_ENDPOINT_URL``) are found as boto3 finds them.
"""

from __future__ import annotations

import contextlib
import functools
import uuid
from collections.abc import Callable, Hashable, Iterator, Mapping
from datetime import datetime
from typing import Any
from urllib.parse import parse_qsl

from console.aws import code_of
from serve.access import documents
from serve.access.keys import ApiKey
from serve.access.stores import BadStoreAddress, KeyStoreError, KeyStoreUnreadable, KeyStoreUnwritable, missing

CURRENT = "AWSCURRENT"
WRITING = "serve-keys-writing"
"""The label of a version that is written and not yet current. Secrets Manager may drop one without any."""

CONNECT_SECONDS = 3
READ_SECONDS = 5
WRITE_TRIES = 8

REMEDIES = {
    "AccessDeniedException": "give this role the actions that serve/access/secrets_manager.py names",
    "UnrecognizedClientException": "see that AWS's credentials are there and good",
    "ExpiredTokenException": "log in to AWS again",
    "DecryptionFailure": "give this role kms:Decrypt on the secret's key",
    "ThrottlingException": "it is tried again",
}


class SecretsManagerStore:
    """Keeps to :class:`serve.access.stores.KeyStore`."""

    def __init__(self, secret: str, region: str | None) -> None:
        self._secret = secret
        self._region = region
        self._where = f"secretsmanager:{secret}"

    @classmethod
    def at(cls, rest: str) -> SecretsManagerStore:
        """The store of a URI, of what is behind ``secretsmanager:``.

        Raises:
            BadStoreAddress: it is not ``NAME-OR-ARN``, with ``?region=REGION`` or without.
        """
        secret, mark, query = rest.partition("?")
        options = dict(parse_qsl(query, keep_blank_values=True))
        if not secret or set(options) != ({"region"} if mark else set()) or not all(options.values()):
            raise BadStoreAddress(
                f"keys 'secretsmanager:{rest}': expected secretsmanager:NAME-OR-ARN?region=REGION, or no region "
                "where the environment has one"
            )
        return cls(secret, options.get("region"))

    def read(self) -> Mapping[str, ApiKey]:
        return self._current()[1]

    def version(self) -> Hashable:
        with self._mapped("DescribeSecret", KeyStoreUnreadable):
            described = self._client.describe_secret(SecretId=self._secret)
        labels = described.get("VersionIdsToStages", {})
        return next((version for version, stages in labels.items() if CURRENT in stages), None)

    def add(self, key: ApiKey) -> None:
        self._change(lambda keys: documents.with_key(keys, key, self._where), new=True)

    def revoke(self, key_id: str, when: datetime) -> ApiKey:
        return self._change(lambda keys: documents.with_revoked(keys, key_id, when, self._where))[key_id]

    def _current(self) -> tuple[str, dict[str, ApiKey]]:
        with self._mapped("GetSecretValue", KeyStoreUnreadable):
            found = self._client.get_secret_value(SecretId=self._secret, VersionStage=CURRENT)
        if "SecretString" not in found:
            raise KeyStoreUnreadable(f"{self._where}: holds binary data: name a secret that this command has made")
        return found["VersionId"], documents.from_json(found["SecretString"], self._where)

    def _change(
        self, change: Callable[[Mapping[str, ApiKey]], dict[str, ApiKey]], *, new: bool = False
    ) -> dict[str, ApiKey]:
        for _ in range(WRITE_TRIES):
            try:
                current, keys = self._current()
            except KeyStoreUnreadable as error:
                if not new or code_of(error.__cause__) != "ResourceNotFoundException":
                    raise
                current, keys = None, {}
            changed = change(keys)
            if self._put(documents.to_json(changed), current):
                return changed
        raise KeyStoreUnwritable(f"{self._where}: others change it all the time: try again")

    def _put(self, text: str, current: str | None) -> bool:
        """Make this the current text unless another version than ``current`` has become so meanwhile."""
        token = str(uuid.uuid4())
        with self._mapped("PutSecretValue", KeyStoreUnwritable):
            try:
                if current is None and not self._is_there():
                    self._client.create_secret(Name=self._secret, SecretString=text, ClientRequestToken=token)
                    return True
                # Secrets Manager has no conditional write, but it moves a label only off a version that has it.
                self._client.put_secret_value(
                    SecretId=self._secret, SecretString=text, ClientRequestToken=token, VersionStages=[WRITING]
                )
                # Of a secret that was made without a value no version has it, and the first to take it wins.
                holder = {} if current is None else {"RemoveFromVersionId": current}
                self._client.update_secret_version_stage(
                    SecretId=self._secret, VersionStage=CURRENT, MoveToVersionId=token, **holder
                )
            except self._client.exceptions.ResourceExistsException:
                return False
            except self._client.exceptions.InvalidParameterException:
                # The label has moved (to this very version, where it is a secret's first), or something else is wrong.
                now = self._current()[0]
                if now == current:
                    raise
                return now == token
        return True

    def _is_there(self) -> bool:
        try:
            self._client.describe_secret(SecretId=self._secret)
        except self._client.exceptions.ResourceNotFoundException:
            return False
        return True

    @functools.cached_property
    def _client(self) -> Any:
        try:
            import boto3  # type: ignore[import-untyped]
            from botocore.config import Config  # type: ignore[import-untyped]
            from botocore.exceptions import BotoCoreError  # type: ignore[import-untyped]
        except ImportError as error:
            raise KeyStoreError(f"{self._where}: boto3 is not installed: `pip install boto3`") from error
        config = Config(
            connect_timeout=CONNECT_SECONDS,
            read_timeout=READ_SECONDS,
            retries={"mode": "standard", "total_max_attempts": 2},
        )
        try:
            # A session of its own: boto3's default one is not made for several threads.
            return boto3.Session(region_name=self._region).client("secretsmanager", config=config)
        except (BotoCoreError, ValueError) as error:
            raise KeyStoreUnreadable(f"{self._where}: {error}: mend the URI or AWS's settings") from error

    @contextlib.contextmanager
    def _mapped(self, action: str, kind: type[KeyStoreError]) -> Iterator[None]:
        client = self._client
        from botocore.exceptions import BotoCoreError, ClientError

        try:
            yield
        except client.exceptions.ResourceNotFoundException as error:
            raise missing(self._where) from error
        except ClientError as error:
            remedy = REMEDIES.get(code_of(error), "see what AWS says of it")
            message = error.response.get("Error", {}).get("Message", "")
            raise kind(f"{self._where}: {action}: {code_of(error)}: {message}: {remedy}") from error
        except BotoCoreError as error:
            raise kind(
                f"{self._where}: {action}: {error}: see that AWS can be reached and that its credentials are there"
            ) from error
