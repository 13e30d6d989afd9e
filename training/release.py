"""A version's files in a folder of their own, for what serves them without a registry."""

from __future__ import annotations

import json
import shutil
import tempfile
from pathlib import Path

from console import UserError, stage
from console.folders import sent
from training.registry import (
    CONTRACT_FILE,
    MODEL_FILE,
    RELEASE_FILE,
    ModelVersion,
    Registry,
    VersionUnverifiable,
    digest_of,
)

FIELDS = ("name", "version", "model_digest", "contract_digest")


def release(version: ModelVersion, registry: Registry, to: str) -> str:
    """Write ``model.onnx``, ``contract.json`` and ``release.json`` into ``TO/NAME/VERSION``, and return that.

    ``to``: a folder, or ``s3://BUCKET/PREFIX``. ``release.json`` has the name, the version and the SHA-256 (hex) of
    the other two, and is written last.

    Raises:
        VersionUnverifiable: the registry gives other files than were registered.
        RegistryUnreachable: it gives none.
        UserError: they can't be written there; FolderError or AwsError where that is S3.
    """
    place = f"{to.rstrip('/')}/{version.name}/{version.version}"
    expected = {MODEL_FILE: version.model_digest, CONTRACT_FILE: version.contract_digest}
    products = {RELEASE_FILE, *(Path(file).name for file in expected)}
    with (
        stage(f"release {version.name} version {version.version} to {place}"),
        tempfile.TemporaryDirectory() as scratch,
        sent(place, products, last=RELEASE_FILE) as folder,
    ):
        stored = registry.download(version, Path(scratch))
        try:
            folder.mkdir(parents=True, exist_ok=True)
            for file, digest in expected.items():
                _copy_verified(version, stored, file, folder, digest)
            document = {field: getattr(version, field) for field in FIELDS}
            (folder / RELEASE_FILE).write_text(json.dumps(document, indent=2) + "\n", encoding="utf-8")
        except OSError as error:
            raise UserError(f"can't write {folder} ({error.strerror}): name another folder by --to") from error
    return place


def _copy_verified(version: ModelVersion, stored: Path, file: str, folder: Path, digest: str) -> None:
    if not (stored / file).is_file():
        raise VersionUnverifiable(
            f"{version.name} version {version.version} has no file {file} in the registry's store"
        )
    copy = folder / Path(file).name
    shutil.copyfile(stored / file, copy)
    # Of the copy: what was read is what is vouched for.
    if digest_of(copy) != digest:
        raise VersionUnverifiable(f"{version.name} version {version.version}: {file} has other bytes")
