"""``serve.yaml``: what is served, where, and within which limits.

A container may have the text of it in ``SERVE_SETTINGS_YAML``. Parsed once, here; everything behind it
trusts it. Imports no ray, so that a check of the settings costs nothing.

Errors::

    UserError
    └── SettingsError    the settings can't be read, or say what can't be: place, path in it, what was expected
"""

from __future__ import annotations

import itertools
import os
from collections.abc import Hashable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any, Literal, Self, cast, get_args

import yaml
from pydantic import AfterValidator, BaseModel, Field, StringConstraints, ValidationError, model_validator
from pydantic_core import ErrorDetails

from console import UserError, one_line
from serve.access.settings import AccessSettings
from serve.limits.settings import LimitSettings
from serve.llm.settings import BackendSettings, LanguageModel, Onnx, PromptSettings, UsageSettings, encoders
from serve.llm.settings import Bedrock as Bedrock  # infra and the fit check take these from here
from serve.llm.settings import Deployed as Deployed
from serve.llm.settings import Vllm as Vllm
from serve.llm.settings import from_registry as from_registry
from serve.runtimes import RUNTIMES
from serve.section import ModelName as ModelName  # infra takes it from here
from serve.section import Needs, Section

DEFAULT_FILE = Path("serve.yaml")
FILE_VARIABLE = "SERVE_SETTINGS"
TEXT_VARIABLE = "SERVE_SETTINGS_YAML"
DEFAULT_IN_WORDS = f"default: {FILE_VARIABLE} (a path), {TEXT_VARIABLE} (the text), or {DEFAULT_FILE}"
KEY_VARIABLE = "SERVE_KEY"
SHOWN_CHARACTERS = 60


class SettingsError(UserError):
    """The settings can't be read, or say what can't be."""


def _is_runtime(name: str) -> str:
    if name not in RUNTIMES:
        raise ValueError(f"expected one of the runtimes {', '.join(sorted(RUNTIMES))}")
    return name


Host = Annotated[str, StringConstraints(pattern=r"^[A-Za-z0-9.:-]+$")]
Port = Annotated[int, Field(ge=1, le=65535)]
Alias = Annotated[str, StringConstraints(pattern=r"^[A-Za-z0-9][A-Za-z0-9_-]*$")]


class Tls(Section):
    """PEM files on every node that runs HAProxy; ``certificate`` with its chain."""

    certificate: str = Field(min_length=1)
    key: str = Field(min_length=1)


class Http(Section):
    """The ingress.

    ``request_timeout_seconds`` counts from the first byte of a request to its answer, ``queue_seconds``
    is how long HAProxy holds a request that no replica has room for before it answers 503. ``docs``
    serves ``/docs`` and ``/openapi.json``, which need no key and name no model.
    """

    host: Host = "127.0.0.1"
    port: Port = 8000
    tls: Tls | None = None
    max_body_bytes: int = Field(default=16 * 2**20, ge=1024)
    request_timeout_seconds: float = Field(default=30, gt=0)
    queue_seconds: float = Field(default=0.03, ge=0.001)
    docs: bool = True

    @property
    def on_loopback(self) -> bool:
        return self.host in ("localhost", "::1") or self.host.startswith("127.")


class Grpc(Section):
    """The Open Inference Protocol over gRPC, on ``http.host``. ``port: null``: not served."""

    port: Port | None = None
    max_message_bytes: int = Field(default=16 * 2**20, ge=1024)


class AccessLogSettings(Section):
    """``sample``: the share of good answers with a line of their own; refusals have one always."""

    folder: str | None = Field(default="build/logs", min_length=1)
    sample: float = Field(default=0.01, ge=0, le=1)


class Dashboard(Section):
    host: Host = "127.0.0.1"
    port: Port = 8265


class RegistrySettings(Section):
    """``uri``: MLflow's tracking URI; ``None`` is the registry that ``training`` writes to."""

    uri: str | None = Field(default=None, min_length=1)
    cache: str = Field(default="build/models", min_length=1)

    @property
    def cache_folder(self) -> Path:
        return Path(self.cache).resolve()


class Autoscaling(Section):
    """Between how many replicas; see ``serve.autoscaling`` for the rule."""

    lowest: int = Field(default=1, ge=1)
    highest: int = Field(ge=1)
    up_after_seconds: float = Field(default=10, ge=0)
    down_after_seconds: float = Field(default=300, ge=0)

    @model_validator(mode="after")
    def _ascends(self) -> Self:
        if self.lowest > self.highest:
            raise ValueError(f"lowest is {self.lowest}, expected at most highest, which is {self.highest}")
        return self


class IngressSettings(Section):
    """The replicas that requests come to. ``autoscaling`` takes the place of ``replicas``."""

    replicas: int = Field(default=1, ge=1)
    autoscaling: Autoscaling | None = None
    cpus: float = Field(default=1, gt=0)
    max_ongoing_requests: int = Field(default=256, ge=1)
    drain_seconds: float = Field(default=1, ge=0)

    @property
    def most_replicas(self) -> int:
        return self.autoscaling.highest if self.autoscaling else self.replicas


class ModelSettings(Section):
    """One model.

    ``placement: inline`` runs it in every ingress replica; ``replica`` gives it a deployment with
    ``replicas`` (or ``autoscaling``), ``cpus`` and ``gpus`` of its own, to which each ingress replica
    makes up to ``calls`` calls at once for each of those, with up to ``batch_rows`` rows, while up to
    ``queue`` requests wait. ``ranges`` says what happens to a number outside the contract's bounds.
    ``needs``: Ray places the model only where that memory is free, and the fit check holds all of them
    against the nodes of a stack.
    """

    runtime: Annotated[str, AfterValidator(_is_runtime)] = "onnx"
    alias: Alias = "champion"
    threads: int = Field(default=1, ge=1)
    max_rows: int = Field(default=10_000, ge=1)
    longest_string: int = Field(default=1024, ge=1)
    ranges: Literal["reject", "clip", "pass"] = "reject"
    limits: LimitSettings = LimitSettings()
    placement: Literal["inline", "replica"] = "inline"
    replicas: int = Field(default=1, ge=1)
    autoscaling: Autoscaling | None = None
    cpus: float = Field(default=1, ge=0)
    gpus: float = Field(default=0, ge=0)
    calls: int = Field(default=2, ge=1)
    batch_rows: int = Field(default=1024, ge=1)
    queue: int = Field(default=256, ge=1)
    needs: Needs = Needs()

    @property
    def most_replicas(self) -> int:
        return self.autoscaling.highest if self.autoscaling else self.replicas

    @model_validator(mode="after")
    def _has_the_gpus_that_it_needs(self) -> Self:
        if self.needs.of_gpus and not (self.placement == "replica" and self.gpus > 0):
            raise ValueError("needs names a GPU's memory or capability, expected placement: replica, and gpus above 0")
        return self


class Settings(Section):
    http: Http = Http()
    grpc: Grpc = Grpc()
    access: AccessSettings = AccessSettings()
    limits: LimitSettings = LimitSettings()
    access_log: AccessLogSettings = AccessLogSettings()
    dashboard: Dashboard = Dashboard()
    registry: RegistrySettings = RegistrySettings()
    ingress: IngressSettings = IngressSettings()
    models: dict[ModelName, ModelSettings] = Field(default_factory=dict)
    default_model: str | None = None
    backends: dict[ModelName, BackendSettings] = Field(default_factory=dict)
    language_models: dict[ModelName, LanguageModel] = Field(default_factory=dict)
    prompts: PromptSettings = PromptSettings()
    usage: UsageSettings = UsageSettings()

    @model_validator(mode="after")
    def _serves_something(self) -> Self:
        if not self.models and not self.language_models:
            raise ValueError("serves nothing: expected models or language_models")
        if twice := self.models.keys() & self.language_models.keys():
            raise ValueError(f"{min(twice)!r} is in models and in language_models, expected one of them")
        return self

    @model_validator(mode="after")
    def _routes_lead_somewhere(self) -> Self:
        for name, model in self.language_models.items():
            for route in model.routes:
                if route.backend not in self.backends:
                    known = ", ".join(self.backends) or "none: backends is empty"
                    raise ValueError(f"language_models.{name} routes to {route.backend!r}, expected one of {known}")
                adapters = getattr(self.backends[route.backend], "adapters", {})
                if route.adapter is not None and route.adapter not in adapters:
                    known = ", ".join(adapters) or "none: the backend has no adapters"
                    raise ValueError(f"language_models.{name}: adapter {route.adapter!r}, expected one of {known}")
        self.encoders  # noqa: B018  it says what is wrong with them
        return self

    @model_validator(mode="after")
    def _default_is_served(self) -> Self:
        if self.default_model is not None and self.default_model not in self.models:
            raise ValueError(f"default_model is {self.default_model!r}, expected one of {', '.join(self.models)}")
        return self

    @model_validator(mode="after")
    def _ports_differ(self) -> Self:
        ports = {"http.port": self.http.port, "dashboard.port": self.dashboard.port, "grpc.port": self.grpc.port}
        for (one, port), (other, same) in itertools.combinations(ports.items(), 2):
            if port == same:
                raise ValueError(f"{one} and {other} are both {port}, expected two ports")
        return self

    @model_validator(mode="after")
    def _open_to_this_machine_alone(self) -> Self:
        if not self.access.required and not self.http.on_loopback:
            raise ValueError(
                f"access.required is false and http.host is {self.http.host}: without keys the ingress listens on "
                "loopback alone; set http.host to 127.0.0.1, or access.required to true"
            )
        return self

    @property
    def default_name(self) -> str | None:
        """The model for requests that name none: the one set, or the only one; ``None`` if there are several."""
        if self.default_model is not None or len(self.models) != 1:
            return self.default_model
        return next(iter(self.models))

    @property
    def encoders(self) -> dict[str, str]:
        """Language models that are a text encoder → its backend."""
        return encoders(self.backends, self.language_models)

    def encoder(self, name: str) -> Onnx:
        """The section of a language model that is a text encoder."""
        return cast("Onnx", self.backends[self.encoders[name]])

    @property
    def inline_memory_bytes(self) -> int:
        """What the models in an ingress replica's own process need."""
        # A new version of an encoder is loaded beside the one whose place it takes.
        encoders = [each for each in self.backends.values() if isinstance(each, Onnx)]
        encoding = sum(round(2 * each.memory_gib * 2**30) for each in encoders)
        return encoding + sum(model.needs.memory_bytes for model in self.models.values() if model.placement == "inline")


def client_key() -> str | None:
    """The API key that commands call a running ingress with: ``SERVE_KEY``.

    With ``settings_file`` the one place where this package reads the environment. An argument would be
    seen by everybody who lists the machine's processes.
    """
    return os.environ.get(KEY_VARIABLE) or None


@dataclass(frozen=True)
class SettingsText:
    """Settings that are not in a file: their text, and what holds it, which stands in errors where a path would."""

    text: str
    place: str

    def __str__(self) -> str:
        return self.place

    def read_text(self, encoding: str = "utf-8") -> str:  # noqa: ARG002
        """The text, as of a path."""
        return self.text


def settings_file(args: Mapping[str, str]) -> Path | SettingsText:
    """Where the settings are.

    The builder argument ``settings=PATH``, else the path in ``SERVE_SETTINGS``, else the text in
    ``SERVE_SETTINGS_YAML``, else ``serve.yaml``.
    """
    if unknown := sorted(set(args) - {"settings"}):
        raise SettingsError(f"unknown argument {unknown[0]}: the only one is settings=PATH")
    if path := args.get("settings") or os.environ.get(FILE_VARIABLE):
        return Path(path)
    if text := os.environ.get(TEXT_VARIABLE):
        return SettingsText(text, TEXT_VARIABLE)
    return DEFAULT_FILE


def read_settings(file: Path | SettingsText) -> Settings:
    """Read and check settings.

    Raises:
        SettingsError: one line that names the file or the variable, the path in it, what was expected and what came.
    """
    try:
        text = file.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        reason = error.strerror if isinstance(error, OSError) else "not UTF-8"
        raise SettingsError(
            f"{file}: cannot be read ({reason}): run from the folder that has serve.yaml, "
            f"or name one by settings=PATH or {FILE_VARIABLE}, or put its text in {TEXT_VARIABLE}"
        ) from error
    try:
        # _Loader is a SafeLoader that refuses a key given twice.
        document = yaml.load(text, Loader=_Loader)  # noqa: S506
    except (yaml.YAMLError, RecursionError, ValueError) as error:
        raise SettingsError(f"{file}: is not YAML: {one_line(str(error))}") from error
    if not isinstance(document, dict):
        raise SettingsError(f"{file}: expected a mapping of settings, got {_shown(document)}")
    try:
        return Settings.model_validate(document)
    except ValidationError as error:
        raise SettingsError(f"{file}: {_problem(error.errors(include_url=False)[0])}") from error


def _problem(problem: ErrorDetails) -> str:
    path = ".".join(str(part) for part in problem["loc"] if part != "[key]")
    message = problem["msg"].removeprefix("Value error, ")
    match problem["type"]:
        case "extra_forbidden":
            return f"{path}: unknown key, expected one of {', '.join(_keys_at(problem['loc'][:-1]))}"
        case "missing":
            return f"{path}: is missing"
        case "value_error" if not path:
            return message
    return f"{path}: {message[0].lower()}{message[1:]}, got {_shown(problem['input'])}"


def _keys_at(location: tuple[int | str, ...]) -> list[str]:
    sections: list[type[BaseModel]] = [Settings]
    for part in location:
        field = sections[0].model_fields.get(str(part)) if len(sections) == 1 else None
        if field is not None:
            sections = _sections(field.annotation)
        elif len(sections) > 1:
            # The name of the section, or the kind by which one of several is told.
            sections = [each for each in sections if each.__name__.lower() == part] or sections
    return sorted({key for each in sections for key in each.model_fields})


def _sections(annotation: Any) -> list[type[BaseModel]]:
    if isinstance(annotation, type) and issubclass(annotation, BaseModel):
        return [annotation]
    return [found for each in get_args(annotation) for found in _sections(each)]


def _shown(value: object) -> str:
    text = one_line(repr(value))
    return text if len(text) <= SHOWN_CHARACTERS else f"{text[:SHOWN_CHARACTERS]}…"


class _Loader(yaml.SafeLoader):
    def construct_mapping(self, node: yaml.MappingNode, deep: bool = False) -> dict[Hashable, Any]:
        seen: set[object] = set()
        for key_node, _ in node.value:
            key = self.construct_object(key_node, deep=True)
            if not isinstance(key, Hashable):
                break
            if key in seen:
                raise yaml.MarkedYAMLError(problem=f"key {key!r} is given twice", problem_mark=key_node.start_mark)
            seen.add(key)
        return super().construct_mapping(node, deep=deep)
