"""The version that a function serves: from a bucket or from the image, verified as the ingress verifies it.

Beside ``model.onnx`` and ``contract.json`` lies ``release.json`` with the name, the version and the SHA-256
of both, unless the environment has these four; what the environment has vouches for files that somebody
who can write to the bucket has changed.

Errors::

    UserError
    └── ModelUnavailable
        ├── BadAddress          MODEL_URI is not s3://BUCKET/FOLDER or a folder
        ├── ReleaseUnusable     the name, version and digests are not there, or are none
        ├── FileTooLarge        a file is larger than the function takes
        └── StoreUnreachable    the bucket does not answer or does not let us read; it may pass

Besides, ``serve.releases.verify.VerificationError`` and ``spark_jobs.contract.ContractError``: not what was registered.
"""

from __future__ import annotations

import fcntl
import os
import shutil
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any, BinaryIO, Protocol

from botocore.exceptions import BotoCoreError, ClientError  # type: ignore[import-untyped]
from pydantic import BaseModel, ConfigDict, StringConstraints, ValidationError

from console import UserError, one_line
from serve.releases.verify import DigestMismatch, VerifiedModel, fetch
from serve.settings import ModelName
from training.registry import CONTRACT_FILE, MODEL_FILE, RELEASE_FILE, ModelVersion, Registry, digest_of

MOST_RELEASE_BYTES = 16 * 2**10
MOST_CONTRACT_BYTES = 16 * 2**20
MOST_MODEL_BYTES = 400 * 2**20
"""``/tmp`` has 512 MiB unless the function asks for more."""

CHUNK_BYTES = 2**20
ABSENT = frozenset({"NoSuchKey", "404", "NotFound"})

Digest = Annotated[str, StringConstraints(pattern=r"^[0-9a-f]{64}$")]


class ModelUnavailable(UserError):
    """There is no model to serve."""


class BadAddress(ModelUnavailable):
    """MODEL_URI is not s3://BUCKET/FOLDER or a folder."""


class ReleaseUnusable(ModelUnavailable):
    """The name, version and digests are not there, or are none."""


class FileTooLarge(ModelUnavailable):
    """A file is larger than the function takes."""


class StoreUnreachable(ModelUnavailable):
    """The bucket does not answer, or does not let us read."""


class Release(BaseModel):
    """Which version this is, and what its files must hash to (SHA-256, hex)."""

    model_config = ConfigDict(extra="forbid", frozen=True, strict=True)

    name: ModelName
    version: Annotated[str, StringConstraints(pattern=r"^[A-Za-z0-9][A-Za-z0-9._-]{0,63}$")]
    model_digest: Digest
    contract_digest: Digest


VARIABLES = {
    "MODEL_NAME": "name",
    "MODEL_VERSION": "version",
    "MODEL_SHA256": "model_digest",
    "CONTRACT_SHA256": "contract_digest",
}


class Source(Protocol):
    """A folder with the files of one version."""

    def copy(self, name: str, target: BinaryIO, most: int) -> bool:
        """Copy a file, and say whether there is one. Raises: FileTooLarge, StoreUnreachable."""


@dataclass(frozen=True)
class Folder:
    """In the image."""

    path: Path

    def copy(self, name: str, target: BinaryIO, most: int) -> bool:
        file = self.path / name
        if not file.is_file():
            return False
        _require_size(str(file), file.stat().st_size, most)
        with file.open("rb") as source:
            shutil.copyfileobj(source, target, CHUNK_BYTES)
        return True

    def __str__(self) -> str:
        return str(self.path)


@dataclass(frozen=True)
class Bucket:
    """In S3. ``client`` is boto3's."""

    client: Any
    bucket: str
    prefix: str

    def copy(self, name: str, target: BinaryIO, most: int) -> bool:
        try:
            found = self.client.get_object(Bucket=self.bucket, Key=f"{self.prefix}/{name}")
            _require_size(f"{self}/{name}", found["ContentLength"], most)
            with found["Body"] as source:
                shutil.copyfileobj(source, target, CHUNK_BYTES)
        except ClientError as error:
            problem = error.response.get("Error", {})
            if problem.get("Code") in ABSENT:
                return False
            raise StoreUnreachable(
                f"{self}/{name}: {problem.get('Code')}: {one_line(str(problem.get('Message', '')))}: "
                "give the function's role s3:GetObject and s3:ListBucket there, and kms:Decrypt on its key"
            ) from error
        except BotoCoreError as error:
            raise StoreUnreachable(f"{self}/{name}: {one_line(str(error))}: see that S3 can be reached") from error
        return True

    def __str__(self) -> str:
        return f"s3://{self.bucket}/{self.prefix}"


def source_at(uri: str, s3: Callable[[], Any]) -> Source:
    """What is at a ``MODEL_URI``. Nothing is read yet; ``s3`` makes boto3's client.

    Raises:
        BadAddress: it is not s3://BUCKET/FOLDER, file:///FOLDER or /FOLDER.
    """
    if uri.startswith("s3://"):
        bucket, _, prefix = uri.removeprefix("s3://").partition("/")
        if bucket and prefix.strip("/"):
            return Bucket(s3(), bucket, prefix.strip("/"))
    elif (path := uri.removeprefix("file://")).startswith("/"):
        return Folder(Path(path))
    raise BadAddress(f"MODEL_URI is {uri!r}, expected s3://BUCKET/FOLDER, or /FOLDER of a folder in the image")


def release_of(source: Source, environment: Mapping[str, str], scratch: Path) -> Release:
    """The version that is to be served: as the environment has it, else as ``release.json`` has it.

    Raises:
        ReleaseUnusable, FileTooLarge, StoreUnreachable
    """
    given = {field: environment[name] for name, field in VARIABLES.items() if environment.get(name)}
    if given and len(given) != len(VARIABLES):
        missing = [name for name, field in VARIABLES.items() if field not in given]
        raise ReleaseUnusable(f"{missing[0]} is not set: set all of {', '.join(VARIABLES)}, or none of them")
    where = "the environment"
    try:
        if given:
            return Release.model_validate(given)
        where = f"{source}/{RELEASE_FILE}"
        scratch.mkdir(parents=True, exist_ok=True)
        file = scratch / RELEASE_FILE
        with file.open("wb") as target:
            found = source.copy(RELEASE_FILE, target, MOST_RELEASE_BYTES)
        if not found:
            raise ReleaseUnusable(f"{where} is not there: write it, or set {', '.join(VARIABLES)}")
        return Release.model_validate_json(file.read_bytes())
    except ValidationError as error:
        problem = error.errors(include_url=False)[0]
        path = ".".join(map(str, problem["loc"]))
        raise ReleaseUnusable(f"{where}: {f'{path}: ' if path else ''}{problem['msg']}") from error


def verified(source: Source, release: Release, cache: Path) -> VerifiedModel:
    """A verified copy of the version in ``cache``, by the ingress's own check.

    Raises:
        VerificationError, ContractError, CacheUnusable: as ``serve.releases.verify.fetch``.
        FileTooLarge, StoreUnreachable
    """
    version = ModelVersion(release.name, release.version, "", release.model_digest, release.contract_digest)
    return fetch(_Files(source), version, cache)


@contextmanager
def sealed(found: VerifiedModel) -> Iterator[Path]:
    """The model's bytes in memory that nobody can change any more: those that are verified are those that are loaded.

    Raises:
        DigestMismatch: the file in the cache has been changed since it was verified.
    """
    descriptor = os.memfd_create(MODEL_FILE, os.MFD_CLOEXEC | os.MFD_ALLOW_SEALING)
    try:
        with found.model.open("rb") as source, os.fdopen(descriptor, "wb", closefd=False) as target:
            shutil.copyfileobj(source, target, CHUNK_BYTES)
        seals = fcntl.F_SEAL_WRITE | fcntl.F_SEAL_GROW | fcntl.F_SEAL_SHRINK | fcntl.F_SEAL_SEAL
        fcntl.fcntl(descriptor, fcntl.F_ADD_SEALS, seals)
        path = Path(f"/proc/self/fd/{descriptor}")
        if digest_of(path) != found.version.model_digest:
            raise DigestMismatch(
                f"{found.version.name} version {found.version.version}: {found.model} was changed while it was loaded"
            )
        yield path
    finally:
        os.close(descriptor)


class _Files(Registry):
    """A registry as far as ``fetch`` asks for one: a version's files, from its folder."""

    def __init__(self, source: Source) -> None:
        super().__init__(str(source))
        self._source = source

    def download(self, version: ModelVersion, folder: Path) -> Path:  # noqa: ARG002 - the folder has one version
        contract = folder / CONTRACT_FILE
        contract.parent.mkdir(parents=True)
        self._copy((MODEL_FILE,), folder / MODEL_FILE, MOST_MODEL_BYTES)
        # MLflow's own folder of a version has it one level further down.
        self._copy((contract.name, CONTRACT_FILE), contract, MOST_CONTRACT_BYTES)
        return folder

    def _copy(self, names: tuple[str, ...], target: Path, most: int) -> None:
        for name in names:
            with target.open("wb") as file:
                found = self._source.copy(name, file, most)
            if found:
                return
            # What is not there must not be there empty: `fetch` says which file is missing.
            target.unlink()


def _require_size(where: str, size: int, most: int) -> None:
    if size > most:
        raise FileTooLarge(f"{where} has {size:,} bytes, expected at most {most:,}")
