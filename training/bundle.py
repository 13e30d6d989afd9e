"""Versions that are folders: a language model, an adapter of one, or a text encoder, in the registry like any other.

Imports no torch. A manifest names each file with its SHA-256, and the version's tags in the registry's database hold
the manifest's own: nothing that was put beside the files, or in their place, is taken. Only kinds of files that no
loader executes can be in one.

Errors: those of ``training.registry``, and::

    RegistryError
    └── NotABundle              the folder has nothing that can be registered, or what must not be
"""

from __future__ import annotations

import hashlib
import re
import tempfile
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import TYPE_CHECKING, Annotated, Literal, get_args

from pydantic import BaseModel, ConfigDict, Field, StringConstraints, ValidationError

from spark_jobs.contract import first_problem
from training.registry import (
    KIND_TAG,
    Registry,
    RegistryError,
    VersionNotFound,
    VersionUnverifiable,
    client,
    digest_of,
    hold_name,
    mapped_errors,
)

if TYPE_CHECKING:
    from mlflow.entities.model_registry import ModelVersion as MlflowModelVersion

Kind = Literal["language-model", "adapter", "encoder"]
KINDS: tuple[Kind, ...] = get_args(Kind)

MANIFEST_FILE = "manifest.json"
ARTIFACT_FOLDER = "bundle"

MANIFEST_DIGEST_TAG = "manifest.sha256"
BASE_NAME_TAG = "base.name"
BASE_DIGEST_TAG = "base.sha256"
"""Of what was fine-tuned: its name, such as ``smollm2/1``, and its manifest's digest."""

SUFFIXES = frozenset({".json", ".jinja", ".md", ".model", ".onnx", ".safetensors", ".txt"})
"""Of files that hold data alone. ``.bin``, ``.pt`` and ``.pkl`` may be pickles, and ``.py`` is code."""

TEXTS = frozenset({"LICENSE", "NOTICE"})
"""Files without a suffix that are text by custom."""

MOST_FILES = 1000
PLACE_DIGITS = 12

FilePath = Annotated[
    str, StringConstraints(pattern=r"^[A-Za-z0-9_][A-Za-z0-9._-]*(/[A-Za-z0-9_][A-Za-z0-9._-]*){0,4}$")
]
Digest = Annotated[str, StringConstraints(pattern=r"^[0-9a-f]{64}$")]


class NotABundle(RegistryError):
    """The folder has nothing that can be registered, or what must not be."""


class _Strict(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True, strict=True)


REFERENCE = re.compile(r"registry:([a-z0-9][a-z0-9._-]{0,62})(?:@([A-Za-z0-9][A-Za-z0-9._-]{0,62})|/([1-9][0-9]{0,8}))")
SCHEME = "registry:"


@dataclass(frozen=True)
class Reference:
    """A version as settings and commands name one. Either ``alias`` or ``version`` is not empty."""

    name: str
    alias: str = ""
    version: str = ""

    @classmethod
    def parse(cls, text: str) -> Reference | None:
        """``registry:NAME@ALIAS`` or ``registry:NAME/VERSION``; None: it is something else, such as a folder.

        Raises:
            VersionNotFound: it begins like one, and is none.
        """
        if not text.startswith(SCHEME):
            return None
        found = REFERENCE.fullmatch(text)
        if found is None:
            raise VersionNotFound(f"{text!r}: expected registry:NAME@ALIAS or registry:NAME/VERSION")
        return cls(found[1], found[2] or "", found[3] or "")

    def __str__(self) -> str:
        return f"{SCHEME}{self.name}" + (f"@{self.alias}" if self.alias else f"/{self.version}")


class BundledFile(_Strict):
    sha256: Digest
    bytes: int = Field(ge=0)


class Manifest(_Strict):
    """``files``: path below the folder → what it must be."""

    format: Literal[1] = 1
    kind: Kind
    files: dict[FilePath, BundledFile] = Field(min_length=1, max_length=MOST_FILES)

    def to_json(self) -> str:
        return self.model_dump_json(indent=1)

    @property
    def digest(self) -> str:
        """What :data:`MANIFEST_DIGEST_TAG` is of a version with these files (SHA-256, hex)."""
        return hashlib.sha256(self.to_json().encode()).hexdigest()


@dataclass(frozen=True)
class BundleVersion:
    """One version, and what its manifest must hash to (SHA-256, hex).

    ``base_digest``: of the manifest of the model that it was fine-tuned from; empty where none is told.
    """

    name: str
    version: str
    run_id: str
    kind: Kind
    manifest_digest: str
    aliases: tuple[str, ...] = ()
    base_digest: str = ""


class Bundles:
    """Reads and publishes versions that are folders. Errors leave here as in :class:`training.registry.Registry`."""

    def __init__(self, uri: str | None = None) -> None:
        self._registry = Registry(uri)

    @property
    def uri(self) -> str:
        return self._registry.uri

    def resolve(self, name: str, alias: str) -> BundleVersion:
        """The version that ``alias`` names now.

        Raises:
            RegistryUnreachable, VersionNotFound.
            VersionUnverifiable: the version is no bundle of this project's.
        """
        with mapped_errors(self.uri, f"{name}@{alias}"):
            found = client(self.uri).get_model_version_by_alias(name, alias)
        return _version(found)

    def find(self, reference: Reference) -> BundleVersion:
        """The version that a reference names now.

        Raises:
            RegistryUnreachable, VersionNotFound.
            VersionUnverifiable: the version is no bundle of this project's.
        """
        if reference.alias:
            return self.resolve(reference.name, reference.alias)
        with mapped_errors(self.uri, str(reference)):
            found = client(self.uri).get_model_version(reference.name, reference.version)
        return _version(found)

    def versions(self, name: str) -> list[BundleVersion]:
        """Every bundle of this name, the newest first."""
        with mapped_errors(self.uri, name):
            found = client(self.uri).search_model_versions(f"name = '{name}'")
        bundles = (_version(version) for version in found if MANIFEST_DIGEST_TAG in version.tags)
        return sorted(bundles, key=lambda version: int(version.version), reverse=True)

    def set_alias(self, name: str, alias: str, version: str) -> None:
        self._registry.set_alias(name, alias, version)

    def publish(
        self,
        name: str,
        folder: Path,
        kind: Kind,
        run_id: str,
        tags: Mapping[str, str] | None = None,
        *,
        manifest: Manifest | None = None,
    ) -> BundleVersion:
        """Register the files of ``folder`` as the next version of ``name``, under the run that made them.

        ``manifest``: what :func:`manifest_of` said of the folder, where that was asked before.

        Raises:
            NotABundle: it has no files, or one of a kind that may be code.
            NameTaken: the name is not one of such versions; nothing was written.
            RegistryUnreachable: nothing answers at :attr:`uri`.
        """
        manifest = manifest or manifest_of(folder, kind)
        hold_name(self.uri, name, kind)
        registry = client(self.uri)
        with mapped_errors(self.uri, f"run {run_id}"), tempfile.TemporaryDirectory() as scratch:
            staged = Path(scratch) / ARTIFACT_FOLDER
            for file in manifest.files:
                (staged / file).parent.mkdir(parents=True, exist_ok=True)
                # A model has gigabytes, and MLflow copies them itself.
                (staged / file).symlink_to((folder / file).resolve())
            (staged / MANIFEST_FILE).write_text(manifest.to_json(), encoding="utf-8")
            # By its content: a run may register several, and none may take another's place.
            place = f"{ARTIFACT_FOLDER}/{manifest.digest[:PLACE_DIGITS]}"
            registry.log_artifacts(run_id, str(staged), place)
            made = registry.create_model_version(
                name,
                source=f"runs:/{run_id}/{place}",
                run_id=run_id,
                tags={**(tags or {}), KIND_TAG: kind, MANIFEST_DIGEST_TAG: manifest.digest},
            )
            found = registry.get_model_version(name, made.version)
        return _version(found)

    def download(self, version: BundleVersion, folder: Path) -> Manifest:
        """Put the version's files into ``folder`` (created, empty before), each verified, and no others.

        Raises:
            VersionUnverifiable: a file is not there or has other bytes; then ``folder`` is not to be used.
            RegistryUnreachable, VersionNotFound.
        """
        folder.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(prefix=".partial-", dir=folder.parent) as scratch:
            stored = Path(scratch)
            with mapped_errors(self.uri, label(version)):
                import mlflow

                # A models:/ address is looked up in the process-wide registry, whatever the call is told to use.
                mlflow.set_tracking_uri(self.uri)
                mlflow.set_registry_uri(self.uri)
                mlflow.artifacts.download_artifacts(f"models:/{version.name}/{version.version}", dst_path=scratch)
            manifest = verified(version, stored)
            for file in (MANIFEST_FILE, *manifest.files):
                (folder / file).parent.mkdir(parents=True, exist_ok=True)
                (stored / file).rename(folder / file)
        return manifest


def manifest_of(folder: Path, kind: Kind) -> Manifest:
    """What is in a folder, but for what is :func:`left_out`.

    Raises:
        NotABundle: nothing is, or a file of a kind that may be code, or with a name that another system can't have.
    """
    if not folder.is_dir():
        raise NotABundle(f"there is no folder {folder}")
    try:
        files = {
            file: BundledFile(sha256=digest_of(folder / file), bytes=(folder / file).stat().st_size)
            for file in files_of(folder)
        }
        return Manifest(kind=kind, files=files)
    except OSError as error:
        raise _unreadable(error) from error
    except ValidationError as error:
        raise NotABundle(f"{folder} can't be registered: {first_problem(error)}") from error


def left_out(folder: Path) -> list[str]:
    """What lies in a folder and is never part of a bundle: a manifest, which each version has of its own, and what is
    hidden, as ``.gitattributes`` and ``.cache`` of a hub's."""
    return sorted(each.name for each in folder.iterdir() if each.name.startswith(".") or each.name == MANIFEST_FILE)


def files_of(folder: Path) -> Iterator[str]:
    """Each file's path below ``folder``, with ``/``, in order, but for what is :func:`left_out`.

    A link to a file is that file by the link's name, as in a hub's cache.

    Raises:
        NotABundle: one is no ordinary file, such as a link to a folder, or is of a kind that may be code.
    """
    without = left_out(folder)
    for file in sorted(folder.rglob("*")):
        path = PurePosixPath(file.relative_to(folder))
        if path.parts[0] in without or (file.is_dir() and not file.is_symlink()):
            continue
        _require_data(folder, file)
        yield str(path)


def notices_of(folder: Path) -> dict[str, bytes]:
    """The files at a folder's top that say what it is and on what terms: they go along with what is made of it.

    Raises:
        NotABundle: as in :func:`files_of`, or one can't be read.
    """
    found = {}
    try:
        for file in sorted(folder.iterdir()):
            if file.suffix == ".md" or file.stem in TEXTS:
                _require_data(folder, file)
                found[file.name] = file.read_bytes()
    except OSError as error:
        raise _unreadable(error) from error
    return found


def _unreadable(error: OSError) -> NotABundle:
    return NotABundle(f"{error.filename} can't be read: {error.strerror}")


def _require_data(folder: Path, file: Path) -> None:
    name = file.relative_to(folder).as_posix()
    if not file.is_file():
        said = "a link to no ordinary file" if file.is_symlink() else "no ordinary file"
        raise NotABundle(f"{folder} can't be registered: {name} is {said}")
    if file.suffix not in SUFFIXES and file.name not in TEXTS:
        expected = ", ".join(sorted(SUFFIXES))
        raise NotABundle(f"{folder} can't be registered: {name} may be code: expected files of the kinds {expected}")


def verified(version: BundleVersion, folder: Path) -> Manifest:
    """The manifest of a version's files in ``folder``, each of which is what it says.

    Raises:
        VersionUnverifiable: the manifest, or a file that it names, is missing or has other bytes.
    """
    content = _own(version, folder, MANIFEST_FILE).read_bytes()
    if hashlib.sha256(content).hexdigest() != version.manifest_digest:
        raise VersionUnverifiable(f"{label(version)}: {MANIFEST_FILE} is not what was registered")
    try:
        manifest = Manifest.model_validate_json(content)
    except ValidationError as error:
        raise VersionUnverifiable(f"{label(version)}: {MANIFEST_FILE}: {first_problem(error)}") from error
    for name, expected in manifest.files.items():
        if digest_of(_own(version, folder, name)) != expected.sha256:
            raise VersionUnverifiable(f"{label(version)}: {name} is not what was registered")
    return manifest


def label(version: BundleVersion) -> str:
    """How messages name a version."""
    return f"{version.name} version {version.version}"


def _own(version: BundleVersion, folder: Path, name: str) -> Path:
    """A file that lies in the folder itself, and not where a link leads."""
    file = folder / name
    if not file.is_file() or file.resolve() != folder.resolve() / name:
        raise VersionUnverifiable(f"{label(version)} has no file {name}")
    return file


def _version(found: MlflowModelVersion) -> BundleVersion:
    tags = dict(found.tags)
    kind = next((each for each in KINDS if each == tags.get(KIND_TAG)), None)
    if kind is None or MANIFEST_DIGEST_TAG not in tags:
        raise VersionUnverifiable(
            f"{found.name} version {found.version} has no tags {KIND_TAG} and {MANIFEST_DIGEST_TAG}: it is no language "
            "model, adapter or encoder that `python -m training` registered"
        )
    return BundleVersion(
        name=found.name,
        version=str(found.version),
        run_id=found.run_id or "",
        kind=kind,
        manifest_digest=tags[MANIFEST_DIGEST_TAG],
        aliases=tuple(found.aliases),
        base_digest=tags.get(BASE_DIGEST_TAG, ""),
    )
