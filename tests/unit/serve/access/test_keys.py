"""A key's text, what is kept of it, and who holds it."""

from __future__ import annotations

import hashlib
import hmac
import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from serve.access.keys import ApiKey, holder, issue, parse
from serve.caller import Limits
from tests.unit.serve.access.samples import DAY, NOW, make_key


def new() -> tuple[ApiKey, str]:
    return issue("reports", models=("*",), created=NOW)


def test_a_key_s_text_has_its_public_id_and_256_bits_of_a_secret() -> None:
    key, text = new()
    prefix, key_id, secret = text.split("_")
    assert (prefix, key_id) == ("mtd", key.id)
    assert len(bytes.fromhex(secret)) * 8 == 256


def test_of_a_secret_its_sha_256_alone_is_kept() -> None:
    key, text = new()
    secret = text.rsplit("_", 1)[1]
    assert key.digest == hashlib.sha256(secret.encode()).hexdigest()
    assert secret not in repr(key)


def test_no_two_keys_are_alike() -> None:
    made = [new() for _ in range(200)]
    assert len({key.id for key, _ in made}) == len({text.rsplit("_", 1)[1] for _, text in made}) == 200


@given(st.binary(min_size=6, max_size=6), st.binary(min_size=32, max_size=32))
def test_what_a_key_s_text_is_made_of_is_what_is_read_from_it(key_id: bytes, secret: bytes) -> None:
    text = f"mtd_{key_id.hex()}_{secret.hex()}".encode()
    assert parse(text) == (key_id.hex(), secret.hex().encode())


@given(st.binary(max_size=200) | st.text(max_size=100).map(lambda text: f"mtd_{text}".encode("utf-8", "surrogatepass")))
def test_any_other_bytes_are_no_key_and_no_error(garbage: bytes) -> None:
    if not re.fullmatch(rb"mtd_[0-9a-f]{12}_[0-9a-f]{64}", garbage):
        assert parse(garbage) is None
        assert holder(garbage, {}) is None


@given(st.integers(0, 80), st.binary(min_size=0, max_size=2))
def test_a_key_with_one_place_changed_is_not_the_key(place: int, other: bytes) -> None:
    key, text = new()
    changed = text.encode()[:place] + other + text.encode()[place + 1 :]
    if changed != text.encode():
        assert holder(changed, {key.id: key}) is None


def test_a_line_s_end_behind_a_key_is_not_forgiven() -> None:
    key, text = new()
    assert holder(f"{text}\n".encode(), {key.id: key}) is None
    assert holder(text.upper().encode(), {key.id: key}) is None


def test_the_holder_of_a_key_is_known_by_its_text() -> None:
    (key, text), (other, _) = new(), new()
    known = {key.id: key, other.id: other}
    assert holder(text.encode(), known) is key
    assert holder(text.replace(key.id, other.id).encode(), known) is None


def test_an_unknown_id_costs_the_same_comparison_as_a_known_one(monkeypatch: pytest.MonkeyPatch) -> None:
    compared: list[tuple[str, str]] = []
    compare = hmac.compare_digest

    def spy(one: str, other: str) -> bool:
        compared.append((one, other))
        return compare(one, other)

    monkeypatch.setattr(hmac, "compare_digest", spy)
    key, text = new()
    assert holder(text.encode(), {}) is None
    assert holder(text.encode(), {key.id: key}) is key
    assert [len(one) == len(other) == 64 for one, other in compared] == [True, True]


def test_a_key_is_active_until_it_expires_or_is_revoked() -> None:
    key, _ = make_key(expires=NOW + DAY)
    assert key.state(NOW) == "active"
    assert key.state(NOW + DAY) == "expired"
    assert key.revoked_from(NOW).state(NOW) == "revoked"
    assert key.revoked_from(NOW + DAY / 2).state(NOW) == "active"
    assert key.revoked_from(NOW + DAY / 2).ends == NOW + DAY / 2
    assert key.revoked_from(NOW + 2 * DAY).ends == NOW + DAY


def test_a_later_revocation_does_not_lift_an_earlier_one() -> None:
    key, _ = make_key()
    assert key.revoked_from(NOW).revoked_from(NOW + DAY).revoked == NOW
    assert key.revoked_from(NOW + DAY).revoked_from(NOW).revoked == NOW


def test_who_calls_has_the_key_s_name_models_and_limits_and_not_its_digest() -> None:
    key, _ = make_key("reports", "parcels-*", admin=True, limits=Limits(concurrency=2))
    caller = key.caller()
    assert (caller.id, caller.name, caller.admin, caller.limits) == (key.id, "reports", True, Limits(concurrency=2))
    assert caller.may_use("parcels-eu")
    assert not caller.may_use("letters")
    assert key.digest not in repr(caller)
