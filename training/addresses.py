"""Addresses of registries, as MLflow has them."""

from __future__ import annotations

from pathlib import Path
from urllib.parse import urlsplit


def sqlite_file(uri: str) -> Path | None:
    """The database file of a ``sqlite:///`` address; None for every other."""
    return Path(uri.removeprefix("sqlite:///")) if uri.startswith("sqlite:///") else None


def shown(uri: str) -> str:
    """An address as it may be printed: without the password in it."""
    try:
        place = urlsplit(uri).netloc
    except ValueError:
        # Of no form that a password is known to be in: up to the last @ nothing is shown.
        return uri.rpartition("@")[2]
    user, at, host = place.rpartition("@")
    name, colon, _ = user.partition(":")
    return uri.replace(place, f"{name}:***@{host}", 1) if at and colon else uri
