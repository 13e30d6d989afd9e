"""A policy pack as the Pulumi CLI runs it: a process that is asked over gRPC.

The order of the calls is the CLI's: configure, remediate and analyze each resource, then analyze the stack.
https://github.com/pulumi/pulumi/blob/master/proto/pulumi/analyzer.proto

Errors::

    PackError    the pack does not start, or one of its rules raises
"""

from __future__ import annotations

import json
import os
import select
import subprocess
import sys
import tempfile
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Any, Protocol

import grpc  # type: ignore[import-untyped]
from google.protobuf import empty_pb2, json_format, struct_pb2  # type: ignore[import-untyped]
from pulumi.runtime.proto import analyzer_pb2, analyzer_pb2_grpc

START_SECONDS = 60
CALL_SECONDS = 60
END_SECONDS = 5

LEVELS: Mapping[str, int] = {
    "advisory": analyzer_pb2.ADVISORY,
    "mandatory": analyzer_pb2.MANDATORY,
    "disabled": analyzer_pb2.DISABLED,
    "remediate": analyzer_pb2.REMEDIATE,
}
SEVERITIES: Mapping[int, str] = {
    analyzer_pb2.POLICY_SEVERITY_LOW: "low",
    analyzer_pb2.POLICY_SEVERITY_MEDIUM: "medium",
    analyzer_pb2.POLICY_SEVERITY_HIGH: "high",
    analyzer_pb2.POLICY_SEVERITY_CRITICAL: "critical",
}
ALL = "all"
"""In a config: the enforcement level of the rules that it doesn't name."""

LARGEST_MESSAGE = 64 * 2**20
OPTIONS = (
    ("grpc.max_send_message_length", LARGEST_MESSAGE),
    ("grpc.max_receive_message_length", LARGEST_MESSAGE),
)


class PackError(Exception):
    """The pack can't say what it finds."""


class Registered(Protocol):
    """A resource of a recorded program. ``raw``: its inputs as Pulumi's protocol has them, secrets marked."""

    @property
    def urn(self) -> str: ...
    @property
    def type(self) -> str: ...
    @property
    def name(self) -> str: ...
    @property
    def raw(self) -> Mapping[str, Any]: ...
    @property
    def parent(self) -> str: ...
    @property
    def dependencies(self) -> Sequence[str]: ...
    @property
    def property_dependencies(self) -> Mapping[str, Sequence[str]]: ...
    @property
    def options(self) -> Mapping[str, Any]: ...


@dataclass(frozen=True)
class Refusal:
    """What a rule reports of a resource; of the stack, where ``urn`` is empty.

    ``message``: with the rule's description first. ``mandatory``: it stops an update.
    """

    rule: str
    message: str
    urn: str
    mandatory: bool
    severity: str

    @property
    def label(self) -> str:
        """``aws:s3/bucket:Bucket data``."""
        if not self.urn:
            return "the stack"
        return f"{self.urn.split('::')[-2].rpartition('$')[2]} {self.urn.split('::')[-1]}"

    @property
    def is_unknown(self) -> bool:
        """The rule could not be held, since a value isn't known."""
        return self.message.startswith("can't run policy")

    @property
    def unknown(self) -> str:
        """What isn't known, if the rule could not be held."""
        return self.message.partition(" during preview: ")[2]

    def __str__(self) -> str:
        return f"{self.label}: {' '.join(self.message.split())} [{self.rule}]"


@dataclass(frozen=True)
class Info:
    """A policy as the pack describes it."""

    name: str
    description: str
    level: str
    remedy: str
    properties: Mapping[str, Any]


class Pack:
    """A running pack. ``levels``: of its rules, as configured. See :func:`running`."""

    def __init__(self, stub: Any) -> None:
        self._stub = stub
        self.levels: dict[str, str] = {}

    def policies(self) -> list[Info]:
        names = {value: name for name, value in LEVELS.items()}
        return [
            Info(
                each.name,
                each.description,
                names[each.enforcementLevel],
                each.remediation_steps,
                {key: json_format.MessageToDict(value) for key, value in each.configSchema.properties.items()}
                if each.HasField("configSchema")
                else {},
            )
            for each in self._asked("GetAnalyzerInfo", empty_pb2.Empty()).policies
        ]

    def configure(self, config: Mapping[str, Any]) -> None:
        """As ``--policy-pack-config`` has it: rule → its level, or an object with ``enforcementLevel`` and more.

        Raises:
            PackError: it names a rule, a level or a property that the pack doesn't have.
        """
        known = {each.name: each for each in self.policies()}
        for name in config.keys() - known.keys() - {ALL}:
            raise PackError(f"the config names the rule {name}, which the pack doesn't have")
        request = analyzer_pb2.ConfigureAnalyzerRequest()
        for name, info in known.items():
            given = config.get(name, {})
            if not isinstance(given, str | Mapping):
                raise PackError(f"the config of {name}: {given!r}, expected a level or an object")
            given = {"enforcementLevel": given} if isinstance(given, str) else dict(given)
            level = given.pop("enforcementLevel", config.get(ALL, info.level))
            # A list or an object can't be looked up.
            if not isinstance(level, str) or level not in LEVELS:
                raise PackError(f"the config of {name}: {level!r}, expected one of {', '.join(LEVELS)}")
            for key in given.keys() - info.properties.keys():
                raise PackError(f"the config of {name}: {key}: expected one of {', '.join(info.properties) or 'none'}")
            self.levels[name] = level
            request.policyConfig[name].enforcementLevel = LEVELS[level]
            request.policyConfig[name].properties.update(given)
        self._asked("Configure", request)

    def analyze(self, resources: Iterable[Registered]) -> list[Refusal]:
        """What the rules of single resources find, then those of the stack.

        Raises:
            PackError: a rule raises. The text names the resource.
        """
        given = list(resources)
        found = [refusal for each in given for refusal in self._of(each)]
        request = analyzer_pb2.AnalyzeStackRequest(resources=[_analyzer_resource(each) for each in given])
        answer = self._asked("AnalyzeStack", request, "the stack")
        return found + [_refusal(each, "") for each in answer.diagnostics]

    def remediated(self, resource: Registered) -> Mapping[str, Any]:
        """The inputs as the rules of the level ``remediate`` make them."""
        request = analyzer_pb2.AnalyzeRequest(
            type=resource.type, properties=_struct(resource.raw), urn=resource.urn, name=resource.name
        )
        inputs = resource.raw
        for each in self._asked("Remediate", request, resource.urn).remediations:
            if each.HasField("properties"):
                inputs = json_format.MessageToDict(each.properties)
        return inputs

    def _of(self, resource: Registered) -> Iterator[Refusal]:
        request = analyzer_pb2.AnalyzeRequest(
            type=resource.type,
            properties=_struct(resource.raw),
            urn=resource.urn,
            name=resource.name,
            options=_options(resource),
        )
        for each in self._asked("Analyze", request, resource.urn).diagnostics:
            yield _refusal(each, resource.urn)

    def _asked(self, method: str, request: Any, what: str = "the pack") -> Any:
        try:
            return getattr(self._stub, method)(request, timeout=CALL_SECONDS)
        except grpc.RpcError as error:
            said = error.details() if isinstance(error, grpc.Call) else str(error)
            raise PackError(f"{what}: {method} of the pack: {' '.join(str(said).split())}") from error


@contextmanager
def running(folder: Path, config: Mapping[str, Any] | None = None, *, stack: str = "dev") -> Iterator[Pack]:
    """Start the pack in ``folder``, configured, and end it.

    Raises:
        PackError: it doesn't start, or doesn't take the config.
    """
    # As the CLI's own plug-in does; the address is the engine's, which no rule here speaks with.
    command = [sys.executable, "-u", "-m", "pulumi.policy", "127.0.0.1:0", str(folder)]
    environment = {**os.environ, "PULUMI_PROJECT": "policies", "PULUMI_STACK": stack, "PULUMI_DRY_RUN": "true"}
    with tempfile.TemporaryFile("w+b") as said:
        process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=said, env=environment)
        try:
            with grpc.insecure_channel(f"127.0.0.1:{_port(process, said, folder)}", OPTIONS) as channel:
                pack = Pack(analyzer_pb2_grpc.AnalyzerStub(channel))
                pack.configure(config or {})
                yield pack
        finally:
            process.terminate()
            try:
                process.communicate(timeout=END_SECONDS)
            except subprocess.TimeoutExpired:
                process.kill()
                process.communicate()


def read_config(file: Path) -> dict[str, Any]:
    """A file of ``--policy-pack-config``.

    Raises:
        PackError: it can't be read, or is no JSON object.
    """
    try:
        found = json.loads(file.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise PackError(f"{file}: cannot be read: {error}") from error
    if not isinstance(found, dict):
        raise PackError(f"{file}: expected a JSON object of rule → level or config")
    return found


def _port(process: subprocess.Popen[bytes], said: IO[bytes], folder: Path) -> int:
    """The first line of a pack's output."""
    output = process.stdout
    ready = select.select([output], [], [], START_SECONDS)[0] if output else []
    line = output.readline() if output and ready else b""
    if not line.strip().isdigit():
        process.kill()
        process.wait()
        said.seek(0)
        last = said.read().decode(errors="replace").strip().splitlines()[-1:] or ["no reason given"]
        raise PackError(f"{folder}: the pack does not start: {last[0]}")
    return int(line)


def _struct(inputs: Mapping[str, Any]) -> Any:
    return json_format.ParseDict(dict(inputs), struct_pb2.Struct())


def _options(resource: Registered) -> Any:
    return analyzer_pb2.AnalyzerResourceOptions(protect=bool(resource.options.get("protect")), parent=resource.parent)


def _analyzer_resource(resource: Registered) -> Any:
    return analyzer_pb2.AnalyzerResource(
        type=resource.type,
        properties=_struct(resource.raw),
        urn=resource.urn,
        name=resource.name,
        parent=resource.parent,
        options=_options(resource),
        dependencies=resource.dependencies,
        propertyDependencies={
            key: analyzer_pb2.AnalyzerPropertyDependencies(urns=urns)
            for key, urns in resource.property_dependencies.items()
        },
    )


def _refusal(said: Any, urn: str) -> Refusal:
    mandatory = said.enforcementLevel == analyzer_pb2.MANDATORY
    return Refusal(said.policyName, said.message, said.urn or urn, mandatory, SEVERITIES.get(said.severity, ""))
