"""A rule: what must be so, of one resource or of a whole stack, and what to write where it isn't.

One rule a file in ``policies/rules``::

    @rule(
        "ecr-scans-on-push",
        "aws:ecr/repository:Repository",
        group="images",
        severity=Severity.HIGH,
        remedy="image_scanning_configuration=RepositoryImageScanningConfigurationArgs(scan_on_push=True)",
    )
    def ecr_scans_on_push(repository: Resource) -> Iterable[Violation]:
        \"\"\"Images are scanned for known vulnerabilities when they are pushed.\"\"\"
        return repository.expect("imageScanningConfiguration.scanOnPush", True)
"""

from __future__ import annotations

import copy
import inspect
import re
from collections.abc import Callable, Iterable, Iterator, Mapping, MutableMapping
from dataclasses import dataclass
from typing import Any

import pulumi
from pulumi_policy import (
    EnforcementLevel,
    Policy,
    PolicyConfigSchema,
    PolicyResource,
    ReportViolation,
    ResourceValidationArgs,
    ResourceValidationPolicy,
    Severity,
    StackValidationArgs,
    StackValidationPolicy,
)
from pulumi_policy.proxy import UnknownValueError, _is_unknown
from pydantic import BaseModel, ConfigDict, ValidationError

from policies.node import UNKNOWN, Resource, Stack, Violation

NAME = re.compile(r"[a-z0-9]+(-[a-z0-9]+)+")

Check = Callable[..., Iterable[Violation]]
"""Takes the resource (or the stack) and, where the rule has one, its config."""

Fix = Callable[[MutableMapping[str, Any]], None]
"""Changes a resource's inputs so that the rule holds."""


class RuleConfig(BaseModel):
    """What a stack may set of a rule, each with a default: the strictest that a stack could want."""

    model_config = ConfigDict(extra="forbid", frozen=True)


@dataclass(frozen=True)
class Rule:
    """``types``: of the resources that it looks at. ``whole``: it sees the stack, not one resource after another.

    ``remedy``: what to write instead. ``source``: where the field says so. ``level``: unless the stack's config
    says otherwise. ``fix``: for the enforcement level ``remediate``.
    """

    name: str
    description: str
    types: frozenset[str]
    group: str
    severity: Severity
    remedy: str
    check: Check
    whole: bool = False
    source: str = ""
    config: type[RuleConfig] | None = None
    level: EnforcementLevel = EnforcementLevel.MANDATORY
    fix: Fix | None = None

    def looks_at(self, type_: str) -> bool:
        """``types`` may end with ``*``, for all that begin so."""
        return type_ in self.types or any(each.endswith("*") and type_.startswith(each[:-1]) for each in self.types)

    def of(self, seen: Resource | Stack, config: Mapping[str, Any] | None = None) -> Iterable[Violation]:
        """What it finds.

        Raises:
            UnknownValueError: it can't be held, since a value isn't known.
            RuleConfigError: ``config`` is not the rule's.
        """
        return self.check(seen) if self.config is None else self.check(seen, self.configured(config or {}))

    def configured(self, given: Mapping[str, Any]) -> RuleConfig:
        if self.config is None:
            raise TypeError(f"{self.name} has no config")
        try:
            return self.config.model_validate(given)
        except ValidationError as error:
            raise RuleConfigError(self.name, error) from error

    def policy(self) -> Policy:
        """As Pulumi's SDK for policies takes it."""
        common: dict[str, Any] = {
            "name": self.name,
            "description": self.description,
            "enforcement_level": self.level,
            "config_schema": self._schema(),
            "severity": self.severity,
            "tags": [self.group],
            "remediation_steps": self.remedy,
            "url": self.source or None,
        }
        if self.whole:
            return StackValidationPolicy(validate=self._of_stack, **common)
        if self.fix is not None:
            # The SDK takes the new inputs too, as its own documentation has it; its types know of awaitables alone.
            common["remediate"] = self._remediated
        return ResourceValidationPolicy(validate=self._of_resource, **common)

    def _schema(self) -> PolicyConfigSchema | None:
        if self.config is None:
            return None
        schema = self.config.model_json_schema()
        properties = {
            key: {k: v for k, v in each.items() if k != "title"} for key, each in schema["properties"].items()
        }
        return PolicyConfigSchema(properties, schema.get("required"))

    def _of_resource(self, args: ResourceValidationArgs, report: ReportViolation) -> None:
        if self.looks_at(args.resource_type):
            seen = Resource(
                plain(args.props),
                type=args.resource_type,
                name=args.name,
                urn=args.urn,
                protect=args.opts.protect,
            )
            self._report(seen, args.get_config(), report)

    def _of_stack(self, args: StackValidationArgs, report: ReportViolation) -> None:
        self._report(Stack(tuple(_seen(each) for each in args.resources)), args.get_config(), report)

    def _report(self, seen: Resource | Stack, config: Mapping[str, Any] | None, report: ReportViolation) -> None:
        for each in self.of(seen, config):
            report(f"{each}. Instead: {self.remedy}", each.urn or None)

    def _remediated(self, args: ResourceValidationArgs) -> Mapping[str, Any] | None:
        """The inputs as they should be; None where there is nothing to do."""
        if self.fix is None or not self.looks_at(args.resource_type):
            return None
        given = _raw(args.props)
        inputs = copy.deepcopy(given)
        self.fix(inputs)
        return None if inputs == given else inputs


class RuleConfigError(Exception):
    """A stack's config of a rule is not what the rule takes."""

    def __init__(self, name: str, error: ValidationError) -> None:
        super().__init__(name, error)
        self.name = name
        self.error = error

    def __str__(self) -> str:
        first = self.error.errors(include_url=False)[0]
        path = ".".join(str(part) for part in first["loc"])
        return f"the config of {self.name}: {path}: {first['msg']}, got {first['input']!r}"


def rule(
    name: str,
    *types: str,
    group: str,
    severity: Severity,
    remedy: str,
    source: str = "",
    config: type[RuleConfig] | None = None,
    level: EnforcementLevel = EnforcementLevel.MANDATORY,
    fix: Fix | None = None,
) -> Callable[[Check], Rule]:
    """Of one resource: the function is called with each of these types. Its docstring is the rule's description."""
    return _ruled(
        name,
        types,
        group=group,
        severity=severity,
        remedy=remedy,
        source=source,
        config=config,
        level=level,
        fix=fix,
    )


def stack_rule(
    name: str,
    *types: str,
    group: str,
    severity: Severity,
    remedy: str,
    source: str = "",
    config: type[RuleConfig] | None = None,
    level: EnforcementLevel = EnforcementLevel.MANDATORY,
) -> Callable[[Check], Rule]:
    """Of the whole stack: the function is called once. ``types``: those that it has something to say of.

    One that looks at several resources does so by :func:`each_held`.
    """
    return _ruled(
        name,
        types,
        group=group,
        severity=severity,
        remedy=remedy,
        source=source,
        config=config,
        level=level,
        whole=True,
    )


def _ruled(name: str, types: tuple[str, ...], **given: Any) -> Callable[[Check], Rule]:
    if not NAME.fullmatch(name):
        raise ValueError(f"{name}: expected a name in kebab-case")

    def made(check: Check) -> Rule:
        said = inspect.getdoc(check) or ""
        description = " ".join(said.partition("\n\n")[0].split())
        return Rule(name=name, description=description, types=frozenset(types), check=check, **given)

    return made


def each_held(seen: Iterable[Resource], check: Callable[[Resource], Iterable[Violation]]) -> Iterator[Violation]:
    """What ``check`` finds of each. A value that isn't known hides nothing that is found of the others.

    Raises:
        UnknownValueError: one of them can't be held; the first of these errors, after all that was found.
    """
    unknown: UnknownValueError | None = None
    for each in seen:
        try:
            yield from check(each)
        except UnknownValueError as error:
            unknown = unknown or error
    if unknown is not None:
        raise unknown


def plain(value: Any) -> Any:
    """The SDK's values as mappings and lists, with :data:`UNKNOWN` where they aren't known."""
    if isinstance(value, float) and value.is_integer():
        # The protocol has one kind of number.
        return int(value)
    if isinstance(value, str | int | float | None):
        return UNKNOWN if _is_unknown(value) else value
    target = _target(value)
    if isinstance(target, Mapping):
        return {str(key): plain(each) for key, each in target.items()}
    if isinstance(target, list | tuple):
        return [plain(each) for each in target]
    if isinstance(target, pulumi.Asset | pulumi.Archive):
        return {"asset": type(target).__name__}
    return target


def _raw(value: Any) -> Any:
    """The SDK's values without its guards: what isn't known is its sentinel, which goes back as it came."""
    target = _target(value)
    if isinstance(target, Mapping):
        return {key: _raw(each) for key, each in target.items()}
    return [_raw(each) for each in target] if isinstance(target, list) else target


def _target(value: Any) -> Any:
    """What the SDK's guards of unknown values and secrets stand before."""
    return value["__target"] if type(value).__name__.endswith("Proxy") else value


def _seen(given: PolicyResource) -> Resource:
    return Resource(
        plain(given.props),
        type=given.resource_type,
        name=given.name,
        urn=given.urn,
        protect=given.opts.protect,
        links={key: tuple(each.urn for each in found) for key, found in given.property_dependencies.items()},
    )


__all__ = [
    "EnforcementLevel",
    "Resource",
    "Rule",
    "RuleConfig",
    "RuleConfigError",
    "Severity",
    "Stack",
    "UnknownValueError",
    "Violation",
    "each_held",
    "plain",
    "rule",
    "stack_rule",
]
