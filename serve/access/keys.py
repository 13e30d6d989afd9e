"""An API key: how its text is made, read and checked, and what is kept of it.

A key's text is ``mtd_<id>_<secret>``. The id is public and stands in logs; the secret is known to its
holder alone, and a store keeps its SHA-256.
"""

from __future__ import annotations

import hashlib
import hmac
import re
import secrets
from collections.abc import Mapping
from dataclasses import dataclass, replace
from datetime import datetime
from typing import Literal

from serve.caller import Caller, Limits

ID_BYTES = 6
SECRET_BYTES = 32
ID_PATTERN = r"^[0-9a-f]{12}$"
DIGEST_PATTERN = r"^[0-9a-f]{64}$"
_TEXT = re.compile(rb"mtd_([0-9a-f]{12})_([0-9a-f]{64})")

_NOBODY_S_DIGEST = "0" * 64
"""What the digest of a key that does not exist is compared with, so that it takes as long as another."""

State = Literal["active", "expired", "revoked"]


@dataclass(frozen=True, slots=True)
class ApiKey:
    """What is kept of a key.

    ``digest`` is the SHA-256 of the secret, in hex; ``models`` are patterns as in a shell; ``limits``
    are ``None`` where the settings' apply. Times are in UTC. ``revoked`` may lie ahead: a key that
    was rotated goes on until then.
    """

    id: str
    name: str
    digest: str
    models: tuple[str, ...]
    admin: bool
    limits: Limits | None
    created: datetime
    expires: datetime | None = None
    revoked: datetime | None = None

    @property
    def ends(self) -> datetime | None:
        """When the key stops, or stopped, working; ``None`` is never."""
        return min((end for end in (self.expires, self.revoked) if end is not None), default=None)

    def state(self, now: datetime) -> State:
        """What the key is at this time."""
        if self.revoked is not None and self.revoked <= now:
            return "revoked"
        return "expired" if self.expires is not None and self.expires <= now else "active"

    def revoked_from(self, when: datetime) -> ApiKey:
        """The key, revoked from this time on. It is never given longer than it had."""
        return replace(self, revoked=when if self.revoked is None else min(when, self.revoked))

    def caller(self) -> Caller:
        """Who calls with this key."""
        return Caller(self.id, self.name, self.models, self.admin, self.limits)


def digest_of(secret: bytes) -> str:
    """The SHA-256 of a secret, in hex.

    A slow hash (bcrypt, Argon2) makes guessing dear where there is something to guess: a password. These
    secrets are 256 random bits, which nobody guesses at any speed, and the hash is on the way of each
    request.
    """
    return hashlib.sha256(secret).hexdigest()


def issue(
    name: str,
    *,
    models: tuple[str, ...],
    created: datetime,
    expires: datetime | None = None,
    admin: bool = False,
    limits: Limits | None = None,
) -> tuple[ApiKey, str]:
    """Make a new key: what is to be kept of it, and its text, which can't be had again."""
    key_id, secret = secrets.token_hex(ID_BYTES), secrets.token_hex(SECRET_BYTES)
    key = ApiKey(key_id, name, digest_of(secret.encode("ascii")), models, admin, limits, created, expires)
    return key, f"mtd_{key_id}_{secret}"


def parse(text: bytes) -> tuple[str, bytes] | None:
    """The id and the secret of a key's text; ``None`` where it is not a key's text to the letter."""
    found = _TEXT.fullmatch(text)
    if found is None:
        return None
    key_id, secret = found.groups()
    return key_id.decode("ascii"), secret


def holder(text: bytes, keys: Mapping[str, ApiKey]) -> ApiKey | None:
    """The key whose text this is, active or not; ``None`` where there is none.

    The time it takes does not tell an unknown id from a wrong secret.
    """
    parsed = parse(text)
    if parsed is None:
        return None
    key = keys.get(parsed[0])
    same = hmac.compare_digest(digest_of(parsed[1]), _NOBODY_S_DIGEST if key is None else key.digest)
    return key if same else None
