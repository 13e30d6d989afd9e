"""``serve.yaml``: what is served, where, and within which limits.

Parsed once, here; everything behind it trusts it. Imports no ray, so that a check of the settings
costs nothing.

Errors::

    UserError
    └── SettingsError    the file can't be read, or says what can't be: file, path in it, what was expected
"""

from __future__ import annotations

import os
from collections.abc import Hashable, Mapping
from pathlib import Path
from typing import Annotated, Any, Self

import yaml
from pydantic import AfterValidator, BaseModel, ConfigDict, Field, StringConstraints, ValidationError, model_validator
from pydantic_core import ErrorDetails

from console import UserError, one_line
from serve.runtimes import RUNTIMES

DEFAULT_FILE = Path("serve.yaml")
FILE_VARIABLE = "SERVE_SETTINGS"
SHOWN_CHARACTERS = 60


class SettingsError(UserError):
    """The settings can't be read, or say what can't be."""


def _is_runtime(name: str) -> str:
    if name not in RUNTIMES:
        raise ValueError(f"expected one of the runtimes {', '.join(sorted(RUNTIMES))}")
    return name


Host = Annotated[str, StringConstraints(pattern=r"^[A-Za-z0-9.:-]+$")]
Port = Annotated[int, Field(ge=1, le=65535)]
ModelName = Annotated[str, StringConstraints(pattern=r"^[A-Za-z0-9][A-Za-z0-9._-]{0,127}$")]
"""Names a folder in the cache and a segment of a URL."""

Alias = Annotated[str, StringConstraints(pattern=r"^[A-Za-z0-9][A-Za-z0-9_-]*$")]


class Section(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True, strict=True, allow_inf_nan=False)


class Http(Section):
    """The ingress. ``request_timeout_seconds`` counts from the first byte of a request to its answer."""

    host: Host = "127.0.0.1"
    port: Port = 8000
    max_body_bytes: int = Field(default=16 * 2**20, ge=1024)
    request_timeout_seconds: float = Field(default=30, gt=0)


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


class IngressSettings(Section):
    replicas: int = Field(default=1, ge=1)
    cpus: float = Field(default=1, gt=0)
    max_ongoing_requests: int = Field(default=256, ge=1)
    drain_seconds: float = Field(default=1, ge=0)


class ModelSettings(Section):
    runtime: Annotated[str, AfterValidator(_is_runtime)] = "onnx"
    alias: Alias = "champion"
    threads: int = Field(default=1, ge=1)
    max_rows: int = Field(default=10_000, ge=1)


class Settings(Section):
    http: Http = Http()
    dashboard: Dashboard = Dashboard()
    registry: RegistrySettings = RegistrySettings()
    ingress: IngressSettings = IngressSettings()
    models: dict[ModelName, ModelSettings] = Field(min_length=1)
    default_model: str | None = None

    @model_validator(mode="after")
    def _default_is_served(self) -> Self:
        if self.default_model is not None and self.default_model not in self.models:
            raise ValueError(f"default_model is {self.default_model!r}, expected one of {', '.join(self.models)}")
        if self.http.port == self.dashboard.port:
            raise ValueError(f"http.port and dashboard.port are both {self.http.port}, expected two ports")
        return self

    @property
    def default_name(self) -> str | None:
        """The model for requests that name none: the one set, or the only one; ``None`` if there are several."""
        if self.default_model is not None or len(self.models) != 1:
            return self.default_model
        return next(iter(self.models))


def settings_file(args: Mapping[str, str]) -> Path:
    """Which file: the builder argument ``settings=PATH``, else ``SERVE_SETTINGS``, else ``serve.yaml``.

    The one place where this package reads the environment.
    """
    if unknown := sorted(set(args) - {"settings"}):
        raise SettingsError(f"unknown argument {unknown[0]}: the only one is settings=PATH")
    return Path(args.get("settings") or os.environ.get(FILE_VARIABLE) or DEFAULT_FILE)


def read_settings(file: Path) -> Settings:
    """Read and check a settings file.

    Raises:
        SettingsError: one line that names the file, the path in it, what was expected and what came.
    """
    try:
        text = file.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        reason = error.strerror if isinstance(error, OSError) else "not UTF-8"
        raise SettingsError(
            f"{file}: cannot be read ({reason}): run from the folder that has serve.yaml, "
            f"or name one by settings=PATH or {FILE_VARIABLE}"
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
    model: type[BaseModel] = Settings
    for part in location:
        field = model.model_fields.get(str(part))
        if field is None or not (isinstance(field.annotation, type) and issubclass(field.annotation, BaseModel)):
            return sorted(ModelSettings.model_fields)
        model = field.annotation
    return sorted(model.model_fields)


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
