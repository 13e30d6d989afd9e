"""Secrets with values of our own, and the search for them everywhere that a stack leaves something behind."""

from __future__ import annotations

import base64
import contextlib
import io
import logging
import secrets
import zipfile
from collections.abc import Collection, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from infra.check.finding import Finding
from infra.check.record import Recording, Resource
from infra.check.signatures import is_secret
from infra.check.terraform import files_of
from policies.reading.walk import children, nodes

RULE = "canaries"

KEPT_IN = {
    "aws:secretsmanager/secretVersion:SecretVersion": "secretString",
    "azure-native:keyvault:Secret": "properties",
    "kubernetes:core/v1:Secret": "stringData",
    "pulumi:providers:kubernetes": "kubeconfig",
}
"""Type → its property that is made for a secret. Anywhere else, whoever may look at the resource reads it."""

STATE = ("terraform.tfstate", ".terraform")
"""Terraform keeps every value in its state, which goes with the emulator; the other are the provider's own files."""


@dataclass(frozen=True)
class Canaries:
    """``tokens``: the key of a secret → what to look for, a part of its value."""

    tokens: Mapping[str, str]

    @classmethod
    def for_keys(cls, keys: Collection[str]) -> Canaries:
        return cls({key: f"canary{secrets.token_hex(16)}" for key in sorted(keys)})

    def config(self, project: str) -> dict[str, str]:
        """Values for the configuration: URLs, since one that isn't would be refused where a URL is wanted."""
        return {f"{project}:{key}": f"https://example.com/{token}" for key, token in self.tokens.items()}

    def in_recording(self, recording: Recording) -> Iterator[Finding]:
        """In the state outside its encrypted part, and in what is sent to resources that don't keep secrets."""
        for resource in recording.resources:
            yield from self._in_resource(resource)
        for path, value in _open(dict(recording.raw_outputs), "outputs"):
            yield from self._in_text("the stack", path, value)
        for call in recording.calls:
            for path, value in nodes(dict(call.args)):
                yield from self._in_text(call.token, path, value)

    def _in_resource(self, resource: Resource) -> Iterator[Finding]:
        yield from self._in_text(resource.type, "name", resource.urn)
        found = list(_open(dict(resource.raw), ""))
        kept = KEPT_IN.get(resource.type)
        sent = nodes({key: each for key, each in resource.inputs.items() if key != kept})
        reported = set()
        for path, value in [*found, *sent]:
            for finding in self._in_value(resource.label, path, value):
                if finding.path not in reported:
                    reported.add(finding.path)
                    yield finding

    def _in_value(self, label: str, path: str, value: Any) -> Iterator[Finding]:
        yield from self._in_text(label, path, value)
        for name, content in files_of(value):
            yield from self._in_text(label, f"{path}/{name}", content.decode(errors="replace"))

    def _in_text(self, label: str, path: str, value: Any) -> Iterator[Finding]:
        if not isinstance(value, str):
            return
        for key, token in self.tokens.items():
            if any(form in value for form in _forms(token)):
                yield Finding(label, path, f"no value of the secret {key}, only its ARN", "the value itself", RULE)

    def in_folder(self, folder: Path) -> Iterator[Finding]:
        """In the files that were written for Terraform and by it and the emulator, but for its state."""
        for file in sorted(folder.rglob("*")):
            inside = file.relative_to(folder)
            if not file.is_file() or inside.parts[0].startswith(STATE):
                continue
            yield from self._in_text("a file", str(inside), file.read_bytes().decode(errors="replace"))
            if zipfile.is_zipfile(file):
                with zipfile.ZipFile(file) as archive:
                    for name in archive.namelist():
                        text = archive.read(name).decode(errors="replace")
                        yield from self._in_text("a file", f"{inside}/{name}", text)

    def in_log(self, log: Log) -> Iterator[Finding]:
        yield from self._in_text("the program", "its log", log.text())


@dataclass
class Log:
    """What a program logs and prints."""

    _stream: io.StringIO = field(default_factory=io.StringIO)

    def text(self) -> str:
        return self._stream.getvalue()

    @contextlib.contextmanager
    def listening(self) -> Iterator[None]:
        handler = logging.StreamHandler(self._stream)
        logging.getLogger().addHandler(handler)
        try:
            with contextlib.redirect_stdout(self._stream), contextlib.redirect_stderr(self._stream):
                yield
        finally:
            logging.getLogger().removeHandler(handler)


def _open(raw: Any, path: str) -> Iterator[tuple[str, Any]]:
    """What of a raw value is not encrypted in Pulumi's state."""
    if is_secret(raw):
        return
    if isinstance(raw, dict | list):
        for where, each in children(raw, path):
            yield from _open(each, where)
    else:
        yield from nodes(raw, path)


def _forms(token: str) -> list[str]:
    """The token, and what of it is left in Base64 wherever it begins in there."""
    encoded = []
    for shift in range(3):
        whole = base64.b64encode(b"\0" * shift + token.encode()).decode()
        # The first and last characters also hold bits of what is beside the token.
        encoded.append(whole[4:-4])
    return [token, *encoded]
