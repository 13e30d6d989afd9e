"""Fetch a version that is a folder, and prove each of its files, before anything loads one.

In the cache it is ``<cache>/<name>/<version>-<first 12 digits of the manifest's digest>/``.
"""

from __future__ import annotations

import logging
import shutil
import tempfile
from pathlib import Path

from serve.releases.verify import DIGEST_DIGITS, cache_errors
from training.bundle import Bundles, BundleVersion, verified
from training.registry import VersionUnverifiable

logger = logging.getLogger("ray.serve")


def folder_of(version: BundleVersion, cache: Path) -> Path:
    """Where :func:`fetch_bundle` keeps ``version``."""
    return cache / version.name / f"{version.version}-{version.manifest_digest[:DIGEST_DIGITS]}"


def fetch_bundle(bundles: Bundles, version: BundleVersion, cache: Path) -> Path:
    """A folder with a verified copy of ``version``: from the cache if it is there intact, else from the registry.

    A cached copy is hashed again on every call; one that was changed is deleted and fetched anew. A download that
    fails any check leaves nothing behind.

    Raises:
        VersionUnverifiable: the version's files are not what was registered.
        CacheUnusable: the cache folder can't be read or written.
        RegistryError: the registry does not answer.
    """
    folder = folder_of(version, cache)
    with cache_errors(cache):
        if folder.is_dir():
            try:
                verified(version, folder)
            except VersionUnverifiable as error:
                logger.warning("%s in the cache: deleted, and fetched anew", error)
                shutil.rmtree(folder)
            else:
                return folder
        folder.parent.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(prefix=".partial-", dir=folder.parent) as partial:
            kept = Path(partial) / "kept"
            bundles.download(version, kept)
            try:
                kept.rename(folder)
            except OSError:
                # Another process on this machine was first: its copy is checked like any other.
                verified(version, folder)
    return folder
