"""Keys in Secrets Manager, as a real server of its API (moto) keeps them."""

from __future__ import annotations

import os
import socket
import subprocess
import sys
import threading
import time
import uuid
from collections.abc import Callable, Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import boto3  # type: ignore[import-untyped]
import pytest

from serve.__main__ import main
from serve.access.authenticator import open_access
from serve.access.keys import ApiKey, issue
from serve.access.secrets_manager import SecretsManagerStore
from serve.access.settings import AccessSettings
from serve.access.stores import KeyExists, KeyNotFound, KeyStoreUnreadable, KeyStoreUnwritable, open_store
from serve.caller import Limits
from serve.gateway.errors import Unauthenticated

pytestmark = pytest.mark.integration

REGION = "eu-west-1"
NOW = datetime(2031, 5, 6, 7, 8, 9, tzinfo=UTC)


@pytest.fixture(scope="module")
def endpoint() -> Iterator[str]:
    """A moto server on a port that nobody else can take between its choice and the server's own bind.

    The port stays bound here, without listening, until the end: with SO_REUSEADDR on both sides Linux
    gives it to the server, and to no client that asks for any port.
    """
    with socket.socket() as held:
        held.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        held.bind(("127.0.0.1", 0))
        port = held.getsockname()[1]
        server = subprocess.Popen(
            [str(Path(sys.executable).with_name("moto_server")), "-H", "127.0.0.1", "-p", str(port)],
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
        )
        try:
            _wait_for(port, server)
            yield f"http://127.0.0.1:{port}"
        finally:
            server.terminate()
            server.wait(120)


def _wait_for(port: int, server: subprocess.Popen[bytes]) -> None:
    deadline = time.monotonic() + 240
    while time.monotonic() < deadline and server.poll() is None:
        with socket.socket() as probe:
            if probe.connect_ex(("127.0.0.1", port)) == 0:
                return
        time.sleep(0.05)
    raise AssertionError(f"moto_server did not come up (exit code {server.poll()})")


@pytest.fixture(autouse=True)
def aws(endpoint: str, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    for name in [name for name in os.environ if name.startswith("AWS_")]:
        monkeypatch.delenv(name)
    monkeypatch.setenv("AWS_ENDPOINT_URL", endpoint)
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", "test")
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "test")
    monkeypatch.setenv("AWS_EC2_METADATA_DISABLED", "true")
    monkeypatch.setenv("AWS_CONFIG_FILE", str(tmp_path / "none"))
    monkeypatch.setenv("AWS_SHARED_CREDENTIALS_FILE", str(tmp_path / "none"))


@pytest.fixture
def secret() -> str:
    return f"serve/keys-{uuid.uuid4()}"


@pytest.fixture
def uri(secret: str) -> str:
    return f"secretsmanager:{secret}?region={REGION}"


def client() -> Any:
    return boto3.client("secretsmanager", region_name=REGION)


def new(name: str = "reports", **others: Any) -> tuple[ApiKey, bytes]:
    key, text = issue(name, models=("*",), created=NOW, **others)
    return key, f"Bearer {text}".encode()


def test_what_was_added_is_read_and_a_secret_is_made_for_the_first_key(uri: str, secret: str) -> None:
    key, header = new(admin=True, limits=Limits(concurrency=2), expires=NOW + timedelta(days=1))
    other, _ = new("other")
    open_store(uri).add(key)
    open_store(uri).add(other)
    assert open_store(uri).read() == {key.id: key, other.id: other}
    stored = client().get_secret_value(SecretId=secret)["SecretString"]
    assert header.decode()[-64:] not in stored


def test_a_secret_can_be_named_by_its_arn(uri: str, secret: str) -> None:
    key, _ = new()
    open_store(uri).add(key)
    arn = client().describe_secret(SecretId=secret)["ARN"]
    assert open_store(f"secretsmanager:{arn}?region={REGION}").revoke(key.id, NOW).revoked == NOW
    assert open_store(uri).read()[key.id].revoked == NOW


def test_the_version_changes_with_each_change_and_only_then(uri: str) -> None:
    (first, _), (second, _) = new(), new()
    watching, changing = open_store(uri), open_store(uri)
    changing.add(first)
    versions = [watching.version(), watching.version()]
    changing.add(second)
    versions.append(watching.version())
    changing.revoke(first.id, NOW)
    versions.append(watching.version())
    assert versions[0] == versions[1]
    assert len(set(versions)) == 3
    assert None not in versions


def test_a_running_server_takes_up_a_new_key_and_drops_a_revoked_one(uri: str) -> None:
    problems: list[str] = []
    access = open_access(AccessSettings(keys=uri), problems.append, NOW.timestamp)
    assert "there are no keys yet" in problems[0]
    key, header = new()
    open_store(uri).add(key)
    access.refresh()
    assert access.authenticate_now(header)
    open_store(uri).revoke(key.id, NOW)
    access.refresh()
    with pytest.raises(Unauthenticated, match="revoked"):
        access.authenticate_now(header)


def test_writers_at_once_lose_no_key(uri: str) -> None:
    open_store(uri).add(new("first")[0])
    keys = [new(str(number))[0] for number in range(8)]
    failed: list[Exception] = []

    def write(mine: list[ApiKey]) -> None:
        store = open_store(uri)
        try:
            for key in mine:
                store.add(key)
        except KeyStoreUnwritable as error:
            failed.append(error)

    threads = [threading.Thread(target=write, args=(keys[start::2],)) for start in (0, 1)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert failed == []
    assert {key.name for key in open_store(uri).read().values()} == {"first", *map(str, range(8))}


def test_a_change_that_another_overtook_is_made_again_on_top_of_it(uri: str, monkeypatch: pytest.MonkeyPatch) -> None:
    (first, _), (overtaking, _), (late, _) = new(), new(), new()
    store = open_store(uri)
    store.add(first)
    current: Callable[[SecretsManagerStore], Any] = SecretsManagerStore._current
    pending = [overtaking]

    def overtaken(self: SecretsManagerStore) -> Any:
        seen = current(self)
        if self is store and pending:
            open_store(uri).add(pending.pop())
        return seen

    monkeypatch.setattr(SecretsManagerStore, "_current", overtaken)
    store.add(late)
    assert set(open_store(uri).read()) == {first.id, overtaking.id, late.id}


def test_writers_at_once_of_a_secret_that_was_made_without_a_value_lose_no_key(
    uri: str, secret: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    client().create_secret(Name=secret)
    (overtaking, _), (late, _) = new(), new()
    store = open_store(uri)
    is_there: Callable[[SecretsManagerStore], bool] = SecretsManagerStore._is_there
    pending = [overtaking]

    def overtaken(self: SecretsManagerStore) -> bool:
        if self is store and pending:
            open_store(uri).add(pending.pop())
        return is_there(self)

    monkeypatch.setattr(SecretsManagerStore, "_is_there", overtaken)
    store.add(late)
    assert set(open_store(uri).read()) == {overtaking.id, late.id}


def test_before_the_first_key_reading_does_not_make_the_secret(uri: str, secret: str) -> None:
    store = open_store(uri)
    for ask in (store.read, store.version, lambda: store.revoke("0" * 12, NOW)):
        with pytest.raises(KeyStoreUnreadable, match="there are no keys yet"):
            ask()
    assert secret not in [found["Name"] for found in client().list_secrets()["SecretList"]]


def test_an_id_is_given_once_and_an_unknown_one_is_not_revoked(uri: str) -> None:
    key, _ = new()
    open_store(uri).add(key)
    with pytest.raises(KeyExists):
        open_store(uri).add(key)
    with pytest.raises(KeyNotFound):
        open_store(uri).revoke("nope", NOW)


def test_a_secret_that_holds_something_else_is_said_to(uri: str, secret: str) -> None:
    client().create_secret(Name=secret, SecretString="a password")
    with pytest.raises(KeyStoreUnreadable, match=f"secretsmanager:{secret}: Invalid JSON") as caught:
        open_store(uri).read()
    assert "a password" not in str(caught.value)
    with pytest.raises(KeyStoreUnreadable):
        open_store(uri).add(new()[0])


def test_a_secret_of_bytes_is_said_to_be_that(uri: str, secret: str) -> None:
    client().create_secret(Name=secret, SecretBinary=b"\0")
    with pytest.raises(KeyStoreUnreadable, match="binary"):
        open_store(uri).read()


def test_the_command_keeps_its_keys_there_too(uri: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    settings = tmp_path / "serve.yaml"
    settings.write_text(f"models:\n  parcels: {{}}\naccess:\n  keys: {uri}\n")
    assert main(["keys", "create", "reports", "--settings", str(settings)]) == 0
    text = capsys.readouterr().out.splitlines()[-1]
    assert text.split("_")[1] in open_store(uri).read()


@pytest.mark.parametrize(
    ("name", "value", "part"),
    [
        ("AWS_ENDPOINT_URL", "http://127.0.0.1:1", "see that AWS can be reached"),
        ("AWS_ACCESS_KEY_ID", None, "credentials"),
        ("AWS_ENDPOINT_URL", "nonsense", "mend the URI or AWS's settings"),
    ],
)
def test_where_aws_can_t_be_asked_the_error_is_a_line_with_what_to_do(
    uri: str, monkeypatch: pytest.MonkeyPatch, name: str, value: str | None, part: str
) -> None:
    if value is None:
        monkeypatch.delenv(name)
        monkeypatch.delenv("AWS_SECRET_ACCESS_KEY")
    else:
        monkeypatch.setenv(name, value)
    with pytest.raises(KeyStoreUnreadable, match=part):
        open_store(uri).read()


def test_without_a_region_anywhere_the_error_says_so(secret: str) -> None:
    with pytest.raises(KeyStoreUnreadable, match="region"):
        open_store(f"secretsmanager:{secret}").read()
