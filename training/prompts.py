"""Prompts for language models, in versions: MLflow's prompt registry, seen through what this project asks of it.

A version is a text, or the messages of a chat, with variables as MLflow writes them: ``{{name}}``. It never changes;
an alias names another one over time. Imports no torch, so that serving can read them.

Errors::

    RegistryError               (training.registry)
    ├── RegistryUnreachable     no registry answers at this address
    ├── RegistryRefused         it takes no such alias
    ├── VersionNotFound         no such prompt, version or alias
    └── PromptUnusable          what is, or was to be, registered is no prompt that can be filled
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Literal

from pydantic import BaseModel, ConfigDict, Field, TypeAdapter, ValidationError

from spark_jobs.contract import first_problem
from training.addresses import shown
from training.registry import (
    IS_PROMPT,
    AlreadyThere,
    RegistryError,
    VersionNotFound,
    client,
    mapped_errors,
    tracking_uri,
)

if TYPE_CHECKING:
    from mlflow.entities.model_registry import ModelVersion as MlflowModelVersion
    from mlflow.entities.model_registry import PromptVersion as MlflowPromptVersion

VARIABLE = re.compile(r"\{\{\s*([a-zA-Z_][a-zA-Z0-9_]*(?:\.[a-zA-Z_][a-zA-Z0-9_]*)*)\s*\}\}")
"""MLflow's ``PROMPT_TEMPLATE_VARIABLE_PATTERN``, which is not imported: MLflow takes seconds to be."""

NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,127}")
ALIAS = re.compile(r"[A-Za-z][A-Za-z0-9_-]{0,63}")
"""MLflow takes one that begins with a digit too, and then reads it as a version."""

ADDRESS = re.compile(rf"({NAME.pattern})(?:@({ALIAS.pattern})|/([1-9][0-9]{{0,8}}))")

LONGEST = 100_000
"""Characters of a text, or of a chat as JSON: MLflow's bound."""


class PromptUnusable(RegistryError):
    """It is no prompt that can be filled: not text, empty, too long, or a template of Jinja's."""


class Message(BaseModel):
    """One of a chat's."""

    model_config = ConfigDict(extra="forbid", frozen=True, strict=True)

    role: Literal["system", "developer", "user", "assistant"]
    content: str = Field(min_length=1)


Template = str | tuple[Message, ...]

_MESSAGES = TypeAdapter(tuple[Message, ...])


@dataclass(frozen=True, slots=True)
class Address:
    """``NAME@ALIAS`` or ``NAME/VERSION``; ``which`` is the alias or the version's number."""

    name: str
    which: str

    @classmethod
    def parse(cls, text: str) -> Address | None:
        """``None``: it is something else."""
        found = ADDRESS.fullmatch(text)
        return cls(found[1], found[2] or found[3]) if found else None

    @property
    def pinned(self) -> bool:
        """Whether it names the same version for ever."""
        return self.which.isdigit()

    def __str__(self) -> str:
        return f"{self.name}{'/' if self.pinned else '@'}{self.which}"


@dataclass(frozen=True)
class PromptVersion:
    """One version. ``added``: in UTC."""

    name: str
    version: str
    template: Template
    message: str
    added: datetime
    aliases: tuple[str, ...] = ()

    def __str__(self) -> str:
        return f"{self.name}/{self.version}"

    @property
    def messages(self) -> tuple[Message, ...]:
        """Of a text: one message, of the system."""
        if isinstance(self.template, str):
            return (Message(role="system", content=self.template),)
        return self.template

    @property
    def variables(self) -> tuple[str, ...]:
        """In the order in which they come, each once."""
        found = (name for message in self.messages for name in VARIABLE.findall(message.content))
        return tuple(dict.fromkeys(found))


@dataclass(frozen=True)
class UnusableVersion:
    """One that others registered and nobody can fill. ``added``: in UTC."""

    name: str
    version: str
    reason: str
    added: datetime
    aliases: tuple[str, ...] = ()


def template_of(found: object, what: str) -> Template:
    """What can be filled.

    Raises:
        PromptUnusable: ``found`` is neither a text nor the messages of a chat, in ``what``'s name.
    """
    if isinstance(found, str):
        if not found.strip():
            raise PromptUnusable(f"{what} is empty")
        texts, length = [found], len(found)
    else:
        try:
            # Of JSON and YAML, which have no tuples.
            found = _MESSAGES.validate_python(tuple(found) if isinstance(found, list) else found)
        except ValidationError as error:
            problem = first_problem(error)
            raise PromptUnusable(f"{what}: expected a text, or messages with role and content: {problem}") from error
        if not found:
            raise PromptUnusable(f"{what} has no messages")
        texts, length = [each.content for each in found], len(json.dumps(_MESSAGES.dump_python(found)))
    if length > LONGEST:
        raise PromptUnusable(f"{what} has {length} characters, expected at most {LONGEST}")
    if any("{%" in text for text in texts):
        raise PromptUnusable(f"{what} is a template of Jinja's ({{%), which is never evaluated: use {{{{name}}}} alone")
    return found


class PromptRegistry:
    """Reads and adds versions of prompts. Every MLflow error leaves here as a :class:`RegistryError`."""

    def __init__(self, uri: str | None = None) -> None:
        self.uri = uri or tracking_uri()

    def get(self, address: Address) -> PromptVersion:
        """The version at an address, now; ``NAME@latest`` is the newest.

        Raises:
            RegistryUnreachable, VersionNotFound, PromptUnusable
        """
        with mapped_errors(self.uri, f"prompt {address}"), _readable(address.name):
            # Not load_prompt: its cache is the process's, and it writes to the registry what was read.
            found = client(self.uri).get_prompt_version(address.name, address.which)
        if found is None:
            raise PromptUnusable(f"prompt {address} in the registry is none that MLflow can read")
        return _version(found)

    def aliases(self) -> dict[str, Mapping[str, str]]:
        """Every prompt by name, with its aliases → versions.

        Raises:
            RegistryUnreachable
        """
        found: dict[str, Mapping[str, str]] = {}
        with mapped_errors(self.uri, "prompts"):
            registry = client(self.uri)
            page = registry.search_registered_models(IS_PROMPT)
            while True:
                found |= {each.name: {alias: str(version) for alias, version in each.aliases.items()} for each in page}
                if not page.token:
                    return found
                page = registry.search_registered_models(IS_PROMPT, page_token=page.token)

    def versions(self, name: str) -> list[PromptVersion | UnusableVersion]:
        """Every version, the newest first.

        Raises:
            RegistryUnreachable, VersionNotFound
        """
        found: list[PromptVersion | UnusableVersion] = []
        with mapped_errors(self.uri, f"prompt {name}"):
            registry = client(self.uri)
            prompts = registry.search_registered_models(f"name = '{name}' AND {IS_PROMPT}")
            if not prompts:
                raise VersionNotFound(f"no prompt {name} in the registry at {shown(self.uri)}")
            aliases = {alias: str(version) for alias, version in prompts[0].aliases.items()}
            # Not search_prompt_versions: it gives no page of which it can't read one version.
            which, newest = f"name = '{name}' AND {IS_PROMPT}", ["version_number DESC"]
            page = registry.search_model_versions(which, order_by=newest)
            while True:
                for each in page:
                    named = sorted(alias for alias, version in aliases.items() if version == str(each.version))
                    found.append(_listed(each, named))
                if not page.token:
                    return found
                page = registry.search_model_versions(which, order_by=newest, page_token=page.token)

    def add(self, name: str, template: Template, message: str) -> tuple[PromptVersion, bool]:
        """The version with this template, and whether it was added now: none is added that is there.

        Raises:
            RegistryUnreachable, RegistryRefused
            PromptUnusable: the name is a model's.
        """
        try:
            return self._add(name, template, message)
        except AlreadyThere:
            # Another took the name at the same time: for a prompt, or for a model.
            return self._add(name, template, message)

    def _add(self, name: str, template: Template, message: str) -> tuple[PromptVersion, bool]:
        registry = client(self.uri, create=True)
        with mapped_errors(self.uri, f"prompt {name}"):
            prompts = registry.search_registered_models(f"name = '{name}' AND {IS_PROMPT}")
            if not prompts and registry.search_registered_models(f"name = '{name}'"):
                raise PromptUnusable(
                    f"{name} is the name of a model in the registry at {shown(self.uri)}: take another"
                )
        for version in self.versions(name) if prompts else []:
            if isinstance(version, PromptVersion) and version.template == template:
                return version, False
        given = template if isinstance(template, str) else [each.model_dump() for each in template]
        with mapped_errors(self.uri, f"prompt {name}", given=f"a version of prompt {name}"), _readable(name):
            return _version(registry.register_prompt(name, given, commit_message=message)), True

    def set_alias(self, version: PromptVersion, alias: str) -> None:
        """Raises: RegistryUnreachable, VersionNotFound, RegistryRefused."""
        with mapped_errors(self.uri, f"prompt {version}", given=f"alias {alias} of prompt {version}"):
            client(self.uri).set_prompt_alias(version.name, alias, int(version.version))


@contextmanager
def _readable(name: str) -> Iterator[None]:
    try:
        yield
    except ValueError as error:
        # MLflow registers what it then can't read.
        raise PromptUnusable(f"a version of prompt {name} is none that MLflow can read: {error}") from error


def _listed(found: MlflowModelVersion, aliases: Sequence[str]) -> PromptVersion | UnusableVersion:
    from mlflow.exceptions import MlflowException
    from mlflow.prompt.registry_utils import model_version_to_prompt_version

    try:
        return replace(_version(model_version_to_prompt_version(found)), aliases=tuple(aliases))
    except (PromptUnusable, MlflowException, ValueError, RecursionError) as error:
        return UnusableVersion(
            name=found.name,
            version=str(found.version),
            reason=str(error),
            added=_utc(found.creation_timestamp),
            aliases=tuple(aliases),
        )


def _utc(milliseconds: int) -> datetime:
    return datetime.fromtimestamp(milliseconds / 1000, UTC)


def _version(found: MlflowPromptVersion) -> PromptVersion:
    return PromptVersion(
        name=found.name,
        version=str(found.version),
        template=template_of(found.template, f"prompt {found.name}/{found.version}"),
        message=found.commit_message or "",
        added=_utc(found.creation_timestamp),
        aliases=tuple(sorted(found.aliases)),
    )
