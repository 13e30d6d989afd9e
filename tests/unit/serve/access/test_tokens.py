"""Which tokens are good, and who calls with them."""

from __future__ import annotations

import asyncio
import base64
import hmac
import json
import time
from typing import Any

import pytest
from cryptography.hazmat.primitives import serialization
from hypothesis import example, given, settings
from hypothesis import strategies as st

from serve.access import tokens
from serve.access.tokens import TokenVerifier
from serve.gateway.errors import Unauthenticated, Unavailable
from tests.unit.serve.access.clock import Clock
from tests.unit.serve.access.issuer import EC, RSA, Issuer


def segment(value: Any) -> str:
    return base64.urlsafe_b64encode(json.dumps(value).encode()).rstrip(b"=").decode()


def test_the_subject_of_a_token_calls_the_models_of_its_claim(issuer: Issuer, verifier: TokenVerifier) -> None:
    caller = asyncio.run(verifier.verify(issuer.token(models=["parcels-*", "letters"])))
    assert (caller.id, caller.name, caller.admin, caller.limits) == ("jwt:batch-job", "batch-job", False, None)
    assert caller.may_use("parcels-eu")
    assert not caller.may_use("others")


@pytest.mark.parametrize(
    ("claims", "models", "admin"),
    [
        ({}, (), False),
        ({"models": "a b-*"}, ("a", "b-*"), False),
        ({"models": []}, (), False),
        ({"models": 7}, (), False),
        ({"models": ["a", 7, None]}, ("a",), False),
        ({"scope": "openid serve:admin"}, (), True),
        ({"scp": ["serve:admin"]}, (), True),
        ({"scope": "serve:administrator xserve:admin"}, (), False),
        ({"scope": {"serve:admin": True}}, (), False),
    ],
)
def test_claims_grant_what_they_say_and_nothing_where_they_say_something_else(
    issuer: Issuer, verifier: TokenVerifier, claims: dict[str, Any], models: tuple[str, ...], admin: bool
) -> None:
    caller = asyncio.run(verifier.verify(issuer.token(**claims)))
    assert (caller.models, caller.admin) == (models, admin)


def test_a_token_without_the_claim_has_the_models_of_the_settings(issuer: Issuer, problems: list[str]) -> None:
    found = issuer.settings(models_claim="https://example.com/models", default_models=("parcels",))
    verifier = TokenVerifier(found, problems.append, time.time)
    assert asyncio.run(verifier.verify(issuer.token(models="*"))).models == ("parcels",)
    assert asyncio.run(verifier.verify(issuer.token(**{"https://example.com/models": "letters"}))).models == (
        "letters",
    )


def test_a_token_signed_with_an_elliptic_curve_is_good_too(issuer: Issuer, verifier: TokenVerifier) -> None:
    issuer.keys["curve"] = EC
    assert asyncio.run(verifier.verify(issuer.signed(EC, "ES256", {"kid": "curve"}))).name == "batch-job"


@pytest.mark.parametrize(
    ("claims", "reason"),
    [
        ({"exp": 1}, "expired"),
        ({"exp": time.time() - 40}, "expired"),
        ({"exp": None}, "lacks"),
        ({"exp": "soon"}, "not a good one"),
        ({"exp": float("inf")}, "not a good one"),
        ({"nbf": time.time() + 600}, "not valid yet"),
        ({"nbf": "soon"}, "not a good one"),
        ({"iss": "https://other.example"}, "another issuer"),
        ({"iss": None}, "lacks"),
        ({"aud": "other"}, "another audience"),
        ({"aud": None}, "lacks"),
        ({"sub": None}, "lacks"),
        ({"sub": ""}, "sub"),
        ({"sub": "a\nb"}, "sub"),
        ({"sub": "a" * 256}, "sub"),
    ],
)
def test_a_claim_that_is_not_right_is_a_reason(
    issuer: Issuer, verifier: TokenVerifier, claims: dict[str, Any], reason: str
) -> None:
    with pytest.raises(Unauthenticated, match=reason):
        asyncio.run(verifier.verify(issuer.token(**claims)))


def test_clocks_may_differ_by_the_leeway(issuer: Issuer, verifier: TokenVerifier) -> None:
    now = time.time()
    for token in (issuer.token(exp=now - 20, nbf=now - 60), issuer.token(nbf=now + 20)):
        assert asyncio.run(verifier.verify(token)).name == "batch-job"


def test_a_token_signed_by_somebody_else_is_refused(issuer: Issuer, verifier: TokenVerifier) -> None:
    with pytest.raises(Unauthenticated, match=r"algorithm|good|signature"):
        asyncio.run(verifier.verify(issuer.signed(EC, "ES256", {"kid": "one"})))
    whole = issuer.token()
    changed = whole[:-12] + (b"A" if whole[-12:-11] != b"A" else b"B") + whole[-11:]
    with pytest.raises(Unauthenticated, match="signature"):
        asyncio.run(verifier.verify(changed))


def test_neither_no_signature_nor_one_with_the_public_key_as_a_password_counts(
    issuer: Issuer, verifier: TokenVerifier
) -> None:
    _, payload, _ = issuer.token().decode().split(".")
    unsigned = f"{segment({'alg': 'none', 'kid': 'one'})}.{payload}."
    public = RSA.public_key().public_bytes(serialization.Encoding.PEM, serialization.PublicFormat.SubjectPublicKeyInfo)
    signing = f"{segment({'alg': 'HS256', 'kid': 'one'})}.{payload}"
    signature = base64.urlsafe_b64encode(hmac.digest(public, signing.encode(), "sha256")).rstrip(b"=").decode()
    for token in (unsigned, f"{signing}.{signature}"):
        with pytest.raises(Unauthenticated, match="algorithm is not one of RS256, ES256"):
            asyncio.run(verifier.verify(token.encode()))
    assert issuer.fetches == 0


def test_a_token_that_names_no_key_is_refused_without_asking_the_issuer(
    issuer: Issuer, verifier: TokenVerifier
) -> None:
    with pytest.raises(Unauthenticated, match="kid"):
        asyncio.run(verifier.verify(issuer.token(kid=None)))
    assert issuer.fetches == 0


DEEP = base64.urlsafe_b64encode(b"[" * 9000).rstrip(b"=").decode()


PARTS = st.binary(max_size=40).map(lambda part: base64.urlsafe_b64encode(part).rstrip(b"="))
HEADERS = st.dictionaries(
    st.sampled_from(["alg", "kid", "b64", "crit", "typ"]), st.none() | st.integers() | st.text(), max_size=4
)


@settings(max_examples=100)
@example(f"{DEEP}.e30.AAAA".encode())
@example(b"a" * 20_000)
@given(
    st.binary(max_size=300)
    | st.lists(PARTS, max_size=5).map(b".".join)
    | HEADERS.map(lambda header: f"{segment(header)}.{segment({})}.AAAA".encode())
)
def test_whatever_bytes_come_the_answer_is_401_and_does_not_quote_them(garbage: bytes) -> None:
    verifier = TokenVerifier(Issuer("http://127.0.0.1:9/").settings(), lambda problem: None, time.time)
    with pytest.raises((Unauthenticated, Unavailable)) as caught:
        asyncio.run(verifier.verify(garbage))
    assert len(garbage) < 8 or garbage.decode("latin-1") not in str(caught.value)


def test_a_token_is_verified_once_and_then_known_until_it_ends(
    issuer: Issuer, verifier: TokenVerifier, clock: Clock
) -> None:
    token = issuer.token(exp=clock() + 100)
    assert verifier.remembered(token) is None
    caller = asyncio.run(verifier.verify(token))
    assert verifier.remembered(token) is caller
    assert verifier.remembered(token + b" ") is None
    clock.ahead = 125
    assert verifier.remembered(token) is caller
    clock.ahead = 131
    assert verifier.remembered(token) is None


def test_a_long_lived_token_is_verified_again_from_time_to_time(
    issuer: Issuer, verifier: TokenVerifier, clock: Clock
) -> None:
    token = issuer.token(exp=time.time() + 10_000)
    asyncio.run(verifier.verify(token))
    clock.ahead = tokens.FRESH_SECONDS + 1
    assert verifier.remembered(token) is None


def test_bad_tokens_are_not_remembered_and_good_ones_only_so_many(
    issuer: Issuer, verifier: TokenVerifier, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(tokens, "MAX_REMEMBERED", 3)

    async def verify_many() -> list[bytes]:
        for number in range(20):
            with pytest.raises(Unauthenticated):
                await verifier.verify(issuer.token(aud=str(number)))
        good = [issuer.token(sub=str(number)) for number in range(5)]
        for token in good:
            await verifier.verify(token)
        return good

    good = asyncio.run(verify_many())
    assert [verifier.remembered(token) is not None for token in good] == [False, False, True, True, True]
