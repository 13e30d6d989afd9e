"""The model registry: MLflow, seen through the few things this project asks of it.

Imports no torch, so that serving can read versions. Files are never unpickled: a version is an ONNX
graph, a contract and the SHA-256 of each, kept as tags of the version in the registry's database,
apart from the artifacts that they vouch for.

Errors::

    UserError
    └── RegistryError
        ├── RegistryUnreachable   no registry answers at this address
        ├── VersionNotFound       no such model, version or alias
        └── VersionUnverifiable   a version without digests: this project did not register it
"""

from __future__ import annotations

import hashlib
import os
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from console import UserError, one_line

if TYPE_CHECKING:
    from mlflow import MlflowClient
    from mlflow.entities.model_registry import ModelVersion as MlflowModelVersion

CHAMPION = "champion"
CHALLENGER = "challenger"

MODEL_FILE = "model.onnx"
CONTRACT_FILE = "extra_files/contract.json"

MODEL_DIGEST_TAG = "model.sha256"
CONTRACT_DIGEST_TAG = "contract.sha256"

DEFAULT_FOLDER = Path("mlflow")

NO_RETRIES_BY_DEFAULT = {"MLFLOW_HTTP_REQUEST_MAX_RETRIES": "2", "MLFLOW_HTTP_REQUEST_TIMEOUT": "30"}
"""MLflow's own defaults keep a command silent for minutes when nothing listens."""


class RegistryError(UserError):
    """The registry, or a version in it, can't be used."""


class RegistryUnreachable(RegistryError):
    """No registry answers at this address."""


class VersionNotFound(RegistryError):
    """No such model, version or alias."""


class VersionUnverifiable(RegistryError):
    """A version has no digests to verify its files by."""


@dataclass(frozen=True)
class ModelVersion:
    """One version of a registered model, and what its files must hash to (SHA-256, hex)."""

    name: str
    version: str
    run_id: str
    model_digest: str
    contract_digest: str
    aliases: tuple[str, ...] = ()


def tracking_uri() -> str:
    """``MLFLOW_TRACKING_URI``, or SQLite in the folder ``mlflow`` below the working directory.

    The one place where this package reads its registry's address from the environment.
    """
    return os.environ.get("MLFLOW_TRACKING_URI") or local_uri(DEFAULT_FOLDER)


def local_uri(folder: Path) -> str:
    return f"sqlite:///{folder.resolve() / 'mlflow.db'}"


def digest_of(path: Path) -> str:
    """SHA-256 of a file, hex."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


class Registry:
    """Reads versions of models. Every MLflow error leaves here as a :class:`RegistryError`."""

    def __init__(self, uri: str | None = None) -> None:
        self.uri = uri or tracking_uri()

    def client(self) -> MlflowClient:
        for name, value in NO_RETRIES_BY_DEFAULT.items():
            os.environ.setdefault(name, value)
        from mlflow import MlflowClient

        if self.uri.startswith("sqlite:///"):
            Path(self.uri.removeprefix("sqlite:///")).parent.mkdir(parents=True, exist_ok=True)
        return MlflowClient(tracking_uri=self.uri, registry_uri=self.uri)

    def resolve(self, name: str, alias: str) -> ModelVersion:
        """The version that ``alias`` names now.

        Raises:
            RegistryUnreachable: nothing answers at :attr:`uri`.
            VersionNotFound: the model or the alias does not exist.
            VersionUnverifiable: the version has no digests.
        """
        with self._errors(f"{name}@{alias}"):
            found = self.client().get_model_version_by_alias(name, alias)
        return _version(found)

    def versions(self, name: str) -> list[ModelVersion]:
        """Every verifiable version of a model, the newest first; none if there is no such model."""
        with self._errors(name):
            found = self.client().search_model_versions(f"name = '{name}'")
        return sorted(
            (_version(version) for version in found if MODEL_DIGEST_TAG in version.tags),
            key=lambda version: int(version.version),
            reverse=True,
        )

    def set_alias(self, name: str, alias: str, version: str) -> None:
        with self._errors(f"{name} version {version}"):
            self.client().set_registered_model_alias(name, alias, version)

    def download(self, version: ModelVersion, folder: Path) -> Path:
        """Copy a version's files into ``folder`` (created) and return it.

        Unverified: :data:`MODEL_FILE` and :data:`CONTRACT_FILE` in it may be anything.
        """
        folder.mkdir(parents=True, exist_ok=True)
        with self._errors(f"{version.name} version {version.version}"):
            from mlflow.artifacts import download_artifacts

            download_artifacts(
                artifact_uri=f"models:/{version.name}/{version.version}",
                dst_path=str(folder),
                tracking_uri=self.uri,
                registry_uri=self.uri,
            )
        return folder

    @contextmanager
    def _errors(self, what: str) -> Iterator[None]:
        import requests
        import sqlalchemy.exc
        from mlflow.exceptions import MlflowException

        try:
            yield
        except MlflowException as error:
            if error.error_code in ("RESOURCE_DOES_NOT_EXIST", "INVALID_PARAMETER_VALUE"):
                raise VersionNotFound(
                    f"no {what} in the registry at {self.uri}: register it with `python -m training register`"
                ) from error
            raise RegistryUnreachable(f"the registry at {self.uri} does not answer: {_reason(error)}") from error
        except (requests.RequestException, sqlalchemy.exc.SQLAlchemyError, OSError) as error:
            raise RegistryUnreachable(f"the registry at {self.uri} does not answer: {_reason(error)}") from error


def _reason(error: BaseException) -> str:
    return one_line(str(error))[:200]


def _version(found: MlflowModelVersion) -> ModelVersion:
    tags = dict(found.tags)
    if MODEL_DIGEST_TAG not in tags or CONTRACT_DIGEST_TAG not in tags:
        raise VersionUnverifiable(
            f"{found.name} version {found.version} has no tags {MODEL_DIGEST_TAG} and {CONTRACT_DIGEST_TAG}: "
            "only versions registered by `python -m training register` can be verified"
        )
    return ModelVersion(
        name=found.name,
        version=str(found.version),
        run_id=found.run_id or "",
        model_digest=tags[MODEL_DIGEST_TAG],
        contract_digest=tags[CONTRACT_DIGEST_TAG],
        aliases=tuple(found.aliases),
    )
