"""What ``access:`` may say."""

from __future__ import annotations

from typing import Any

import pytest
from pydantic import ValidationError

from serve.access.settings import AccessSettings

JWT = {"jwks_url": "https://issuer.example/jwks.json", "issuer": "https://issuer.example", "audience": "serve"}


def test_by_default_keys_are_asked_for_and_are_in_the_build_folder() -> None:
    assert AccessSettings() == AccessSettings(keys="sqlite:///build/keys.db", jwt=None, required=True)


def test_an_issuer_stands_beside_keys_or_alone_and_grants_no_model_by_itself() -> None:
    settings = AccessSettings.model_validate({"jwt": {**JWT, "algorithms": ["ES256"]}})
    assert settings.keys
    assert settings.jwt
    assert settings.jwt.algorithms == ("ES256",)
    assert settings.jwt.default_models == ()
    assert AccessSettings.model_validate({"keys": None, "jwt": JWT}).keys is None


@pytest.mark.parametrize("url", ["http://127.0.0.1:8080/jwks", "http://localhost/jwks", "http://[::1]:80/jwks"])
def test_on_this_machine_the_issuer_s_keys_may_come_without_tls(url: str) -> None:
    settings = AccessSettings.model_validate({"jwt": {**JWT, "jwks_url": url}})
    assert settings.jwt
    assert settings.jwt.jwks_url == url


@pytest.mark.parametrize(
    ("document", "part"),
    [
        ({"required": False, "jwt": JWT}, "required is false and jwt is set"),
        ({"keys": None}, "nobody could call"),
        ({"required": "yes"}, "valid boolean"),
        ({"key": "sqlite:///a"}, "Extra inputs"),
        ({"keys": "postgres://a"}, "expected one of sqlite:…, file:…, secretsmanager:…"),
        ({"keys": "sqlite"}, "expected one of sqlite:"),
        ({"jwt": {}}, "Field required"),
        ({"jwt": {**JWT, "jwks_uri": "x"}}, "Extra inputs"),
        ({"jwt": {**JWT, "algorithms": ["HS256"]}}, "RS256"),
        ({"jwt": {**JWT, "algorithms": ["none"]}}, "RS256"),
        ({"jwt": {**JWT, "algorithms": []}}, "at least 1"),
        ({"jwt": {**JWT, "algorithms": "RS256"}}, "tuple"),
        ({"jwt": {**JWT, "default_models": ["a b"]}}, "pattern"),
        ({"jwt": {**JWT, "leeway_seconds": -1}}, "greater than or equal to 0"),
        ({"jwt": {**JWT, "timeout_seconds": float("inf")}}, "finite"),
        ({"jwt": {**JWT, "audience": ""}}, "at least 1"),
        ({"jwt": {**JWT, "jwks_url": "http://issuer.example/jwks"}}, "https://"),
        ({"jwt": {**JWT, "jwks_url": "file:///etc/passwd"}}, "https://"),
        ({"jwt": {**JWT, "jwks_url": "https://"}}, "https://"),
        ({"jwt": {**JWT, "jwks_url": "https://a:b/"}}, "expected a URL"),
    ],
)
def test_what_can_t_be_is_refused_with_what_was_expected(document: dict[str, Any], part: str) -> None:
    with pytest.raises(ValidationError) as caught:
        AccessSettings.model_validate(document)
    assert part in str(caught.value)
