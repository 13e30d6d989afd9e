"""Fetch a version from the registry and prove that it is what was registered, before anything loads it.

The registry keeps the SHA-256 of the model and of its contract in its database, apart from the
artifact store that holds the files. Nothing here unpickles, and nothing but the two verified files
enters the cache: ``<cache>/<name>/<version>-<first 12 digits of the model's digest>/``.

Errors::

    UserError
    └── VerificationError       this version must not be served
        ├── FileMissing         the version has no such file
        ├── DigestMismatch      a file's bytes are not those that were registered
        ├── GraphUnusable       not a self-contained, valid ONNX graph
        └── GraphMismatch       the graph's inputs are not the contract's features
    CacheUnusable (UserError)   the cache folder can't be read or written

Besides, ``training.registry.RegistryError`` and ``spark_jobs.contract.ContractError`` pass through.
"""

from __future__ import annotations

import logging
import shutil
import tempfile
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from console import UserError, one_line
from spark_jobs.contract import FILE_NAME, Contract, parse_contract
from training.registry import CONTRACT_FILE, MODEL_FILE, ModelVersion, Registry, digest_of

if TYPE_CHECKING:
    from onnx import AttributeProto, GraphProto, ModelProto, TensorProto

DIGEST_DIGITS = 12
"""Enough to tell versions apart in a folder's name; the check itself compares all 64."""

logger = logging.getLogger("ray.serve")


class VerificationError(UserError):
    """This version must not be served."""


class FileMissing(VerificationError):
    """The version has no such file."""


class DigestMismatch(VerificationError):
    """A file's bytes are not those that were registered."""


class GraphUnusable(VerificationError):
    """The model is not a self-contained, valid ONNX graph."""


class GraphMismatch(VerificationError):
    """The graph's inputs are not the contract's features."""


class CacheUnusable(UserError):
    """The cache folder can't be read or written."""


@dataclass(frozen=True)
class VerifiedModel:
    """A version whose files were verified; ``model`` and the parsed ``contract`` may be trusted."""

    version: ModelVersion
    folder: Path
    contract: Contract

    @property
    def model(self) -> Path:
        return self.folder / MODEL_FILE


def fetch(registry: Registry, version: ModelVersion, cache: Path) -> VerifiedModel:
    """Give a verified copy of ``version``: from the cache if it is there intact, else from the registry.

    A cached copy is hashed again on every call; one that was changed is deleted and fetched anew. A
    download that fails any check leaves nothing behind.

    Raises:
        VerificationError: the version's files are not what was registered, or can't be served.
        CacheUnusable: the cache folder can't be read or written.
        RegistryError: the registry does not answer.
        ContractError: the contract is not one of this format, or its own digest is wrong.
    """
    folder = cache / version.name / f"{version.version}-{version.model_digest[:DIGEST_DIGITS]}"
    with cache_errors(cache):
        if folder.is_dir():
            try:
                return _verified(version, folder, "the cache")
            except VerificationError as error:
                logger.warning("%s: deleted, and fetched anew", error)
                shutil.rmtree(folder)
        folder.parent.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(prefix=".partial-", dir=folder.parent) as partial:
            download = registry.download(version, Path(partial) / "download")
            kept = Path(partial) / "kept"
            kept.mkdir()
            for stored, name in ((MODEL_FILE, MODEL_FILE), (CONTRACT_FILE, FILE_NAME)):
                file = download / stored
                if not file.is_file() or file.is_symlink():
                    raise FileMissing(f"{_label(version)} has no file {stored} in the registry's store")
                file.rename(kept / name)
            found = _verified(version, kept, "the registry's store")
            try:
                kept.rename(folder)
            except OSError:
                # Another replica on this machine was first: its copy is checked like any other.
                return _verified(version, folder, "the cache")
    return VerifiedModel(version, folder, found.contract)


def _verified(version: ModelVersion, folder: Path, where: str) -> VerifiedModel:
    for name, expected in ((MODEL_FILE, version.model_digest), (FILE_NAME, version.contract_digest)):
        file = folder / name
        if not file.is_file():
            raise FileMissing(f"{_label(version)} has no file {name} in {where}")
        if (found := digest_of(file)) != expected:
            raise DigestMismatch(
                f"{_label(version)}: {name} in {where} is not what was registered "
                f"(SHA-256 {found[:DIGEST_DIGITS]}…, expected {expected[:DIGEST_DIGITS]}…); it is not served"
            )
    contract = parse_contract((folder / FILE_NAME).read_bytes(), f"{FILE_NAME} of {_label(version)}")
    _check_graph(_label(version), folder / MODEL_FILE, contract)
    return VerifiedModel(version, folder, contract)


def _check_graph(label: str, file: Path, contract: Contract) -> None:
    import onnx
    from google.protobuf.message import DecodeError  # type: ignore[import-untyped]

    try:
        model = onnx.load(file, load_external_data=False)
        if outside := next(_external(model), None):
            raise GraphUnusable(f"{label}: {MODEL_FILE} keeps {outside} in another file, which nothing vouches for")
        onnx.checker.check_model(model)
    except (DecodeError, onnx.checker.ValidationError, ValueError, TypeError) as error:
        raise GraphUnusable(f"{label}: {MODEL_FILE} is not a valid ONNX model: {one_line(str(error))[:200]}") from error
    found = _inputs(model)
    expected = {column.name: ("string" if column.dtype == "string" else "float", 1) for column in contract.features}
    for name in [*expected, *found]:
        if found.get(name) != expected.get(name):
            raise GraphMismatch(
                f"{label}: the graph's input {name} is {_described(found.get(name))}, "
                f"the contract's feature is {_described(expected.get(name))}"
            )


def _inputs(model: ModelProto) -> dict[str, tuple[str, int]]:
    """Name → (element type, rank) of every input that a request has to give."""
    from onnx import TensorProto

    constants = {tensor.name for tensor in model.graph.initializer}
    return {
        node.name: (
            TensorProto.DataType.Name(node.type.tensor_type.elem_type).lower(),
            len(node.type.tensor_type.shape.dim),
        )
        for node in model.graph.input
        if node.name not in constants
    }


def _external(model: ModelProto) -> Iterator[str]:
    """Names of tensors kept outside the file, in the graph, its subgraphs and its functions."""
    from onnx.external_data_helper import uses_external_data

    def tensors(graph: GraphProto) -> Iterator[TensorProto]:
        yield from graph.initializer
        for sparse in graph.sparse_initializer:
            yield from (sparse.values, sparse.indices)
        for node in graph.node:
            yield from attributes(node.attribute)

    def attributes(found: Iterable[AttributeProto]) -> Iterator[TensorProto]:
        for attribute in found:
            yield from (attribute.t, *attribute.tensors)
            for graph in (attribute.g, *attribute.graphs):
                yield from tensors(graph)

    def everything() -> Iterator[TensorProto]:
        yield from tensors(model.graph)
        for function in model.functions:
            for node in function.node:
                yield from attributes(node.attribute)

    return (tensor.name or "a tensor" for tensor in everything() if uses_external_data(tensor))


def _described(found: tuple[str, int] | None) -> str:
    return f"{found[0]} of rank {found[1]}" if found else "not there"


def _label(version: ModelVersion) -> str:
    return f"{version.name} version {version.version}"


@contextmanager
def cache_errors(cache: Path) -> Iterator[None]:
    try:
        yield
    except OSError as error:
        raise CacheUnusable(f"the model cache at {cache} can't be used: {error.strerror or error}") from error
