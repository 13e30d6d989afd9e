"""The model registry: MLflow, seen through the few things this project asks of it.

Imports no torch, so that serving can read versions. Files are never unpickled: a version is an ONNX
graph, a contract and the SHA-256 of each, kept as tags of the version in the registry's database,
apart from the artifacts that they vouch for.

Errors::

    UserError
    └── RegistryError
        ├── RegistryUnreachable   no registry answers at this address, or it is none of a registry
        ├── RegistryRefused       it answers, and does not do it
        │   └── AlreadyThere      what was to be made is there
        ├── VersionNotFound       no such model, version or alias
        ├── VersionUnverifiable   a version without digests (this project did not register it), or with other files
        └── NameTaken             the name is a prompt's, or of versions of another kind
"""

from __future__ import annotations

import hashlib
import importlib
import logging
import os
import tempfile
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from importlib import metadata
from pathlib import Path
from typing import TYPE_CHECKING, Any

from console import UserError, one_line
from spark_jobs.contract import Contract
from training.addresses import shown, sqlite_file

if TYPE_CHECKING:
    import numpy as np
    from mlflow import MlflowClient
    from mlflow.entities.model_registry import ModelVersion as MlflowModelVersion
    from mlflow.models import ModelSignature
    from onnx import ModelProto

CHAMPION = "champion"
CHALLENGER = "challenger"

MODEL_FILE = "model.onnx"
CONTRACT_FILE = "extra_files/contract.json"
RELEASE_FILE = "release.json"
"""Beside the two in a folder of their own: what ``python -m training release`` writes and a function reads."""

MODEL_DIGEST_TAG = "model.sha256"
CONTRACT_DIGEST_TAG = "contract.sha256"

KIND_TAG = "bundle.kind"
"""Of a version that is a folder; see ``training.bundle``."""

VERSIONS_KIND_TAG = "versions.kind"
"""Of a name: the one kind that its versions are of."""

TABULAR = "tabular"
"""The kind of what :meth:`Registry.publish` registers."""

IS_PROMPT = "tags.`mlflow.prompt.is_prompt` = 'true'"
"""The filter by which MLflow tells prompts from models, which share a table."""

DEFAULT_FOLDER = Path("mlruns")

MLFLOW_DEFAULTS = {
    # MLflow's own keep a command silent for minutes when nothing listens.
    "MLFLOW_HTTP_REQUEST_MAX_RETRIES": "2",
    "MLFLOW_HTTP_REQUEST_TIMEOUT": "30",
    "MLFLOW_LOGGING_LEVEL": "WARNING",
    "MLFLOW_SUPPRESS_PRINTING_URL_TO_STDOUT": "true",
    "MLFLOW_DISABLE_TELEMETRY": "true",
    "MLFLOW_ENABLE_ARTIFACTS_PROGRESS_BAR": "false",
}
"""Set before MLflow is imported, where the user has not set them."""

DATABASE_ATTEMPTS = 4
"""To open a database, within about a second. MLflow's own ten take minutes, and each is told at length."""

REFUSALS = frozenset(
    {"BAD_REQUEST", "INVALID_STATE", "PERMISSION_DENIED", "RESOURCE_CONFLICT", "RESOURCE_LIMIT_EXCEEDED"}
    | {"QUOTA_EXCEEDED", "UNAUTHENTICATED", "CUSTOMER_UNAUTHORIZED", "FEATURE_DISABLED", "INVALID_STATE_TRANSITION"}
)
"""MLflow's codes of what asking again doesn't help."""


class RegistryError(UserError):
    """The registry, or a version in it, can't be used."""


class RegistryUnreachable(RegistryError):
    """No registry answers at this address, or it is none of a registry."""


class RegistryRefused(RegistryError):
    """The registry answers, and does not do what it was asked for."""


class AlreadyThere(RegistryRefused):
    """What was to be made is there."""


class VersionNotFound(RegistryError):
    """No such model, version or alias."""


class VersionUnverifiable(RegistryError):
    """A version has no digests to verify its files by, or its files are not what they say."""


class NameTaken(RegistryError):
    """The name is a prompt's, or of versions of another kind."""


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
    """``MLFLOW_TRACKING_URI``, or SQLite in the folder ``mlruns`` below the working directory.

    The one place where this package reads its registry's address from the environment.
    """
    return os.environ.get("MLFLOW_TRACKING_URI") or local_uri(DEFAULT_FOLDER)


def local_uri(folder: Path) -> str:
    return f"sqlite:///{folder.resolve() / 'mlflow.db'}"


def digest_of(path: Path) -> str:
    """SHA-256 of a file, hex."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def client(uri: str, *, create: bool = False) -> MlflowClient:
    """MLflow's client for one address, which nothing process-wide is set to.

    Raises:
        RegistryUnreachable: it is none of a registry, or of a SQLite file that is not there, without ``create``.
    """
    _set_mlflow_defaults()
    from mlflow import MlflowClient

    if (file := sqlite_file(uri)) and not create and not os.path.exists(file):  # noqa: PTH110 - Path's may raise
        raise RegistryUnreachable(
            f"there is no registry at {shown(uri)}: register a version, or set MLFLOW_TRACKING_URI"
        )
    databases: Any = importlib.import_module("mlflow.store.db.utils")
    databases.MAX_RETRY_COUNT = DATABASE_ATTEMPTS
    logging.getLogger(databases.__name__).setLevel(logging.ERROR)
    try:
        return MlflowClient(tracking_uri=uri, registry_uri=uri)
    except Exception as error:  # what MLflow, SQLAlchemy and each database's driver raise has no class in common
        raise RegistryUnreachable(
            f"no registry can be opened at {shown(uri)}: {_reason(error).replace(uri, shown(uri))} "
            "(expected http(s)://HOST or a database's address, as sqlite:///FILE: see MLFLOW_TRACKING_URI)"
        ) from error


def _set_mlflow_defaults() -> None:
    """Must come before MLflow is imported: it reads some of them then."""
    for name, value in MLFLOW_DEFAULTS.items():
        os.environ.setdefault(name, value)


def require_name(uri: str, name: str, kind: str) -> None:
    """Nothing, where a new version of this kind may have the name. The registry is made where it isn't there.

    Raises:
        NameTaken: it is a prompt's, or holds versions of another kind or of another's making.
        RegistryUnreachable: nothing answers at ``uri``.
    """
    registry = client(uri, create=True)
    with mapped_errors(uri, name):
        if registry.search_registered_models(f"name = '{name}' AND {IS_PROMPT}"):
            raise NameTaken(f"{name} is the name of a prompt in the registry at {shown(uri)}: take another name")
        models = registry.search_registered_models(f"name = '{name}'")
        versions = registry.search_model_versions(f"name = '{name}'")
    kinds = {model.tags[VERSIONS_KIND_TAG] for model in models if VERSIONS_KIND_TAG in model.tags}
    for version in versions:
        if found := version.tags.get(KIND_TAG) or (TABULAR if MODEL_DIGEST_TAG in version.tags else None):
            kinds.add(found)
        else:
            raise NameTaken(
                f"{name} version {version.version} was not registered by `python -m training`: take another name, "
                "or delete that version"
            )
    if others := kinds - {kind}:
        raise NameTaken(f"{name} is for versions of the kind {', '.join(sorted(others))}: take another name")


def hold_name(uri: str, name: str, kind: str) -> None:
    """Let a name have versions of this kind alone from now on. Of two that ask at once for two kinds, one gets it.

    Raises:
        NameTaken, RegistryUnreachable: as in :func:`require_name`.
    """
    registry = client(uri, create=True)
    with suppress(AlreadyThere), mapped_errors(uri, name):
        registry.create_registered_model(name, tags={VERSIONS_KIND_TAG: kind})
    require_name(uri, name, kind)


def alias_for(uri: str, name: str, version: str) -> str:
    """The alias of a new version that was given none: a name's first is its champion, a later one its challenger.

    Raises:
        RegistryUnreachable: nothing answers at ``uri``.
    """
    with mapped_errors(uri, name):
        found = client(uri).search_model_versions(f"name = '{name}'")
    return CHALLENGER if any(int(other.version) < int(version) for other in found) else CHAMPION


class Registry:
    """Reads and publishes versions of models. Every MLflow error leaves here as a :class:`RegistryError`."""

    def __init__(self, uri: str | None = None) -> None:
        self.uri = uri or tracking_uri()

    def resolve(self, name: str, alias: str) -> ModelVersion:
        """The version that ``alias`` names now.

        Raises:
            RegistryUnreachable: nothing answers at :attr:`uri`.
            VersionNotFound: the model or the alias does not exist.
            VersionUnverifiable: the version has no digests.
        """
        with mapped_errors(self.uri, f"{name}@{alias}"):
            found = client(self.uri).get_model_version_by_alias(name, alias)
        return _version(found)

    def versions(self, name: str) -> list[ModelVersion]:
        """Every verifiable version of a model, the newest first; none if there is no such model."""
        with mapped_errors(self.uri, name):
            found = client(self.uri).search_model_versions(f"name = '{name}'")
        verifiable = (_version(version) for version in found if MODEL_DIGEST_TAG in version.tags)
        return sorted(verifiable, key=lambda version: int(version.version), reverse=True)

    def set_alias(self, name: str, alias: str, version: str) -> None:
        """Raises: RegistryUnreachable, VersionNotFound, or RegistryRefused: MLflow takes no such alias."""
        with mapped_errors(self.uri, f"{name} version {version}", given=f"alias {alias} of {name} version {version}"):
            client(self.uri).set_registered_model_alias(name, alias, version)

    def publish(
        self, name: str, graph: ModelProto, contract: Contract, example: Mapping[str, np.ndarray], run_id: str
    ) -> ModelVersion:
        """Register a graph with its contract as the next version of ``name``, under the run that made it.

        ``example`` holds a few rows of the graph's inputs, column by column. The version carries the
        digests of both files; it is downloaded again and compared before it is returned.

        Raises:
            NameTaken: the name is not one of such versions; nothing was written.
            RegistryUnreachable: nothing answers at :attr:`uri`.
            VersionUnverifiable: what the registry gives back is not what it was given.
        """
        os.environ.setdefault("MLFLOW_RECORD_ENV_VARS_IN_MODEL_LOGGING", "false")
        hold_name(self.uri, name, TABULAR)
        with mapped_errors(self.uri, f"run {run_id}"), tempfile.TemporaryDirectory() as folder:
            import mlflow.onnx
            import pandas as pd

            contract_file = Path(folder) / Path(CONTRACT_FILE).name
            contract_file.write_text(contract.to_json(), encoding="utf-8")
            digests = {
                MODEL_DIGEST_TAG: hashlib.sha256(graph.SerializeToString()).hexdigest(),
                CONTRACT_DIGEST_TAG: digest_of(contract_file),
            }
            mlflow.set_tracking_uri(self.uri)
            mlflow.set_registry_uri(self.uri)
            with mlflow.start_run(run_id=run_id), _events_unsaid():
                logged = mlflow.onnx.log_model(
                    graph,
                    name="model",
                    registered_model_name=name,
                    signature=_signature(contract, graph),
                    input_example=pd.DataFrame(dict(example)),
                    extra_files=[str(contract_file)],
                    onnx_execution_providers=["CPUExecutionProvider"],
                    pip_requirements=[f"{package}=={metadata.version(package)}" for package in ("onnx", "onnxruntime")],
                    # One file, whose bytes depend on the weights alone: what the digest vouches for.
                    save_as_external_data=False,
                    # The version's too, from its first moment.
                    tags=digests,
                )
            number = str(logged.registered_model_version)
            version = _version(client(self.uri).get_model_version(name, number))
            stored = self.download(version, Path(folder) / "stored")
            for file, expected in ((MODEL_FILE, version.model_digest), (CONTRACT_FILE, version.contract_digest)):
                if digest_of(stored / file) != expected:
                    raise VersionUnverifiable(f"{name} version {number}: {file} came back with other bytes")
        return version

    def download(self, version: ModelVersion, folder: Path) -> Path:
        """Copy a version's files into ``folder`` (created) and return it.

        Unverified: :data:`MODEL_FILE` and :data:`CONTRACT_FILE` in it may be anything.
        """
        folder.mkdir(parents=True, exist_ok=True)
        with mapped_errors(self.uri, f"{version.name} version {version.version}"):
            import mlflow

            # A models:/ address is looked up in the process-wide registry, whatever the call is told to use.
            mlflow.set_tracking_uri(self.uri)
            mlflow.set_registry_uri(self.uri)
            mlflow.artifacts.download_artifacts(f"models:/{version.name}/{version.version}", dst_path=str(folder))
        return folder


@contextmanager
def _events_unsaid() -> Iterator[None]:
    """MLflow prints that the name exists already, as :func:`hold_name` has seen to: it puzzles at a first version.

    Its own switch for what it prints is of no use: some of its modules turn it on again when they are first imported.
    """
    fluent: Any = importlib.import_module("mlflow.tracking._model_registry.fluent")
    printed = fluent.eprint
    fluent.eprint = lambda *_: None
    try:
        yield
    finally:
        fluent.eprint = printed


@contextmanager
def mapped_errors(uri: str, what: str, *, given: str | None = None) -> Iterator[None]:
    """Turn every error of MLflow and of its transports into a :class:`RegistryError` about ``what``.

    ``given``: what the block writes, where it may be invalid. Of a lookup that code says that nothing is there.
    """
    _set_mlflow_defaults()
    import requests
    import sqlalchemy.exc
    from mlflow.exceptions import MlflowException

    try:
        yield
    except MlflowException as error:
        if given is not None and error.error_code == "INVALID_PARAMETER_VALUE":
            raise RegistryRefused(f"the registry at {shown(uri)} refuses {given}: {_reason(error)}") from error
        if error.error_code in ("RESOURCE_DOES_NOT_EXIST", "INVALID_PARAMETER_VALUE"):
            raise VersionNotFound(f"no {what} in the registry at {shown(uri)} ({_reason(error)})") from error
        if error.error_code in ("RESOURCE_ALREADY_EXISTS", "ALREADY_EXISTS"):
            raise AlreadyThere(f"{what} is in the registry at {shown(uri)} already ({_reason(error)})") from error
        if error.error_code in REFUSALS:
            raise RegistryRefused(f"the registry at {shown(uri)} refuses {what}: {_reason(error)}") from error
        raise RegistryUnreachable(f"the registry at {shown(uri)} does not answer: {_reason(error)}") from error
    except (requests.RequestException, sqlalchemy.exc.SQLAlchemyError, OSError) as error:
        raise RegistryUnreachable(f"the registry at {shown(uri)} does not answer: {_reason(error)}") from error


def _reason(error: BaseException) -> str:
    # Of SQLAlchemy's, the database's own words alone: without the statement.
    return one_line(str(getattr(error, "orig", None) or error))[:200]


def _signature(contract: Contract, graph: ModelProto) -> ModelSignature:
    from mlflow.models import ModelSignature
    from mlflow.types import ColSpec, DataType, Schema

    kinds = {"string": DataType.string, "float32": DataType.float}
    return ModelSignature(
        inputs=Schema([ColSpec(kinds[column.dtype], column.name) for column in contract.features]),
        outputs=Schema([ColSpec(DataType.float, output.name) for output in graph.graph.output]),
    )


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
