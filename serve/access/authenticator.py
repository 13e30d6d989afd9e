"""Whether whoever calls may: ``Authorization: Bearer <key or token>`` → :class:`serve.caller.Caller`."""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Hashable, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Protocol

from serve.access.keys import ApiKey, holder
from serve.access.settings import AccessSettings
from serve.access.stores import KeyStore, KeyStoreError, open_store
from serve.caller import ANYBODY, Caller
from serve.gateway.errors import Unauthenticated

if TYPE_CHECKING:
    from serve.access.tokens import TokenVerifier

SCHEME_LENGTH = len("Bearer ")
NO_CREDENTIAL = "no key came: send it as `Authorization: Bearer KEY`"
BAD_KEY = "the key is not a good one"


class Authenticator(Protocol):
    """Knows the callers. One a process; ``refresh`` may run in another thread than the rest."""

    def authenticate_now(self, authorization: bytes | None) -> Caller | None:
        """The caller, by the value of the request's Authorization header; ``None``: only :meth:`authenticate` can say.

        Raises:
            Unauthenticated: none came, or not a good one.
        """

    async def authenticate(self, authorization: bytes | None) -> Caller:
        """The caller, also where that takes a while.

        Raises:
            Unauthenticated: none came, or not a good one.
            Unavailable: it is a token, and the keys of its issuer can't be fetched.
        """

    def refresh(self) -> None:
        """Read the keys again if they changed. May block; to be called about once a second."""


class Everybody:
    """No key is required: everybody may do everything."""

    def authenticate_now(self, authorization: bytes | None) -> Caller | None:  # noqa: ARG002 - the protocol's
        return ANYBODY

    async def authenticate(self, authorization: bytes | None) -> Caller:  # noqa: ARG002 - the protocol's
        return ANYBODY

    def refresh(self) -> None:
        """There is nothing to read."""


@dataclass(frozen=True, slots=True)
class _Keys:
    """What was last read, replaced as a whole, so that a request sees the keys before or after a change."""

    keys: Mapping[str, ApiKey]
    callers: Mapping[str, tuple[Caller, float]]
    """Id → the caller, and when the key ends, in seconds since 1970."""


class Bearers:
    """Holders of a key in the store, and of a token that the verifier knows; either may be ``None``.

    Checking a key (one SHA-256, one look into a dict) costs no more than looking its header up in a
    cache would, so there is none: nothing to fill, nothing to clear, and a change of the keys is a
    change at once. ``on_problem`` is told in one line when the store can't be read, once for each
    reason; until it can, the keys last read go on.
    """

    def __init__(
        self,
        store: KeyStore | None,
        tokens: TokenVerifier | None,
        on_problem: Callable[[str], None],
        clock: Callable[[], float],
    ) -> None:
        self._store = store
        self._tokens = tokens
        self._on_problem = on_problem
        self._clock = clock
        self._known = _Keys({}, {})
        self._version: Hashable = object()
        self._problem = ""

    def authenticate_now(self, authorization: bytes | None) -> Caller | None:
        credential = _credential(authorization)
        known = self._known
        key = holder(credential, known.keys)
        if key is not None:
            caller, ends = known.callers[key.id]
            if self._clock() >= ends:
                raise Unauthenticated(f"the key {key.id} is {'revoked' if _was_revoked(key) else 'expired'}")
            return caller
        # A key's text has no dot and a token's has two.
        if self._tokens is None or b"." not in credential:
            raise Unauthenticated(BAD_KEY)
        return self._tokens.remembered(credential)

    async def authenticate(self, authorization: bytes | None) -> Caller:
        caller = self.authenticate_now(authorization)
        if caller is not None:
            return caller
        if self._tokens is None:
            raise Unauthenticated(BAD_KEY)
        return await self._tokens.verify(_credential(authorization))

    def refresh(self) -> None:
        if self._store is None:
            return
        try:
            # Asked before the keys are read: a change between the two is read twice, and not missed.
            version = self._store.version()
            if version != self._version:
                keys = dict(self._store.read())
                ends = {key.id: float("inf") if key.ends is None else key.ends.timestamp() for key in keys.values()}
                self._known = _Keys(keys, {key.id: (key.caller(), ends[key.id]) for key in keys.values()})
                self._version = version
        except KeyStoreError as error:
            if str(error) != self._problem:
                self._on_problem(str(error))
            self._problem = str(error)
        else:
            self._problem = ""


def open_access(
    settings: AccessSettings,
    on_problem: Callable[[str], None] | None = None,
    clock: Callable[[], float] = time.time,
) -> Authenticator:
    """What the settings ask for, its keys read once. ``on_problem`` writes to this module's log unless given.

    Raises:
        BadStoreAddress: ``keys`` is not the URI of a store. A store that can't be read is a problem
            that is told, and may pass.
    """
    if not settings.required:
        return Everybody()
    tell = on_problem or _log
    tokens = None
    if settings.jwt is not None:
        from serve.access.tokens import TokenVerifier

        tokens = TokenVerifier(settings.jwt, tell, clock)
    bearers = Bearers(None if settings.keys is None else open_store(settings.keys), tokens, tell, clock)
    bearers.refresh()
    return bearers


def _credential(authorization: bytes | None) -> bytes:
    if authorization is None or authorization[:SCHEME_LENGTH].lower() != b"bearer ":
        raise Unauthenticated(NO_CREDENTIAL)
    return authorization[SCHEME_LENGTH:].strip(b" ")


def _was_revoked(key: ApiKey) -> bool:
    return key.revoked is not None and key.ends == key.revoked


def _log(problem: str) -> None:
    logging.getLogger(__name__).warning("%s", problem)
