"""Who gets in with which header, and what happens while a server runs and its keys change."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Hashable, Mapping
from datetime import datetime
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from serve.access.authenticator import Authenticator, Bearers, open_access
from serve.access.keys import ApiKey
from serve.access.settings import AccessSettings
from serve.access.stores import BadStoreAddress, KeyStoreUnreadable, open_store
from serve.caller import ANYBODY, Caller, Limits
from serve.gateway.errors import Unauthenticated
from tests.unit.serve.access import issuer as issuers
from tests.unit.serve.access.samples import DAY, NOW, make_key


class Memory:
    """A store in memory that counts how often it is read and can be made to fail."""

    def __init__(self, *keys: ApiKey) -> None:
        self.keys = {key.id: key for key in keys}
        self.changes = 0
        self.reads = 0
        self.broken = ""

    def read(self) -> Mapping[str, ApiKey]:
        self.reads += 1
        if self.broken:
            raise KeyStoreUnreadable(self.broken)
        return dict(self.keys)

    def version(self) -> Hashable:
        return self.changes

    def add(self, key: ApiKey) -> None:
        self.keys[key.id] = key
        self.changes += 1

    def revoke(self, key_id: str, when: datetime) -> ApiKey:
        self.keys[key_id] = self.keys[key_id].revoked_from(when)
        self.changes += 1
        return self.keys[key_id]


class Clock:
    def __init__(self) -> None:
        self.now = NOW

    def __call__(self) -> float:
        return self.now.timestamp()


def opened(store: Memory, problems: list[str] | None = None, clock: Clock | None = None) -> Bearers:
    bearers = Bearers(store, None, (problems if problems is not None else []).append, clock or Clock())
    bearers.refresh()
    return bearers


def test_the_holder_of_a_key_is_its_caller_now_and_in_time() -> None:
    key, header = make_key("reports", "parcels-*", admin=True, limits=Limits(concurrency=2))
    access = opened(Memory(key))
    expected = Caller(key.id, "reports", ("parcels-*",), True, Limits(concurrency=2))
    assert access.authenticate_now(header) == expected
    assert access.authenticate_now(header) is access.authenticate_now(header)
    assert asyncio.run(access.authenticate(header)) == expected


def test_the_scheme_is_written_in_any_case_and_spaces_around_the_key_do_not_count() -> None:
    key, header = make_key()
    access = opened(Memory(key))
    text = header.removeprefix(b"Bearer ")
    for written in (b"bearer " + text, b"BEARER " + text, b"Bearer   " + text + b" "):
        assert access.authenticate_now(written)


@pytest.mark.parametrize("header", [None, b"", b"Bearer", b"Basic YTpi", b"Bearermtd_1", b"Token x"])
def test_without_a_key_the_answer_says_how_to_send_one(header: bytes | None) -> None:
    access = opened(Memory(make_key()[0]))
    with pytest.raises(Unauthenticated, match="Authorization: Bearer KEY") as caught:
        access.authenticate_now(header)
    assert caught.value.headers == ((b"www-authenticate", b"Bearer"),)
    with pytest.raises(Unauthenticated, match="Authorization: Bearer KEY"):
        asyncio.run(access.authenticate(header))


@given(st.binary(max_size=150), st.booleans())
def test_whatever_header_comes_it_is_401_and_is_not_quoted(garbage: bytes, bearer: bool) -> None:
    access = opened(Memory(make_key()[0]))
    with pytest.raises(Unauthenticated) as caught:
        access.authenticate_now(b"Bearer " + garbage if bearer else garbage)
    assert len(garbage) < 8 or garbage.decode("latin-1") not in str(caught.value)


def test_a_wrong_secret_and_an_unknown_id_are_told_the_same() -> None:
    (key, header), (_, unknown) = make_key(), make_key()
    access = opened(Memory(key))
    wrong = header[:-1] + (b"0" if header[-1:] != b"0" else b"1")
    reasons = set()
    for refused in (wrong, unknown):
        with pytest.raises(Unauthenticated) as caught:
            access.authenticate_now(refused)
        reasons.add(str(caught.value))
    assert reasons == {"the key is not a good one"}


def test_a_key_stops_at_the_moment_it_expires() -> None:
    key, header = make_key(expires=NOW + DAY)
    clock = Clock()
    access = opened(Memory(key), clock=clock)
    assert access.authenticate_now(header)
    clock.now = NOW + DAY
    with pytest.raises(Unauthenticated, match=f"the key {key.id} is expired") as caught:
        access.authenticate_now(header)
    assert header.decode()[-64:] not in str(caught.value)


def test_a_revoked_key_stops_at_the_next_refresh() -> None:
    key, header = make_key(expires=NOW + DAY)
    store = Memory(key)
    access = opened(store)
    assert access.authenticate_now(header)
    store.revoke(key.id, NOW)
    access.refresh()
    with pytest.raises(Unauthenticated, match=f"the key {key.id} is revoked"):
        access.authenticate_now(header)


def test_a_rotated_key_works_until_its_overlap_ends_without_a_refresh() -> None:
    key, header = make_key()
    clock, store = Clock(), Memory(key)
    store.revoke(key.id, NOW + DAY)
    access = opened(store, clock=clock)
    assert access.authenticate_now(header)
    clock.now = NOW + DAY
    with pytest.raises(Unauthenticated, match="revoked"):
        access.authenticate_now(header)


def test_a_key_that_was_tried_before_it_was_created_works_after_the_next_refresh() -> None:
    key, header = make_key()
    store = Memory()
    access = opened(store)
    for _ in range(3):
        with pytest.raises(Unauthenticated):
            access.authenticate_now(header)
    store.add(key)
    access.refresh()
    assert access.authenticate_now(header)


def test_a_key_that_is_gone_from_the_store_is_a_bad_one() -> None:
    key, header = make_key()
    store = Memory(key)
    access = opened(store)
    store.keys.clear()
    store.changes += 1
    access.refresh()
    with pytest.raises(Unauthenticated):
        access.authenticate_now(header)


def test_a_store_that_did_not_change_is_not_read_again() -> None:
    store = Memory(make_key()[0])
    access = opened(store)
    for _ in range(5):
        access.refresh()
    assert store.reads == 1


def test_while_the_store_can_t_be_read_the_last_keys_go_on_and_each_reason_is_told_once() -> None:
    (key, header), (new, new_header) = make_key(), make_key()
    store = Memory(key)
    problems: list[str] = []
    access = opened(store, problems)
    store.broken = "the disk is gone"
    store.add(new)
    for _ in range(3):
        access.refresh()
    assert access.authenticate_now(header)
    assert problems == ["the disk is gone"]
    store.broken = ""
    access.refresh()
    assert access.authenticate_now(new_header)
    store.broken = "the disk is gone"
    store.changes += 1
    access.refresh()
    assert problems == ["the disk is gone"] * 2


@pytest.mark.parametrize("uri", ["sqlite:///{}/keys.db", "file://{}/keys.json"])
def test_a_real_store_takes_up_a_new_key_and_drops_a_revoked_one_without_a_restart(tmp_path: Path, uri: str) -> None:
    uri = uri.format(tmp_path)
    problems: list[str] = []
    access = open_access(AccessSettings(keys=uri), problems.append, Clock())
    assert len(problems) == 1
    assert "there are no keys yet" in problems[0]
    key, header = make_key()
    open_store(uri).add(key)
    access.refresh()
    assert access.authenticate_now(header)
    open_store(uri).revoke(key.id, NOW)
    access.refresh()
    with pytest.raises(Unauthenticated, match="revoked"):
        access.authenticate_now(header)


def test_where_no_key_is_required_everybody_may_call() -> None:
    access = open_access(AccessSettings(required=False))
    access.refresh()
    assert access.authenticate_now(None) is ANYBODY
    assert asyncio.run(access.authenticate(b"anything")) is ANYBODY


def test_without_an_issuer_a_token_is_a_bad_key() -> None:
    access = opened(Memory(make_key()[0]))
    with pytest.raises(Unauthenticated, match="not a good one"):
        access.authenticate_now(b"Bearer aaaa.bbbb.cccc")


def test_a_token_takes_the_slow_way_once_and_a_key_beside_it_never(tmp_path: Path) -> None:
    uri = f"file://{tmp_path}/keys.json"
    key, header = make_key()
    open_store(uri).add(key)
    with issuers.running() as issuer:
        access: Authenticator = open_access(AccessSettings(keys=uri, jwt=issuer.settings()))
        token = b"Bearer " + issuer.token(models="parcels")
        assert access.authenticate_now(token) is None
        caller = asyncio.run(access.authenticate(token))
        assert access.authenticate_now(token) is caller
        assert access.authenticate_now(header)
        with pytest.raises(Unauthenticated):
            access.authenticate_now(b"Bearer no-dots-no-token")


def test_tokens_alone_need_no_store() -> None:
    with issuers.running() as issuer:
        access = open_access(AccessSettings(keys=None, jwt=issuer.settings()))
        access.refresh()
        assert asyncio.run(access.authenticate(b"Bearer " + issuer.token())).name == "batch-job"


def test_an_address_that_is_none_is_refused_at_once_and_trouble_goes_to_the_log(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    with pytest.raises(BadStoreAddress):
        open_access(AccessSettings(keys="sqlite:keys.db"))
    with caplog.at_level(logging.WARNING, "serve.access"):
        open_access(AccessSettings(keys=f"file://{tmp_path}/keys.json"))
    assert "there are no keys yet" in caplog.text
