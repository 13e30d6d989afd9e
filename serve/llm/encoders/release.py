"""Which version a text encoder's setting names. Imports nothing heavy: it is asked before anything starts."""

from __future__ import annotations

from training.bundle import Bundles, BundleVersion, Reference
from training.registry import VersionNotFound, VersionUnverifiable


def find(bundles: Bundles, model: str) -> BundleVersion:
    """The version that ``registry:NAME@ALIAS`` or ``registry:NAME/VERSION`` names now.

    Raises:
        RegistryUnreachable, VersionNotFound.
        VersionUnverifiable: it is no text encoder of this project's.
    """
    reference = Reference.parse(model)
    if reference is None:
        raise VersionNotFound(f"{model!r}: expected registry:NAME@ALIAS or registry:NAME/VERSION")
    version = bundles.find(reference)
    if version.kind != "encoder":
        raise VersionUnverifiable(f"{model} is of the kind {version.kind}, expected encoder")
    return version
