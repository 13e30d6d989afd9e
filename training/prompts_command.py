"""``python -m training prompts list|show|add|promote|diff``: prompts for language models, and their versions.

Errors::

    UserError
    ├── RegistryError           (training.registry, training.prompts)
    └── PromptsCommandError     an argument or a file is not what it should be
"""

from __future__ import annotations

import argparse
import difflib
import json
import re
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import yaml

from console import UserError, one_line, say
from training.prompts import (
    ALIAS,
    LONGEST,
    NAME,
    Address,
    PromptRegistry,
    PromptVersion,
    Template,
    UnusableVersion,
    template_of,
)
from training.registry import CHAMPION

CHATS = (".json", ".yaml", ".yml")
LARGEST_BYTES = 4 * LONGEST
"""Of a file: a character of UTF-8 has at most four."""

LONGEST_MESSAGE = 1000
"""Of a commit. MLflow's bound is its database's."""

RESERVED = re.compile(r"latest|[vV]\d+", re.IGNORECASE)
"""Aliases that MLflow keeps for itself."""


class PromptsCommandError(UserError):
    """An argument or a file is not what it should be."""


def add_parser(commands: argparse._SubParsersAction[Any]) -> None:
    """Add ``prompts`` to the commands of ``python -m training``."""
    text = "prompts for language models, in versions, in MLflow's prompt registry"
    parser = commands.add_parser("prompts", help=text, description=text)
    what = parser.add_subparsers(dest="what", required=True)

    shown = what.add_parser("list", help="every prompt, or every version of one")
    shown.set_defaults(command=_list)
    shown.add_argument("name", nargs="?")

    show = what.add_parser("show", help="one version: its variables and its text")
    show.set_defaults(command=_show)
    show.add_argument("address", metavar="NAME@ALIAS|NAME/VERSION")

    add = what.add_parser("add", help="make the next version, unless one has the same text")
    add.set_defaults(command=_add)
    add.add_argument("name")
    add.add_argument("file", type=Path, help=f"a text with {{{{variables}}}}; a chat's messages in {', '.join(CHATS)}")
    add.add_argument("--message", default="", metavar="TEXT", help="what is new in it")

    promote = what.add_parser("promote", help="let an alias name this version")
    promote.set_defaults(command=_promote)
    promote.add_argument("address", metavar="NAME/VERSION|NAME@ALIAS")
    promote.add_argument("--alias", default=CHAMPION, help=f"default: {CHAMPION}")

    diff = what.add_parser("diff", help="what one version has and another has not")
    diff.set_defaults(command=_diff)
    for name in ("before", "after"):
        diff.add_argument(name, metavar="NAME@ALIAS|NAME/VERSION")


def _list(arguments: argparse.Namespace) -> None:
    registry = PromptRegistry()
    if arguments.name is not None:
        _versions(registry, _name(arguments.name))
        return
    rows = [("NAME", "VERSIONS", "ALIASES", "VARIABLES")]
    for name, aliases in registry.aliases().items():
        versions = registry.versions(name)
        named = ", ".join(f"{alias}={version}" for alias, version in sorted(aliases.items()))
        usable = [each for each in versions if isinstance(each, PromptVersion)]
        # The newest's that can be filled, or why not even one can.
        said = _variables(usable[0] if usable else versions[0]) if versions else "-"
        rows.append((name, str(len(versions)), named or "-", said))
    _table(rows, "there is no prompt in the registry: add one")


def _versions(registry: PromptRegistry, name: str) -> None:
    rows = [("VERSION", "ALIASES", "ADDED", "VARIABLES", "MESSAGE")]
    for each in registry.versions(name):
        said = (
            ("-", _variables(each)) if isinstance(each, UnusableVersion) else (_variables(each), one_line(each.message))
        )
        rows.append((each.version, ", ".join(each.aliases) or "-", f"{each.added:%Y-%m-%d}", *said))
    _table(rows, f"prompt {name} has no version")


def _variables(version: PromptVersion | UnusableVersion) -> str:
    if isinstance(version, UnusableVersion):
        return f"can't be filled: {one_line(version.reason)}"
    return ", ".join(version.variables) or "-"


def _table(rows: Sequence[tuple[str, ...]], empty: str) -> None:
    if len(rows) == 1:
        say(empty)
        return
    widths = [max(len(row[column]) for row in rows) for column in range(len(rows[0]))]
    for row in rows:
        say("  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip())


def _show(arguments: argparse.Namespace) -> None:
    version = PromptRegistry().get(_address(arguments.address))
    say(f"{version}  {', '.join(version.aliases)}".rstrip())
    if version.message:
        say(one_line(version.message))
    say(f"variables: {', '.join(version.variables) or 'none'}")
    say("")
    say(_text(version))


def _text(version: PromptVersion) -> str:
    if isinstance(version.template, str):
        return version.template
    return "\n".join(f"[{each.role}]\n{each.content}" for each in version.template)


def _add(arguments: argparse.Namespace) -> None:
    name, message = _name(arguments.name), arguments.message
    if len(message) > LONGEST_MESSAGE:
        raise PromptsCommandError(f"--message has {len(message)} characters, expected at most {LONGEST_MESSAGE}")
    template = template_of(_read(arguments.file), str(arguments.file))
    _refuse_nul(template, arguments.file)
    version, new = PromptRegistry().add(name, template, message)
    if new:
        say(f"✓ {version} added  variables: {', '.join(version.variables) or 'none'}")
    else:
        say(f"{version} has this text already: nothing was added")


def _read(file: Path) -> object:
    try:
        with file.open("rb") as stream:
            data = stream.read(LARGEST_BYTES + 1)
        if len(data) > LARGEST_BYTES:
            raise PromptsCommandError(f"{file}: is larger than {LARGEST_BYTES} bytes")
        # The same text, whichever editor saved it.
        text = data.decode("utf-8-sig").replace("\r\n", "\n").replace("\r", "\n")
    except OSError as error:
        raise PromptsCommandError(f"{file}: cannot be read: {error.strerror}") from error
    except UnicodeDecodeError as error:
        raise PromptsCommandError(f"{file}: is not UTF-8") from error
    _refuse_nul(text, file)
    suffix = file.suffix.lower()
    if suffix not in CHATS:
        # The last line's end is the file's.
        return text.removesuffix("\n")
    try:
        found = json.loads(text) if suffix == ".json" else yaml.safe_load(text)
    except (ValueError, yaml.YAMLError, RecursionError) as error:
        raise PromptsCommandError(f"{file}: is not {suffix[1:].upper()}: {one_line(str(error))}") from error
    if not isinstance(found, list):
        raise PromptsCommandError(f"{file}: expected a list of messages, each with role and content")
    return found


def _refuse_nul(found: Template, file: Path) -> None:
    """Of a text in its lines; of messages in what JSON and YAML escape too."""
    if isinstance(found, str):
        places = {f"line {number}": line for number, line in enumerate(found.split("\n"), 1)}
    else:
        places = {f"message {number}": each.content for number, each in enumerate(found, 1)}
    for where, text in places.items():
        if "\0" in text:
            raise PromptsCommandError(f"{file}: {where} has a NUL (U+0000): expected text in UTF-8; take it out")


def _promote(arguments: argparse.Namespace) -> None:
    alias = arguments.alias
    if not ALIAS.fullmatch(alias) or RESERVED.fullmatch(alias):
        raise PromptsCommandError(
            f"--alias {alias!r}: expected a letter and up to 63 letters, digits, '_' and '-', neither latest nor v1"
        )
    registry = PromptRegistry()
    version = registry.get(_address(arguments.address))
    before = registry.aliases().get(version.name, {}).get(alias)
    registry.set_alias(version, alias)
    was = f", and was version {before}" if before not in (None, version.version) else ""
    say(f"✓ {version.name}@{alias} is version {version.version}{was}")


def _diff(arguments: argparse.Namespace) -> None:
    registry = PromptRegistry()
    before, after = (registry.get(_address(given)) for given in (arguments.before, arguments.after))
    texts = _text(before).splitlines(), _text(after).splitlines()
    for line in difflib.unified_diff(*texts, fromfile=str(before), tofile=str(after), lineterm=""):
        say(line)


def _name(text: str) -> str:
    if not NAME.fullmatch(text):
        raise PromptsCommandError(f"{text!r} can't name a prompt: use letters, digits, '.', '_' and '-'")
    return text


def _address(text: str) -> Address:
    found = Address.parse(text)
    if found is None:
        raise PromptsCommandError(f"{text!r}: expected NAME@ALIAS or NAME/VERSION")
    return found
