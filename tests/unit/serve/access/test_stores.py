"""What every store of keys does, and what each says when it can't."""

from __future__ import annotations

import multiprocessing
import os
import sqlite3
import stat
from collections.abc import Callable
from pathlib import Path

import pytest

from serve.access.stores import (
    STORES,
    BadStoreAddress,
    KeyExists,
    KeyNotFound,
    KeyStore,
    KeyStoreUnreadable,
    KeyStoreUnwritable,
    open_store,
)
from serve.caller import Limits
from tests.unit.serve.access.samples import DAY, NOW, make_key

NAMES = {"sqlite": "keys.db", "file": "keys.json"}

Open = Callable[[], KeyStore]


@pytest.fixture(params=NAMES)
def scheme(request: pytest.FixtureRequest) -> str:
    return str(request.param)


@pytest.fixture
def path(tmp_path: Path, scheme: str) -> Path:
    return tmp_path / "folder" / NAMES[scheme]


@pytest.fixture
def uri(scheme: str, path: Path) -> str:
    return f"{scheme}:///{path}" if scheme == "sqlite" else f"{scheme}://{path}"


def test_what_was_added_is_read_by_another_process_s_store(uri: str) -> None:
    plain, _ = make_key()
    limited, _ = make_key("żółw ☂", "a-*", "[bc]?", admin=True, limits=Limits(1.5, 2, 3, 4, 5), expires=NOW + DAY)
    store = open_store(uri)
    store.add(plain)
    store.add(limited)
    assert open_store(uri).read() == {plain.id: plain, limited.id: limited}


def test_a_revoked_key_stays_and_says_since_when(uri: str) -> None:
    key, _ = make_key()
    open_store(uri).add(key)
    assert open_store(uri).revoke(key.id, NOW + DAY).revoked == NOW + DAY
    assert open_store(uri).revoke(key.id, NOW).revoked == NOW
    assert open_store(uri).revoke(key.id, NOW + 2 * DAY).revoked == NOW
    assert open_store(uri).read()[key.id].revoked == NOW


def test_the_version_changes_with_each_change_and_only_then(uri: str) -> None:
    (first, _), (second, _) = make_key(), make_key()
    watching, changing = open_store(uri), open_store(uri)
    changing.add(first)
    versions = [watching.version()]
    changing.add(second)
    versions.append(watching.version())
    changing.revoke(first.id, NOW)
    versions.append(watching.version())
    watching.revoke(second.id, NOW)
    versions.append(watching.version())
    assert len(set(versions)) == 4
    watching.read()
    assert watching.version() == versions[-1]


def test_only_its_owner_may_read_it_whatever_the_umask(uri: str, path: Path) -> None:
    before = os.umask(0)
    try:
        key, _ = make_key()
        open_store(uri).add(key)
        open_store(uri).revoke(key.id, NOW)
    finally:
        os.umask(before)
    assert {stat.S_IMODE(file.stat().st_mode) for file in path.parent.iterdir()} == {0o600}


def test_before_the_first_key_it_is_not_there_and_reading_does_not_make_it(uri: str, path: Path) -> None:
    store = open_store(uri)
    for ask in (store.read, store.version, lambda: store.revoke("0" * 12, NOW)):
        with pytest.raises(KeyStoreUnreadable, match=rf"{path}: there are no keys yet: .*keys create NAME"):
            ask()
    assert not path.exists()


def test_a_store_that_was_replaced_is_read_anew(uri: str, path: Path) -> None:
    (old, _), (new, _) = make_key(), make_key()
    watching = open_store(uri)
    open_store(uri).add(old)
    before = watching.version()
    assert set(watching.read()) == {old.id}
    path.rename(path.with_name("before"))
    with pytest.raises(KeyStoreUnreadable):
        watching.version()
    open_store(uri).add(new)
    assert watching.version() != before
    assert set(watching.read()) == {new.id}


def test_an_id_is_given_once_and_an_unknown_one_is_not_revoked(uri: str, path: Path) -> None:
    key, _ = make_key()
    store = open_store(uri)
    store.add(key)
    with pytest.raises(KeyExists, match=f"{path}: a key has the id {key.id} already"):
        store.add(key)
    with pytest.raises(KeyNotFound, match=rf"{path}: no key has the id 'nope': .*keys list"):
        store.revoke("nope", NOW)


def test_garbage_in_its_place_is_said_to_be_that(uri: str, path: Path) -> None:
    path.parent.mkdir()
    path.write_text("not what it should be, by far\n" * 50)
    key, _ = make_key()
    with pytest.raises(KeyStoreUnreadable, match=f"{path}: "):
        open_store(uri).read()
    with pytest.raises((KeyStoreUnwritable, KeyStoreUnreadable), match=f"{path}: "):
        open_store(uri).add(key)
    assert path.read_text().startswith("not what")


def test_a_folder_in_its_place_is_said_to_be_that(uri: str, path: Path) -> None:
    path.mkdir(parents=True)
    with pytest.raises(KeyStoreUnreadable, match=f"{path}: can't be read"):
        open_store(uri).read()


def test_a_place_that_can_t_be_made_is_named(uri: str, path: Path) -> None:
    path.parent.write_text("a file where the folder should be")
    key, _ = make_key()
    with pytest.raises(KeyStoreUnwritable, match=f"{path}: can't be"):
        open_store(uri).add(key)


def add_and_revoke_many(uri: str, name: str) -> None:
    store = open_store(uri)
    for _ in range(10):
        key, _ = make_key(name)
        store.add(key)
        store.revoke(key.id, NOW)
        assert key.id in store.read()


def test_several_processes_write_at_once_and_no_key_is_lost(uri: str) -> None:
    fork = multiprocessing.get_context("fork")
    running = [fork.Process(target=add_and_revoke_many, args=(uri, name)) for name in ("a", "b", "c")]
    for process in running:
        process.start()
    for process in running:
        process.join(60)
    assert [process.exitcode for process in running] == [0, 0, 0]
    keys = open_store(uri).read().values()
    assert sorted(key.name for key in keys) == ["a"] * 10 + ["b"] * 10 + ["c"] * 10
    assert all(key.revoked for key in keys)


@pytest.mark.parametrize(
    ("text", "part"),
    [
        ("", "Invalid JSON"),
        ('{"version": 1}', "keys: Field required"),
        ('{"version": 2, "keys": []}', "version"),
        ('{"version": 1, "keys": [], "more": 1}', "more: Extra inputs"),
        ('{"version": 1, "keys": [{"id": "0123456789ab"}]}', "keys.0.name"),
        ("[" * 5000, "Invalid JSON"),
    ],
)
def test_a_json_file_that_holds_something_else_is_refused_with_the_place(tmp_path: Path, text: str, part: str) -> None:
    file = tmp_path / "keys.json"
    file.write_text(text)
    with pytest.raises(KeyStoreUnreadable) as caught:
        open_store(f"file://{file}").read()
    assert str(caught.value).startswith(f"{file}: ")
    assert part in str(caught.value)


def test_an_id_that_stands_twice_in_a_file_is_refused(tmp_path: Path) -> None:
    file = tmp_path / "keys.json"
    key, _ = make_key()
    open_store(f"file://{file}").add(key)
    text = file.read_text()
    record = text[text.index("[") + 1 : text.rindex("]")]
    file.write_text(text.replace(record, f"{record},{record}"))
    with pytest.raises(KeyStoreUnreadable, match="twice"):
        open_store(f"file://{file}").read()


def test_a_change_by_hand_in_the_database_is_a_change_too(tmp_path: Path) -> None:
    uri = f"sqlite:///{tmp_path / 'keys.db'}"
    key, _ = make_key()
    store = open_store(uri)
    store.add(key)
    before = store.version()
    with sqlite3.connect(tmp_path / "keys.db") as by_hand:
        by_hand.execute("DELETE FROM keys")
    by_hand.close()
    assert store.version() != before
    assert store.read() == {}


def test_a_file_is_replaced_where_a_link_to_it_leads(tmp_path: Path) -> None:
    (tmp_path / "real").mkdir()
    link, file = tmp_path / "keys.json", tmp_path / "real" / "keys.json"
    link.symlink_to(file)
    key, _ = make_key()
    open_store(f"file://{link}").add(key)
    assert link.is_symlink()
    assert set(open_store(f"file://{file}").read()) == {key.id}


def test_paths_are_from_the_working_directory_unless_they_say_the_root(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    key, _ = make_key()
    for uri in ("sqlite:///a/keys.db", "file:b/keys.json", f"sqlite:///{tmp_path}/c", f"file://{tmp_path}/d"):
        open_store(uri).add(key)
    files = [file for file in tmp_path.rglob("*") if file.is_file() and not file.name.startswith(".")]
    assert {str(file.relative_to(tmp_path)) for file in files} == {"a/keys.db", "b/keys.json", "c", "d"}


@pytest.mark.parametrize(
    "uri",
    [
        "",
        "keys.db",
        "postgres://somewhere/keys",
        "sqlite:",
        "sqlite:keys.db",
        "sqlite:///",
        "sqlite://host/keys.db",
        "file:",
        "file:/keys.json",
        "file://host/keys.json",
        "secretsmanager:",
        "secretsmanager:?region=eu-west-1",
        "secretsmanager:keys?",
        "secretsmanager:keys?region=",
        "secretsmanager:keys?zone=eu-west-1",
    ],
)
def test_what_is_no_address_of_a_store_is_told_what_would_be(uri: str) -> None:
    with pytest.raises(BadStoreAddress, match=r"expected (one of )?(sqlite:|file:|secretsmanager:)"):
        open_store(uri)


def test_there_is_one_list_of_stores() -> None:
    assert set(STORES) == {"sqlite", "file", "secretsmanager"}
