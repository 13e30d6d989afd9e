"""Keys and times that the tests of access share."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

from serve.access.keys import ApiKey, issue
from serve.caller import Limits

NOW = datetime(2031, 5, 6, 7, 8, 9, tzinfo=UTC)
DAY = timedelta(days=1)


def make_key(
    name: str = "reports",
    *models: str,
    admin: bool = False,
    limits: Limits | None = None,
    expires: datetime | None = None,
) -> tuple[ApiKey, bytes]:
    """A key and the Authorization header of its holder."""
    key, text = issue(name, models=models or ("*",), created=NOW, expires=expires, admin=admin, limits=limits)
    return key, b"Bearer " + text.encode("ascii")
