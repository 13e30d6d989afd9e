"""``python -m serve keys``: create, list, revoke, rotate.

Errors::

    UserError
    └── KeysCommandError    keys are kept nowhere, an argument is not what it should be, or a key has ended
"""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from dataclasses import asdict
from datetime import UTC, datetime, timedelta
from typing import Any

from pydantic import TypeAdapter, ValidationError

from console import UserError, duration, say
from serve.access.documents import KeyName, LimitsRecord, ModelPattern
from serve.access.keys import ApiKey, issue
from serve.access.settings import AccessSettings
from serve.access.stores import KeyNotFound, KeyStore, open_store
from serve.caller import Limits

NEVER = "never"
OVERLAP = "24h"

_LIMITS = {
    "requests_per_second": ("--requests-per-second", float, "{:g} requests/s"),
    "rows_per_second": ("--rows-per-second", float, "{:g} rows/s"),
    "concurrency": ("--concurrency", int, "{} at once"),
    "body_bytes": ("--body-bytes", int, "{} bytes a body"),
    "batch_rows": ("--batch-rows", int, "{} rows a batch"),
}
"""A limit → its option, its type, and how a table says it."""

HEADINGS = ("ID", "NAME", "MODELS", "ADMIN", "LIMITS", "CREATED", "EXPIRES", "STATE")


class KeysCommandError(UserError):
    """Keys are kept nowhere, an argument is not what it should be, or a key has ended."""


def add_parser(commands: argparse._SubParsersAction[Any]) -> None:
    """Add ``keys`` and what it can do to the commands of ``python -m serve``."""
    text = "who may call: create, list, revoke and rotate API keys"
    actions = commands.add_parser("keys", help=text, description=text).add_subparsers(dest="action", required=True)

    def action(name: str, text: str) -> argparse.ArgumentParser:
        parser: argparse.ArgumentParser = actions.add_parser(name, help=text, description=text)
        parser.add_argument("--settings", default="", metavar="FILE", help="default: as `serve run` finds it")
        return parser

    create = action("create", "make a key and print it, once")
    create.add_argument("name", metavar="NAME", help="whose it is; stands in logs")
    create.add_argument("--models", nargs="+", default=["*"], metavar="PATTERN", help="default: '*', every model")
    create.add_argument("--admin", action="store_true", help="may load and unload models too")
    create.add_argument("--expires", default=NEVER, metavar="TIME", help=f"90d, 12h, 30m; default: {NEVER}")
    for name, (option, kind, _) in _LIMITS.items():
        create.add_argument(option, dest=name, type=kind, metavar="N", help="default: the settings'")
    action("list", "show the keys, without their secrets")
    action("revoke", "stop a key now").add_argument("id", metavar="ID")
    rotate = action("rotate", "make a key that may do the same, and stop this one later")
    rotate.add_argument("id", metavar="ID")
    rotate.add_argument("--overlap", default=OVERLAP, metavar="TIME", help=f"how long both work; default: {OVERLAP}")


def run(options: argparse.Namespace, access: AccessSettings) -> int:
    """Do what the options say, in the store of the settings.

    Raises:
        KeysCommandError: one of the above.
        KeyStoreError: the store can't be read or written, or has no such key.
    """
    if access.keys is None:
        raise KeysCommandError("access.keys is null, so keys are kept nowhere: set it in serve.yaml")
    store = open_store(access.keys)
    now = datetime.now(UTC)
    match options.action:
        case "create":
            return _create(store, options, now)
        case "list":
            return _list(store, now)
        case "revoke":
            return _revoke(store, options.id, now)
        case _:
            return _rotate(store, access.keys, options.id, options.overlap, now)


def _create(store: KeyStore, options: argparse.Namespace, now: datetime) -> int:
    name = _checked("NAME", KeyName, options.name)
    models = tuple(_checked("--models", ModelPattern, pattern) for pattern in options.models)
    given = {limit: value for limit in _LIMITS if (value := getattr(options, limit)) is not None}
    for limit, value in given.items():
        _checked(_LIMITS[limit][0], LimitsRecord, {limit: value})
    expires = None if options.expires == NEVER else now + _duration("--expires", options.expires, f" or {NEVER}")
    limits = Limits(**given) if given else None
    key, text = issue(name, models=models, created=now, expires=expires, admin=options.admin, limits=limits)
    store.add(key)
    return _show(key, text, now)


def _list(store: KeyStore, now: datetime) -> int:
    keys = sorted(store.read().values(), key=lambda key: (key.created, key.id))
    _say_table([HEADINGS, *(_row(key, now) for key in keys)])
    return 0


def _revoke(store: KeyStore, key_id: str, now: datetime) -> int:
    key = store.revoke(key_id, now)
    say(f"✓ key {key.id} of {key.name} is revoked; a running server stops taking it within 2 s")
    return 0


def _rotate(store: KeyStore, where: str, key_id: str, overlap: str, now: datetime) -> int:
    ends = now + _duration("--overlap", overlap)
    old = store.read().get(key_id)
    if old is None:
        raise KeyNotFound(key_id, where)
    if old.state(now) != "active":
        raise KeysCommandError(f"key {old.id} is {old.state(now)} and can't be rotated: create a new one")
    expires = None if old.expires is None else now + (old.expires - old.created)
    new, text = issue(old.name, models=old.models, created=now, expires=expires, admin=old.admin, limits=old.limits)
    store.add(new)
    old = store.revoke(old.id, ends)
    say(f"✓ key {old.id} of {old.name} works until {_time(old.ends)}")
    return _show(new, text, now)


def _show(key: ApiKey, text: str, now: datetime) -> int:
    _say_table([HEADINGS, _row(key, now)])
    say("The key follows. It is shown this once and can't be had again:")
    # Last and alone, so that `| tail -1` is the key.
    say(text)
    return 0


def _row(key: ApiKey, now: datetime) -> tuple[str, ...]:
    limits = {} if key.limits is None else asdict(key.limits)
    shown = [_LIMITS[name][2].format(value) for name, value in limits.items() if value is not None]
    return (
        key.id,
        key.name,
        " ".join(key.models),
        "yes" if key.admin else "no",
        ", ".join(shown) or "-",
        _time(key.created),
        _time(key.ends),
        key.state(now),
    )


def _say_table(rows: Sequence[Sequence[str]]) -> None:
    widths = [max(len(row[column]) for row in rows) for column in range(len(HEADINGS))]
    for row in rows:
        say("  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip())


def _time(time: datetime | None) -> str:
    return NEVER if time is None else time.strftime("%Y-%m-%dT%H:%M:%SZ")


def _duration(option: str, text: str, or_else: str = "") -> timedelta:
    found = duration(text)
    if found is None:
        raise KeysCommandError(f"{option}: expected a time such as 90d, 12h or 30m{or_else}, got {text!r}")
    return found


def _checked(option: str, kind: Any, value: Any) -> Any:
    try:
        return TypeAdapter(kind).validate_python(value)
    except ValidationError as error:
        problem = error.errors(include_url=False)[0]
        message, came = problem["msg"].removeprefix("Value error, "), problem["input"]
        raise KeysCommandError(f"{option}: {message[0].lower()}{message[1:]}, got {came!r}") from error
