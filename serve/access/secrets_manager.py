"""Keys in one secret of AWS Secrets Manager: ``secretsmanager:NAME-OR-ARN?region=REGION``.

The secret string is the document of :mod:`serve.access.documents`; 64 KiB of it are some 200 keys. Who
reads needs ``secretsmanager:DescribeSecret`` and ``GetSecretValue``; who changes keys needs
``PutSecretValue`` and ``UpdateSecretVersionStage`` as well, and ``CreateSecret`` for the first. Credentials
and the endpoint (``AWS_ENDPOINT_URL``) are found as boto3 finds them.
"""

from __future__ import annotations

import contextlib
import uuid
from collections.abc import Callable, Hashable, Iterator, Mapping
from datetime import datetime
from typing import Any

from serve.access import documents
from serve.access.keys import ApiKey
from serve.access.stores import BadStoreAddress, KeyStoreError, KeyStoreUnreadable, KeyStoreUnwritable, missing
from serve.aws_secret import CURRENT, Secret, SecretError, SecretNotThere

WRITING = "serve-keys-writing"
"""The label of a version that is written and not yet current. Secrets Manager may drop one without any."""

WRITE_TRIES = 8


class SecretsManagerStore:
    """Keeps to :class:`serve.access.stores.KeyStore`."""

    def __init__(self, secret: Secret) -> None:
        self._secret = secret
        self._name = secret.name
        self._where = secret.where

    @classmethod
    def at(cls, rest: str) -> SecretsManagerStore:
        """The store of a URI, of what is behind ``secretsmanager:``.

        Raises:
            BadStoreAddress: it is not ``NAME-OR-ARN``, with ``?region=REGION`` or without.
        """
        try:
            return cls(Secret.at(rest))
        except ValueError as error:
            raise BadStoreAddress(f"keys 'secretsmanager:{rest}': {error}") from error

    def read(self) -> Mapping[str, ApiKey]:
        return self._current()[1]

    def version(self) -> Hashable:
        with self._asked("DescribeSecret", KeyStoreUnreadable):
            described = self._client.describe_secret(SecretId=self._name)
        labels = described.get("VersionIdsToStages", {})
        return next((version for version, stages in labels.items() if CURRENT in stages), None)

    def add(self, key: ApiKey) -> None:
        self._change(lambda keys: documents.with_key(keys, key, self._where), new=True)

    def revoke(self, key_id: str, when: datetime) -> ApiKey:
        return self._change(lambda keys: documents.with_revoked(keys, key_id, when, self._where))[key_id]

    def _current(self) -> tuple[str, dict[str, ApiKey]]:
        with self._mapped(KeyStoreUnreadable):
            version, text = self._secret.text()
        return version, documents.from_json(text, self._where)

    def _change(
        self, change: Callable[[Mapping[str, ApiKey]], dict[str, ApiKey]], *, new: bool = False
    ) -> dict[str, ApiKey]:
        for _ in range(WRITE_TRIES):
            try:
                current, keys = self._current()
            except KeyStoreUnreadable as error:
                if not new or not isinstance(error.__cause__, SecretNotThere):
                    raise
                current, keys = None, {}
            changed = change(keys)
            if self._put(documents.to_json(changed), current):
                return changed
        raise KeyStoreUnwritable(f"{self._where}: others change it all the time: try again")

    def _put(self, text: str, current: str | None) -> bool:
        """Make this the current text unless another version than ``current`` has become so meanwhile."""
        token = str(uuid.uuid4())
        with self._asked("PutSecretValue", KeyStoreUnwritable):
            try:
                if current is None and not self._is_there():
                    self._client.create_secret(Name=self._name, SecretString=text, ClientRequestToken=token)
                    return True
                # Secrets Manager has no conditional write, but it moves a label only off a version that has it.
                self._client.put_secret_value(
                    SecretId=self._name, SecretString=text, ClientRequestToken=token, VersionStages=[WRITING]
                )
                # Of a secret that was made without a value no version has it, and the first to take it wins.
                holder = {} if current is None else {"RemoveFromVersionId": current}
                self._client.update_secret_version_stage(
                    SecretId=self._name, VersionStage=CURRENT, MoveToVersionId=token, **holder
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
            self._client.describe_secret(SecretId=self._name)
        except self._client.exceptions.ResourceNotFoundException:
            return False
        return True

    @property
    def _client(self) -> Any:
        return self._secret.client

    @contextlib.contextmanager
    def _asked(self, action: str, kind: type[KeyStoreError]) -> Iterator[None]:
        with self._mapped(kind), self._secret.asked(action):
            yield

    @contextlib.contextmanager
    def _mapped(self, kind: type[KeyStoreError]) -> Iterator[None]:
        try:
            yield
        except SecretNotThere as error:
            raise missing(self._where) from error
        except SecretError as error:
            raise kind(str(error)) from error
