"""Versions that are folders, in a real registry: what comes back is what was registered, and nothing else."""

from __future__ import annotations

import os
import re
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from pathlib import Path
from threading import Barrier

import pytest
import safetensors.torch
import torch
from tokenizers import Tokenizer
from tokenizers.models import WordLevel

from serve.releases.bundles import fetch_bundle
from tests.integration.serve.conftest import register
from tests.unit.serve import tiny
from tests.unit.training import hub
from tests.unit.training.finetune.tokenizers import tokenizer
from training import encoder, tracking
from training.__main__ import main
from training.bundle import (
    MANIFEST_FILE,
    Bundles,
    BundleVersion,
    Kind,
    NotABundle,
    left_out,
    manifest_of,
    notices_of,
)
from training.encoder_card import EncoderCard
from training.registry import (
    CHALLENGER,
    CHAMPION,
    TABULAR,
    NameTaken,
    Registry,
    RegistryError,
    RegistryUnreachable,
    VersionNotFound,
    VersionUnverifiable,
    alias_for,
    client,
    digest_of,
    hold_name,
    local_uri,
    require_name,
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


def test_a_link_to_a_folder_in_the_cache_is_not_followed(published: Published, tmp_path: Path) -> None:
    folder = fetch_bundle(published.bundles, published.version, tmp_path / "cache")
    (folder / "1_Pooling").rename(tmp_path / "elsewhere")
    (folder / "1_Pooling").symlink_to(tmp_path / "elsewhere")
    assert not (fetch_bundle(published.bundles, published.version, tmp_path / "cache") / "1_Pooling").is_symlink()


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


@pytest.mark.parametrize("name", [".hidden.json", ".gitattributes", ".cache/download/model.lock", MANIFEST_FILE])
def test_what_is_hidden_at_the_top_or_an_earlier_manifest_is_left_out_and_named(tmp_path: Path, name: str) -> None:
    folder = write(tmp_path / "made")
    without = manifest_of(folder, "language-model")
    assert left_out(folder) == []
    write(folder, {name: b"{}"})
    assert manifest_of(folder, "language-model") == without
    assert left_out(folder) == [name.partition("/")[0]]


@pytest.mark.parametrize("cached", [False, True])
def test_a_hub_s_download_is_imported_as_it_is(
    cached: bool,
    registry: tuple[str, str],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    weights = safetensors.torch.save({"a": torch.zeros(2)})
    files = {**FILES, "model.safetensors": weights, "LICENSE": b"x", ".gitattributes": b"x", ".cache/model.lock": b""}
    folder = write(tmp_path / "made", files)
    tokenizer().save_pretrained(str(folder))
    if cached:
        folder = hub.snapshot(folder, tmp_path / "cache")
    name = f"downloaded-{cached}".lower()
    monkeypatch.setenv("MLFLOW_TRACKING_URI", registry[0])
    assert main(["import-model", name, "--folder", str(folder)]) == 0
    assert re.search(r"MB; left out: \.cache, \.gitattributes$", capsys.readouterr().out, re.MULTILINE)
    found = Bundles(registry[0])
    manifest = found.download(found.resolve(name, "champion"), tmp_path / "copy")
    assert (tmp_path / "copy" / "LICENSE").read_bytes() == b"x"
    assert {*FILES, "LICENSE", "tokenizer.json"} <= set(manifest.files)
    assert not any(name.startswith(".") for name in manifest.files)


@pytest.mark.parametrize("name", ["LICENSE", "NOTICE", "1_Pooling/LICENSE"])
def test_a_license_is_registered(tmp_path: Path, name: str) -> None:
    files = {**FILES, name: b"Apache License"}
    assert set(manifest_of(write(tmp_path / "made", files), "language-model").files) == set(files)


@pytest.mark.parametrize(
    ("name", "target"),
    [("onnx", "/etc"), ("1_Pooling/more", "/etc"), ("nowhere.txt", "/nowhere"), ("device.txt", "/dev/null")],
)
def test_a_link_to_what_is_no_file_is_not_registered(tmp_path: Path, name: str, target: str) -> None:
    (write(tmp_path / "made") / name).symlink_to(target)
    with pytest.raises(NotABundle, match=f"{name} is a link to no ordinary file"):
        manifest_of(tmp_path / "made", "adapter")


def test_a_pipe_is_not_registered(tmp_path: Path) -> None:
    os.mkfifo(write(tmp_path / "made") / "vocab.txt")
    with pytest.raises(NotABundle, match=r"vocab\.txt is no ordinary file"):
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


class TestName:
    """What a name holds."""

    @pytest.fixture
    def champion(self, published: Published) -> BundleVersion:
        published.bundles.set_alias(NAME, CHAMPION, published.version.version)
        return published.bundles.resolve(NAME, CHAMPION)

    def test_it_holds_one_kind(self, champion: BundleVersion, registry: tuple[str, str], tmp_path: Path) -> None:
        uri, run_id = registry
        require_name(uri, "unheard-of", "encoder")
        require_name(uri, NAME, "language-model")
        kept = [each.path for each in client(uri).list_artifacts(run_id)]
        refused = f"{NAME} is for versions of the kind language-model: take another name"
        with pytest.raises(NameTaken, match=refused):
            Bundles(uri).publish(NAME, write(tmp_path / "other"), "encoder", run_id)
        with pytest.raises(NameTaken, match=refused):
            Registry(uri).publish(NAME, tiny.graph(), tiny.contract(), {}, run_id)
        assert [each.path for each in client(uri).list_artifacts(run_id)] == kept
        assert Bundles(uri).resolve(NAME, CHAMPION) == champion

    @pytest.mark.parametrize("command", ["train", "register"])
    def test_no_command_for_tables_takes_one_of_bundles(
        self,
        command: str,
        champion: BundleVersion,
        registry: tuple[str, str],
        view_folder: Path,
        tmp_path: Path,
        monkeypatch: pytest.MonkeyPatch,
        capsys: pytest.CaptureFixture[str],
    ) -> None:
        uri, run_id = registry
        monkeypatch.setenv("MLFLOW_TRACKING_URI", uri)
        more = ("--run", run_id) if command == "register" else ("--runs", str(tmp_path))
        assert main([command, NAME, "--view", str(view_folder), *more]) == 2
        said = f"error: {NAME} is for versions of the kind language-model: take another name\n"
        assert capsys.readouterr().err == said
        assert Bundles(uri).resolve(NAME, CHAMPION) == champion

    def test_one_of_tables_takes_no_bundle(self, registry: tuple[str, str], tmp_path: Path) -> None:
        version = register(registry[0], artifacts=(tmp_path / "artifacts").as_uri())
        with pytest.raises(NameTaken, match=f"{version.name} is for versions of the kind tabular: take another name"):
            Bundles(registry[0]).publish(version.name, write(tmp_path / "made"), "adapter", version.run_id)

    def test_what_is_a_prompt_s_or_of_another_s_making_is_not_taken(self, registry: tuple[str, str]) -> None:
        uri, run_id = registry
        mlflow = client(uri)
        mlflow.register_prompt("greeting", "Hello {{name}}")
        mlflow.create_registered_model("theirs")
        mlflow.create_model_version("theirs", source=f"runs:/{run_id}/model", run_id=run_id)
        for name, said in (("greeting", "is the name of a prompt"), ("theirs", "version 1 was not registered by")):
            for kind in (TABULAR, "adapter"):
                with pytest.raises(NameTaken, match=f"{name} {said}"):
                    hold_name(uri, name, kind)

    def test_of_versions_at_once_each_is_registered_where_they_are_of_one_kind(
        self, registry: tuple[str, str], tmp_path: Path
    ) -> None:
        uri, run_id = registry
        folders = [write(tmp_path / str(number), {"config.json": b"%d" % number}) for number in range(3)]
        with ThreadPoolExecutor(len(folders)) as pool:
            found = list(pool.map(lambda each: Bundles(uri).publish("at-once", each, "adapter", run_id), folders))
        assert sorted(version.version for version in found) == ["1", "2", "3"]
        assert [alias_for(uri, "at-once", number) for number in "123"] == [CHAMPION, CHALLENGER, CHALLENGER]

    def test_of_two_kinds_at_once_one_is_refused(self, registry: tuple[str, str]) -> None:
        kinds: tuple[Kind, ...] = ("adapter", "encoder")
        with ThreadPoolExecutor(2) as pool:
            asked = [pool.submit(hold_name, registry[0], "contested", kind) for kind in kinds]
        [refused] = [error for each in asked if (error := each.exception()) is not None]
        assert isinstance(refused, NameTaken)

    def test_of_runs_that_begin_at_once_each_is_in_the_one_experiment(
        self, registry: tuple[str, str], monkeypatch: pytest.MonkeyPatch
    ) -> None:
        both, place = Barrier(2), tracking._artifact_location

        def met(uri: str, model: str) -> str | None:
            both.wait(240)
            return place(uri, model)

        monkeypatch.setattr(tracking, "_artifact_location", met)
        with ThreadPoolExecutor(2) as pool:
            found = set(pool.map(lambda uri: tracking.experiment_of(uri, "begun-twice"), [registry[0]] * 2))
        assert len(found) == 1


def test_an_encoder_s_version_has_its_folder_s_licence(registry: tuple[str, str], tmp_path: Path) -> None:
    made = write(tmp_path / "made", {"LICENSE": b"Apache License", "README.md": b"# Sentences"})
    folder = hub.snapshot(made, tmp_path / "cache")
    card = EncoderCard(dims=1, max_tokens=2, vocabulary=1, pad=0, normalized=True)
    words = Tokenizer(WordLevel({"a": 0}, unk_token="a"))
    found = encoder.Encoder(torch.nn.Identity(), words, card, notices_of(folder))
    version = encoder.publish("sentences", tiny.graph(), found, 0.0, registry[0])
    manifest = Bundles(registry[0]).download(version, tmp_path / "copy")
    assert set(manifest.files) == {"LICENSE", "README.md", "encoder.json", "model.onnx", "tokenizer.json"}
    assert (tmp_path / "copy" / "LICENSE").read_bytes() == b"Apache License"


def test_what_is_not_there_is_said(registry: tuple[str, str], tmp_path: Path) -> None:
    with pytest.raises(VersionNotFound, match="nothing@champion"):
        Bundles(registry[0]).resolve("nothing", "champion")
    with pytest.raises(RegistryUnreachable, match="there is no registry"):
        Bundles(local_uri(tmp_path / "none")).resolve(NAME, "champion")
