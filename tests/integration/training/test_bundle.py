"""Versions that are folders, in a real registry: what comes back is what was registered, and nothing else."""

from __future__ import annotations

import re
from dataclasses import dataclass, replace
from pathlib import Path

import pytest

from serve.releases.bundles import fetch_bundle
from tests.unit.training.finetune.tokenizers import tokenizer
from training.__main__ import main
from training.bundle import (
    MANIFEST_FILE,
    Bundles,
    BundleVersion,
    NameTaken,
    NotABundle,
    left_out,
    manifest_of,
)
from training.registry import (
    RegistryError,
    RegistryUnreachable,
    VersionNotFound,
    VersionUnverifiable,
    client,
    digest_of,
    local_uri,
)

pytestmark = pytest.mark.integration

NAME = "assistant"
FILES = {"config.json": b"{}", "model.safetensors": bytes(1000), "1_Pooling/config.json": b'{"mean": true}'}


def write(folder: Path, files: dict[str, bytes] = FILES) -> Path:
    for name, content in files.items():
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_bytes(content)
    return folder


@dataclass(frozen=True)
class Published:
    bundles: Bundles
    version: BundleVersion
    files: dict[str, bytes]
    store: Path
    """Where the registry keeps the version's files."""


@pytest.fixture
def published(registry: tuple[str, str], tmp_path: Path) -> Published:
    uri, run_id = registry
    bundles = Bundles(uri)
    # Of each test its own: versions of the same content lie in the same place.
    files = {**FILES, "notes.txt": str(tmp_path).encode()}
    version = bundles.publish(NAME, write(tmp_path / "made", files), "language-model", run_id, {"by": "a test"})
    return Published(bundles, version, files, store(uri, version))


@pytest.fixture(scope="module")
def registry(tmp_path_factory: pytest.TempPathFactory) -> tuple[str, str]:
    """The address of a registry, and a run in it."""
    folder = tmp_path_factory.mktemp("registry")
    uri = local_uri(folder)
    mlflow = client(uri, create=True)
    experiment = mlflow.create_experiment(NAME, artifact_location=(folder / "artifacts").as_uri())
    return uri, mlflow.create_run(experiment).info.run_id


def store(uri: str, version: BundleVersion) -> Path:
    run = client(uri).get_run(version.run_id)
    source = client(uri).get_model_version(version.name, version.version).source
    return Path(run.info.artifact_uri.removeprefix("file://"), source.partition(f"{version.run_id}/")[2])


def names(folder: Path) -> list[str]:
    return sorted(str(file.relative_to(folder)) for file in folder.rglob("*") if file.is_file())


def test_a_version_is_found_by_its_alias_and_comes_back_byte_by_byte(published: Published, tmp_path: Path) -> None:
    published.bundles.set_alias(NAME, "champion", published.version.version)
    found = published.bundles.resolve(NAME, "champion")
    assert found == replace(published.version, aliases=("champion",))
    assert published.version in published.bundles.versions(NAME)
    manifest = published.bundles.download(found, tmp_path / "copy")
    assert manifest == manifest_of(tmp_path / "made", "language-model")
    assert {name: (tmp_path / "copy" / name).read_bytes() for name in published.files} == published.files


def test_the_cache_holds_the_named_files_alone_and_is_read_again_without_the_store(
    published: Published, tmp_path: Path
) -> None:
    (published.store / "sitecustomize.py").write_text("raise SystemExit")
    first = fetch_bundle(published.bundles, published.version, tmp_path / "cache")
    assert names(first) == sorted([*published.files, MANIFEST_FILE])
    (published.store / "config.json").unlink()
    assert fetch_bundle(published.bundles, published.version, tmp_path / "cache") == first


@pytest.mark.parametrize("name", [MANIFEST_FILE, "model.safetensors", "1_Pooling/config.json"])
def test_a_changed_file_in_the_store_is_refused_and_leaves_nothing(
    published: Published, tmp_path: Path, name: str
) -> None:
    content = bytearray((published.store / name).read_bytes())
    content[-2] ^= 1
    (published.store / name).write_bytes(content)
    with pytest.raises(VersionUnverifiable, match=f"{name} is not what was registered"):
        fetch_bundle(published.bundles, published.version, tmp_path / "cache")
    assert names(tmp_path / "cache") == []


@pytest.mark.parametrize("name", [MANIFEST_FILE, "config.json"])
def test_a_missing_file_in_the_store_is_refused(published: Published, tmp_path: Path, name: str) -> None:
    (published.store / name).unlink()
    with pytest.raises(VersionUnverifiable, match=f"has no file {name}"):
        fetch_bundle(published.bundles, published.version, tmp_path / "cache")


def test_a_link_in_the_store_is_not_followed(published: Published, tmp_path: Path) -> None:
    same = tmp_path / "elsewhere.json"
    same.write_bytes(FILES["config.json"])
    (published.store / "config.json").unlink()
    (published.store / "config.json").symlink_to(same)
    with pytest.raises(RegistryError):
        fetch_bundle(published.bundles, published.version, tmp_path / "cache")
    assert names(tmp_path / "cache") == []


def test_two_versions_of_a_run_lie_beside_each_other(published: Published, tmp_path: Path) -> None:
    other = {"adapter_config.json": b"{}", "adapter_model.safetensors": bytes(10)}
    adapter = published.bundles.publish("tone", write(tmp_path / "other", other), "adapter", published.version.run_id)
    assert names(fetch_bundle(published.bundles, adapter, tmp_path / "cache")) == sorted([*other, MANIFEST_FILE])
    first = fetch_bundle(published.bundles, published.version, tmp_path / "cache")
    assert names(first) == sorted([*published.files, MANIFEST_FILE])


def test_a_changed_file_in_the_cache_is_fetched_anew(published: Published, tmp_path: Path) -> None:
    folder = fetch_bundle(published.bundles, published.version, tmp_path / "cache")
    (folder / "model.safetensors").write_bytes(b"another")
    assert fetch_bundle(published.bundles, published.version, tmp_path / "cache") == folder
    assert (folder / "model.safetensors").read_bytes() == FILES["model.safetensors"]


def test_a_manifest_that_names_a_file_outside_is_refused(published: Published, tmp_path: Path) -> None:
    manifest = (published.store / MANIFEST_FILE).read_text().replace("config.json", "../config.json", 1)
    (published.store / MANIFEST_FILE).write_text(manifest)
    forged = replace(published.version, manifest_digest=digest_of(published.store / MANIFEST_FILE))
    with pytest.raises(VersionUnverifiable, match=MANIFEST_FILE):
        published.bundles.download(forged, tmp_path / "copy")


@pytest.mark.parametrize("name", ["pytorch_model.bin", "modeling_own.py", "weights.pt", "a/weights.pkl", "script"])
def test_what_may_be_code_is_not_registered(tmp_path: Path, name: str) -> None:
    with pytest.raises(NotABundle, match=f"{name} may be code"):
        manifest_of(write(tmp_path / "made", {**FILES, name: b"x"}), "language-model")


@pytest.mark.parametrize("name", [".hidden.json", ".gitattributes", ".cache/download/model.lock"])
def test_what_is_hidden_at_the_top_is_no_part_of_it_and_is_named(tmp_path: Path, name: str) -> None:
    folder = write(tmp_path / "made")
    without = manifest_of(folder, "language-model")
    assert left_out(folder) == []
    write(folder, {name: b"{}"})
    assert manifest_of(folder, "language-model") == without
    assert left_out(folder) == [name.partition("/")[0]]


def test_a_hub_s_download_is_imported_as_it_is(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    folder = write(tmp_path / "made", {**FILES, "LICENSE": b"x", ".gitattributes": b"x", ".cache/model.lock": b""})
    tokenizer().save_pretrained(str(folder))
    monkeypatch.setenv("MLFLOW_TRACKING_URI", local_uri(tmp_path))
    assert main(["import-model", NAME, "--folder", str(folder)]) == 0
    assert re.search(r"MB; left out: \.cache, \.gitattributes$", capsys.readouterr().out, re.MULTILINE)
    found = Bundles(local_uri(tmp_path))
    manifest = found.download(found.resolve(NAME, "champion"), tmp_path / "copy")
    assert {*FILES, "LICENSE", "tokenizer.json"} <= set(manifest.files)
    assert not any(name.startswith(".") for name in manifest.files)


@pytest.mark.parametrize("name", ["LICENSE", "NOTICE", "1_Pooling/LICENSE"])
def test_a_license_is_registered(tmp_path: Path, name: str) -> None:
    files = {**FILES, name: b"Apache License"}
    assert set(manifest_of(write(tmp_path / "made", files), "language-model").files) == set(files)


def test_a_link_is_not_registered(tmp_path: Path) -> None:
    write(tmp_path / "made")
    (tmp_path / "made" / "passwords.txt").symlink_to("/etc/passwd")
    with pytest.raises(NotABundle, match=r"passwords\.txt is no ordinary file"):
        manifest_of(tmp_path / "made", "adapter")


@pytest.mark.parametrize("name", [" config.json", "a b.json", "1_Pooling/.hidden.json"])
def test_a_name_that_is_none_everywhere_is_not_registered(tmp_path: Path, name: str) -> None:
    with pytest.raises(NotABundle, match="can't be registered"):
        manifest_of(write(tmp_path / "made", {name: b"{}"}), "adapter")


def test_an_empty_folder_and_a_missing_one_are_not_registered(tmp_path: Path) -> None:
    (tmp_path / "empty").mkdir()
    with pytest.raises(NotABundle, match="can't be registered"):
        manifest_of(tmp_path / "empty", "adapter")
    with pytest.raises(NotABundle, match="there is no folder"):
        manifest_of(tmp_path / "nowhere", "adapter")


def test_a_version_of_another_making_is_not_taken(registry: tuple[str, str]) -> None:
    uri, run_id = registry
    mlflow = client(uri)
    mlflow.create_registered_model("foreign")
    made = mlflow.create_model_version("foreign", source=f"runs:/{run_id}/model", run_id=run_id)
    Bundles(uri).set_alias("foreign", "champion", made.version)
    with pytest.raises(VersionUnverifiable, match=r"bundle\.kind and manifest\.sha256"):
        Bundles(uri).resolve("foreign", "champion")
    assert Bundles(uri).versions("foreign") == []


def test_a_name_holds_one_kind(published: Published, registry: tuple[str, str], tmp_path: Path) -> None:
    assert published.bundles.is_first("unheard-of", "encoder")
    assert not published.bundles.is_first(NAME, "language-model")
    with pytest.raises(NameTaken, match=f"{NAME} has versions of the kind language-model: take another name"):
        published.bundles.is_first(NAME, "encoder")


def test_what_is_not_there_is_said(registry: tuple[str, str], tmp_path: Path) -> None:
    with pytest.raises(VersionNotFound, match="nothing@champion"):
        Bundles(registry[0]).resolve("nothing", "champion")
    with pytest.raises(RegistryUnreachable, match="there is no registry"):
        Bundles(local_uri(tmp_path / "none")).resolve(NAME, "champion")
