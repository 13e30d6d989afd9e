"""Tokens (JWT) of an OpenID Connect issuer, checked with the keys that it publishes (JWKS).

A token is verified once; until it ends, but no longer than :data:`FRESH_SECONDS`, its exact bytes are
known. Only good tokens are remembered, so nobody without one can fill the memory.
"""

from __future__ import annotations

import asyncio
import hashlib
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import jwt

from serve.access.documents import ModelPattern
from serve.access.settings import JwtSettings
from serve.caller import Caller
from serve.gateway.errors import Unauthenticated, Unavailable

FRESH_SECONDS = 300
"""After this the issuer's keys are fetched again, beside the requests, which go on with those there are."""

STALE_SECONDS = 3600
"""After this keys that could not be fetched again are no longer used."""

REFRESH_SECONDS = 30
"""No token makes us fetch more often, whatever key it names."""

RETRY_SECONDS = 5
"""The same where there are no keys to go on with."""

MAX_REMEMBERED = 10_000
MAX_TOKEN_BYTES = 16_384
MAX_SUBJECT = 255
"""OpenID Connect's own limit."""

ADMIN_SCOPE = "serve:admin"

REASONS: Mapping[type[Exception], str] = {
    jwt.ExpiredSignatureError: "the token is expired",
    jwt.ImmatureSignatureError: "the token is not valid yet",
    jwt.InvalidAudienceError: "the token is for another audience",
    jwt.InvalidIssuerError: "the token is of another issuer",
    jwt.MissingRequiredClaimError: "the token lacks one of the claims exp, iss, aud and sub",
    jwt.InvalidSignatureError: "the token's signature is not the issuer's",
}
"""PyJWT's own texts may quote the token."""

_BAD_TOKEN = (jwt.PyJWTError, ValueError, TypeError, OverflowError, RecursionError)
"""What PyJWT raises on bytes that somebody made to break it, and on claims such as ``exp: Infinity``."""


@dataclass(frozen=True, slots=True)
class _Remembered:
    caller: Caller
    until: float


class TokenVerifier:
    """Belongs to one event loop; nothing in it blocks that.

    ``on_problem`` is told in one line, once, when the issuer's keys can't be fetched; ``clock`` gives
    seconds since 1970.
    """

    def __init__(self, settings: JwtSettings, on_problem: Callable[[str], None], clock: Callable[[], float]) -> None:
        self._settings = settings
        self._on_problem = on_problem
        self._clock = clock
        # Its cache is not used: it would fetch in the middle of a request, once for each.
        self._client = jwt.PyJWKClient(settings.jwks_url, cache_jwk_set=False, timeout=settings.timeout_seconds)
        self._keys: dict[str, jwt.PyJWK] = {}
        self._fetched = self._tried = float("-inf")
        self._fetching: asyncio.Task[None] | None = None
        self._problem: str | None = None
        self._remembered: dict[bytes, _Remembered] = {}

    def remembered(self, token: bytes) -> Caller | None:
        """The caller of a token that was verified before and has not ended."""
        found = self._remembered.get(hashlib.sha256(token).digest())
        return found.caller if found is not None and self._clock() < found.until else None

    async def verify(self, token: bytes) -> Caller:
        """The caller of a token.

        Raises:
            Unauthenticated: it is not a good token of the issuer.
            Unavailable: that can't be said, because the issuer's keys can't be fetched.
        """
        key = await self._key(self._key_id(token))
        try:
            claims = jwt.decode(
                token,
                key,
                algorithms=list(self._settings.algorithms),
                audience=self._settings.audience,
                issuer=self._settings.issuer,
                leeway=self._settings.leeway_seconds,
                options={"require": ["exp", "iss", "aud", "sub"]},
            )
            ends = int(claims["exp"]) + self._settings.leeway_seconds
        except _BAD_TOKEN as error:
            raise Unauthenticated(REASONS.get(type(error), "the token is not a good one")) from error
        caller = self._caller(claims)
        self._remember(token, _Remembered(caller, min(ends, self._clock() + FRESH_SECONDS)))
        return caller

    def _key_id(self, token: bytes) -> str:
        if len(token) > MAX_TOKEN_BYTES:
            raise Unauthenticated(f"the token is longer than {MAX_TOKEN_BYTES} bytes")
        try:
            header = jwt.get_unverified_header(token)
        except _BAD_TOKEN as error:
            raise Unauthenticated("what came as Bearer is neither a key nor a token") from error
        if header.get("alg") not in self._settings.algorithms:
            raise Unauthenticated(f"the token's algorithm is not one of {', '.join(self._settings.algorithms)}")
        if not isinstance(header.get("kid"), str):
            raise Unauthenticated("the token does not name its key (kid)")
        return str(header["kid"])

    async def _key(self, key_id: str) -> jwt.PyJWK:
        key = self._usable(key_id)
        if key is None or self._clock() - self._fetched >= FRESH_SECONDS:
            fetching = self._fetch_if_due()
            if key is None and fetching is not None:
                # asyncio.wait leaves the task alone when this request is cancelled: others wait for it too.
                await asyncio.wait({fetching})
                key = self._usable(key_id)
        if key is not None:
            return key
        if self._problem is not None:
            raise Unavailable("the token can't be checked: the keys of its issuer can't be fetched")
        raise Unauthenticated("the token is signed with a key that its issuer does not publish")

    def _usable(self, key_id: str) -> jwt.PyJWK | None:
        return self._keys.get(key_id) if self._clock() - self._fetched < STALE_SECONDS else None

    def _fetch_if_due(self) -> asyncio.Task[None] | None:
        """The fetch that is on its way, or a new one, or none where the last is too short ago."""
        if self._fetching is not None and not self._fetching.done():
            return self._fetching
        now = self._clock()
        if now - self._tried < (REFRESH_SECONDS if self._keys else RETRY_SECONDS):
            return None
        self._tried = now
        self._fetching = asyncio.create_task(self._fetch())
        return self._fetching

    async def _fetch(self) -> None:
        try:
            fetch = asyncio.to_thread(self._client.get_signing_keys, refresh=True)
            # The client's own timeout is for each read, and a slow answer has many.
            keys = await asyncio.wait_for(fetch, self._settings.timeout_seconds)
        except (*_BAD_TOKEN, OSError) as error:
            reason = str(error) or type(error).__name__
            problem = f"access.jwt.jwks_url {self._settings.jwks_url}: can't be fetched ({reason})"
            if self._problem is None:
                self._on_problem(problem)
            self._problem = problem
        else:
            self._keys = {str(key.key_id): key for key in keys}
            self._fetched = self._clock()
            self._problem = None

    def _caller(self, claims: Mapping[str, Any]) -> Caller:
        subject = str(claims["sub"])
        if not 0 < len(subject) <= MAX_SUBJECT or not subject.isprintable():
            raise Unauthenticated("the token's sub is empty, too long or not printable")
        models: tuple[ModelPattern, ...] = self._settings.default_models
        if self._settings.models_claim in claims:
            models = _words(claims[self._settings.models_claim])
        admin = any(ADMIN_SCOPE in _words(claims.get(claim)) for claim in ("scope", "scp"))
        # The prefix keeps a subject from having the id, and so the limits, of a key.
        return Caller(f"jwt:{subject}", subject, models, admin)

    def _remember(self, token: bytes, entry: _Remembered) -> None:
        if len(self._remembered) >= MAX_REMEMBERED:
            del self._remembered[next(iter(self._remembered))]
        self._remembered[hashlib.sha256(token).digest()] = entry


def _words(claim: object) -> tuple[str, ...]:
    """A claim that is an array of texts, or one text with spaces; anything else grants nothing."""
    if isinstance(claim, str):
        return tuple(claim.split())
    return tuple(word for word in claim if isinstance(word, str)) if isinstance(claim, list) else ()
