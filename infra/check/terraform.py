"""A recorded stack as Terraform's JSON, so that the real AWS provider can judge it.

What has no counterpart there is a problem that names the resource and the property, never left out in silence.
"""

from __future__ import annotations

import re
import zipfile
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pulumi

from infra.check.finding import Finding
from infra.check.record import Recording, Resource
from infra.check.references import OPEN, REFERENCE, References, address, reference
from infra.check.schema import Schema, property_of, snake
from policies.reading.walk import children, join

INTERNAL = frozenset({"__defaults", "region"})
"""Not Terraform's: what the SDK adds, and the region, which is the provider's in version 5."""


@dataclass(frozen=True)
class Translation:
    """``addresses``: URN → Terraform's address. ``variables``: name → secret, for the process alone."""

    document: Mapping[str, Any]
    addresses: Mapping[str, str]
    variables: Mapping[str, str]
    findings: tuple[Finding, ...]
    left_out: tuple[str, ...] = ()


def translate(
    recording: Recording,
    schema: Schema,
    references: References,
    folder: Path,
    provider: Mapping[str, Any],
    without: Callable[[Resource], bool] = lambda _: False,
) -> Translation:
    """Write the archives of functions to ``folder`` and give the document for ``main.tf.json``.

    Args:
        references: the outputs that the recording was made with.
        provider: the provider's settings.
        without: resources to leave out; references to them become what they would look like.
    """
    return _Translator(recording, schema, references, folder, without).run(provider)


@dataclass
class _Translator:
    recording: Recording
    schema: Schema
    references: References
    folder: Path
    without: Callable[[Resource], bool]
    findings: list[Finding] = field(default_factory=list)
    addresses: dict[str, str] = field(default_factory=dict)
    absent: set[str] = field(default_factory=set)
    variables: dict[str, str] = field(default_factory=dict)
    resources: dict[str, dict[str, Any]] = field(default_factory=dict)

    def run(self, provider: Mapping[str, Any]) -> Translation:
        mine = [each for each in self.recording.resources if each.custom and each.type.startswith("aws:")]
        left_out = []
        for resource in mine:
            type_ = self.schema.type_of(resource.type)
            if type_ is None:
                self._unknown(resource, "type", "a resource of Terraform's AWS provider", resource.type)
            elif self.without(resource):
                self.absent.add(address(type_, resource.name))
                left_out.append(resource.label)
            else:
                self._place(resource, type_)
        for resource in mine:
            if resource.urn in self.addresses:
                _Body(self, resource, self.addresses[resource.urn].partition(".")[0]).write()
        return Translation(
            self._document(provider), self.addresses, self.variables, tuple(self.findings), tuple(left_out)
        )

    def _place(self, resource: Resource, type_: str) -> None:
        at = address(type_, resource.name)
        if at in self.addresses.values():
            self._unknown(resource, "name", "a name of its own among Terraform's", at)
        self.addresses[resource.urn] = at

    def _unknown(self, resource: Resource, path: str, expected: str, got: object) -> None:
        self.findings.append(Finding(resource.label, path, expected, got))

    def _document(self, provider: Mapping[str, Any]) -> dict[str, Any]:
        document: dict[str, Any] = {
            "provider": {"aws": provider},
            "resource": self.resources,
        }
        if self.variables:
            document["variable"] = {name: {"type": "string", "sensitive": True} for name in self.variables}
        return document


@dataclass
class _Body:
    """One resource's arguments."""

    whole: _Translator
    resource: Resource
    type_: str

    def write(self) -> None:
        body = self._block(self.whole.schema.block(self.type_), self.resource.inputs, "")
        after = {self.whole.addresses[urn] for urn in self.resource.dependencies if urn in self.whole.addresses}
        if after:
            body["depends_on"] = sorted(after)
        ignored = self.resource.options.get("ignore_changes")
        if ignored:
            body["lifecycle"] = {
                "ignore_changes": ["[0].".join(snake(part) for part in each.split(".")) for each in ignored]
            }
        name = self.whole.addresses[self.resource.urn].partition(".")[2]
        self.whole.resources.setdefault(self.type_, {})[name] = body

    def _block(self, block: Mapping[str, Any], inputs: Mapping[str, Any], path: str) -> dict[str, Any]:
        found: dict[str, Any] = {}
        used = set()
        for attribute, described in block.get("attributes", {}).items():
            name = property_of(self.type_, attribute, inputs)
            if name is not None and inputs[name] is not None:
                used.add(name)
                found[attribute] = self._attribute(described, inputs[name], join(path, name))
        for each, described in block.get("block_types", {}).items():
            name = property_of(self.type_, each, inputs)
            if name is not None and name not in used and inputs[name] is not None and each != "timeouts":
                used.add(name)
                found[each] = self._blocks(described, inputs[name], join(path, name))
        for name in inputs:
            if name not in used and inputs[name] is not None and name not in INTERNAL:
                self._no_counterpart(join(path, name), inputs[name])
        return found

    def _no_counterpart(self, path: str, value: Any) -> None:
        self.whole._unknown(self.resource, path, f"an argument of {self.type_}", value)

    def _blocks(self, described: Mapping[str, Any], value: Any, path: str) -> Any:
        if described["nesting_mode"] == "single":
            return self._block(described["block"], value, path)
        return [self._block(described["block"], each, at) for at, each in _each(value, path)]

    def _attribute(self, described: Mapping[str, Any], value: Any, path: str) -> Any:
        if isinstance(value, pulumi.Asset | pulumi.Archive):
            return str(packed(value, self.whole.folder / f"{re.sub(r'[^a-z0-9]+', '-', self.resource.name)}.zip"))
        if "nested_type" in described:
            nested = described["nested_type"]
            if nested["nesting_mode"] == "single":
                return self._block(nested, value, path)
            return [self._block(nested, each, at) for at, each in _each(value, path)]
        return self._typed(described.get("type"), value, path)

    def _typed(self, type_: Any, value: Any, path: str) -> Any:
        if isinstance(type_, list) and type_[0] in ("list", "set"):
            return [self._typed(type_[1], each, at) for at, each in _each(value, path)]
        if isinstance(type_, list) and type_[0] == "object" and isinstance(value, dict):
            # A block that is written as an attribute: Terraform wants every key of it.
            names = {key: property_of(self.type_, key, value) for key in type_[1]}
            for name in value.keys() - set(names.values()):
                self._no_counterpart(join(path, name), value[name])
            return {
                key: None if name is None else self._typed(type_[1][key], value[name], join(path, name))
                for key, name in names.items()
            }
        if isinstance(value, dict):
            return {self._text(key, path): self._typed(None, each, join(path, key)) for key, each in value.items()}
        if isinstance(value, list):
            return [self._typed(None, each, at) for at, each in _each(value, path)]
        return self._scalar(value, path)

    def _scalar(self, value: Any, path: str) -> Any:
        if isinstance(value, int) and not isinstance(value, bool) and value in self.whole.references.numbers:
            return self._expression(self.whole.references.numbers[value])
        return self._text(value, path) if isinstance(value, str) else value

    def _text(self, text: str, path: str) -> str:
        for number, counted in self.whole.references.numbers.items():
            if str(number) in text:
                text = text.replace(str(number), reference(counted))
        literal = self._hidden if self.resource.hides(path) else escaped
        parts = []
        for piece, expression in _pieces(text):
            parts.append(literal(piece) if piece else "")
            if expression is not None:
                parts.append(self._expression(expression))
        if any(OPEN in part for part in parts):
            self.whole._unknown(self.resource, path, "an output as it is, or put into a text", text)
        return "".join(parts)

    def _expression(self, expression: str) -> Any:
        at = ".".join(expression.removeprefix("tolist(").split(".")[:2])
        if at in self.whole.absent:
            shown = self.whole.references.stand_ins.get(expression)
            return escaped(str(shown)) if shown is not None else f"absent-{re.sub(r'[^a-z0-9]+', '-', expression)}"
        return f"${{{expression}}}"

    def _hidden(self, secret: str) -> str:
        known = {value: name for name, value in self.whole.variables.items()}
        if secret not in known:
            known[secret] = f"secret_{len(known) + 1}"
            self.whole.variables[known[secret]] = secret
        return f"${{var.{known[secret]}}}"


def escaped(text: str) -> str:
    """Text that Terraform takes as it is."""
    return text.replace("${", "$${").replace("%{", "%%{")


def packed(asset: pulumi.Asset | pulumi.Archive, target: Path) -> Path:
    """The file of an asset, or an archive of its files at ``target``."""
    if isinstance(asset, pulumi.FileAsset):
        return Path(str(asset.path)).resolve()
    if isinstance(asset, pulumi.StringAsset):
        target.write_text(asset.text, encoding="utf-8")
        return target
    if isinstance(asset, pulumi.FileArchive) and Path(str(asset.path)).is_file():
        return Path(str(asset.path)).resolve()
    if not isinstance(asset, pulumi.FileArchive | pulumi.AssetArchive):
        raise TypeError(f"{asset!r}: expected files of this machine")
    with zipfile.ZipFile(target, "w") as archive:
        for name, content in sorted(files_of(asset)):
            archive.writestr(zipfile.ZipInfo(name), content)
    return target


def files_of(asset: Any, at: str = "") -> Iterator[tuple[str, bytes]]:
    """Of an asset or archive of this machine: each file's name in it and its content; none of anything else."""
    if isinstance(asset, pulumi.StringAsset):
        yield at, asset.text.encode()
    elif isinstance(asset, pulumi.FileAsset):
        yield at, Path(str(asset.path)).read_bytes()
    elif isinstance(asset, pulumi.FileArchive):
        root = Path(str(asset.path))
        if root.is_file():
            yield at, root.read_bytes()
        for file in root.rglob("*"):
            if file.is_file() and "__pycache__" not in file.parts:
                yield "/".join(filter(None, [at, *file.relative_to(root).parts])), file.read_bytes()
    elif isinstance(asset, pulumi.AssetArchive):
        for name, each in asset.assets.items():
            yield from files_of(each, "/".join(filter(None, [at, name])))


def _pieces(text: str) -> Iterator[tuple[str, str | None]]:
    last = 0
    for match in REFERENCE.finditer(text):
        yield text[last : match.start()], match.group(1)
        last = match.end()
    yield text[last:], None


def _each(value: Any, path: str) -> Iterator[tuple[str, Any]]:
    """The elements of a list, or a plain value where Terraform wants a list of one."""
    return children(value, path) if isinstance(value, list) else iter([(path, value)])
