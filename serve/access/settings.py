"""``access:`` in ``serve.yaml``: who may call.

Imports neither boto3 nor PyJWT, so that a check of the settings costs nothing.
"""

from __future__ import annotations

from ipaddress import ip_address
from typing import Annotated, Literal, Self
from urllib.parse import urlsplit

from pydantic import AfterValidator, Field, model_validator

from serve.access.documents import ModelPattern
from serve.access.stores import STORES
from serve.section import Section

Algorithm = Literal["RS256", "RS384", "RS512", "PS256", "PS384", "PS512", "ES256", "ES384", "ES512", "EdDSA"]
"""The asymmetric ones. With a symmetric one, whoever can check a token could make one."""


def _is_store(uri: str) -> str:
    if uri.partition(":")[0] not in STORES or ":" not in uri:
        raise ValueError(f"expected one of {', '.join(f'{scheme}:…' for scheme in STORES)}")
    return uri


def _is_trusted_url(url: str) -> str:
    try:
        parts = urlsplit(url)
        host, _ = parts.hostname, parts.port
    except ValueError as error:
        raise ValueError("expected a URL") from error
    # Whoever can change the issuer's keys on their way can call as anybody.
    if not host or not (parts.scheme == "https" or (parts.scheme == "http" and _on_this_machine(host))):
        raise ValueError("expected an https:// URL (http:// only of this machine)")
    return url


def _on_this_machine(host: str) -> bool:
    try:
        return host == "localhost" or ip_address(host).is_loopback
    except ValueError:
        return False


class JwtSettings(Section):
    """Tokens of an OpenID Connect issuer, as a second way beside keys.

    ``models_claim`` names the claim with the patterns of models, an array or a text with spaces;
    ``default_models`` stand for a token without it. ``leeway_seconds`` is how far the clocks may differ,
    ``timeout_seconds`` how long the issuer's keys may take to come.
    """

    jwks_url: Annotated[str, AfterValidator(_is_trusted_url)]
    issuer: str = Field(min_length=1)
    audience: str = Field(min_length=1)
    # Not strict in this alone: YAML knows no tuples.
    algorithms: tuple[Algorithm, ...] = Field(default=("RS256", "ES256"), min_length=1, strict=False)
    models_claim: str = Field(default="models", min_length=1)
    default_models: tuple[ModelPattern, ...] = Field(default=(), strict=False)
    leeway_seconds: float = Field(default=30, ge=0, le=300)
    timeout_seconds: float = Field(default=5, gt=0, le=60)


class AccessSettings(Section):
    """``keys``: where they are kept (``docs/access.md``), ``None`` for none.

    Where nothing is ``required``, everybody may call. (Not ``off``, which YAML reads as a boolean.)
    """

    keys: Annotated[str, AfterValidator(_is_store)] | None = "sqlite:///build/keys.db"
    jwt: JwtSettings | None = None
    required: bool = True

    @model_validator(mode="after")
    def _means_one_thing(self) -> Self:
        if not self.required and self.jwt is not None:
            raise ValueError("required is false and jwt is set, expected one of the two")
        if self.required and self.keys is None and self.jwt is None:
            raise ValueError("keys is null and jwt is not set, so nobody could call: set one, or required to false")
        return self
