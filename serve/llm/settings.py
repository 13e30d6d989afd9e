"""The sections of ``serve.yaml`` on language models: where they run, under which names, and what they may cost."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Literal, Self, cast

from pydantic import BeforeValidator, Field, StringConstraints, model_validator

from serve.limits.settings import LimitSettings
from serve.section import ModelName, Needs, Section
from training.bundle import REFERENCE, SCHEME, Reference

Region = Annotated[str, StringConstraints(pattern=r"^[a-z]{2}(-[a-z]+)+-\d$")]
Dollars = Annotated[float, Field(ge=0)]


def from_registry(source: str) -> bool:
    """Whether a model or an adapter is named as a version of the registry, be there one or not."""
    return source.startswith(SCHEME)


class TokenPrices(Section):
    """US dollars for a million tokens. ``cached``: input that was read from a cache; ``None``: as ``input``."""

    input: Dollars
    output: Dollars
    cached: Dollars | None = None


class Deployed(Section):
    """An engine in a Serve deployment of its own: what is the same for every kind of one.

    ``model``: a folder in Hugging Face's format, a hub's id, or a version of the registry, ``registry:NAME@ALIAS`` or
    ``registry:NAME/VERSION``. ``max_length``: tokens of a request with its answer,
    ``None`` for the model's own. ``sequences``: requests that one replica works on at once. ``cpus``, ``gpus``: of each
    replica. ``needs``: of each replica, with its engine's processes; Ray places it only where that memory is free, and
    the fit check holds it against the nodes of a stack. ``dollars_per_hour``: what one replica costs while it works,
    for the ledger; ``None``: not known. ``follow_seconds``: how often it is looked which versions aliases name.
    ``start_seconds``: how long its processes may take to be ready.
    """

    kind: str
    model: str = Field(min_length=1)
    dtype: Literal["auto", "float32", "bfloat16", "float16"] = "auto"
    max_length: int | None = Field(default=None, ge=16)
    sequences: int = Field(default=16, ge=1)
    cpus: float = Field(default=1, gt=0)
    gpus: float = Field(default=0, ge=0)
    replicas: int = Field(default=1, ge=1)
    needs: Needs = Needs()
    dollars_per_hour: Dollars | None = None
    follow_seconds: float = Field(default=5, ge=0.1)
    start_seconds: float = Field(default=600, gt=0)

    @model_validator(mode="after")
    def _has_the_gpus_that_it_needs(self) -> Self:
        if self.needs.of_gpus and not self.gpus:
            raise ValueError("needs names a GPU's memory or capability, expected gpus above 0")
        return self

    @property
    def followed(self) -> bool:
        """Whether the model is what an alias names. Raises: VersionNotFound: it begins like a version, and is none."""
        reference = Reference.parse(self.model)
        return reference is not None and bool(reference.alias)

    @property
    def gpus_in_all(self) -> float:
        """Of one replica, with those of its engine's workers."""
        return self.gpus

    @property
    def declared(self) -> dict[str, int]:
        """The memory that Ray must find free, as it takes it: none is none to count."""
        return {"memory": self.needs.memory_bytes} if self.needs.memory_bytes else {}


class Vllm(Deployed):
    """vLLM.

    ``cache_gib``: of the KV cache, on a CPU. ``adapters``: LoRA, name → folder or version of the registry; each is a
    model of this backend by its name. ``tool_parser``: vLLM's, such as ``hermes``. ``stall_seconds``: how long the
    engine may take nothing, as between two steps, before its replica is replaced. ``arguments``: any others of vLLM's
    engine.
    """

    kind: Literal["vllm"]
    tensor_parallel: int = Field(default=1, ge=1)
    cache_gib: float = Field(default=1.0, gt=0)
    prefix_cache: bool = True
    adapters: dict[ModelName, str] = Field(default_factory=dict)
    tool_parser: str | None = Field(default=None, min_length=1)
    stall_seconds: float = Field(default=300, gt=0)
    arguments: dict[str, str | int | float | bool] = Field(default_factory=dict)

    @property
    def gpus_in_all(self) -> float:
        return self.tensor_parallel if self.gpus and self.tensor_parallel > 1 else self.gpus


class HuggingFace(Deployed):
    """Hugging Face's transformers, for the models that vLLM can't run.

    ``max_length``: must be given where the model names none. ``cache_gib``: of the KV cache, on a CPU. ``batching``:
    continuous batching where the model can be run so; ``False``: a thread for each answer always. ``tool_parser``: how
    the model writes calls of tools that it chooses by itself; ``None``: they are text.
    """

    kind: Literal["huggingface"]
    cache_gib: float = Field(default=1.0, gt=0)
    batching: bool = True
    tool_parser: Literal["hermes"] | None = None
    gpus: float = Field(default=0, ge=0, le=1)


class Onnx(Section):
    """A text encoder on ONNX Runtime, in every ingress replica's own process.

    ``model``: of the registry, ``registry:NAME@ALIAS`` or ``registry:NAME/VERSION``. ``max_tokens``: of one text,
    ``None`` for the model's own. ``threads``: of a run. ``queue``: requests at once in one replica. ``memory_gib``: of
    a loaded version; two are loaded while one takes the other's place. ``dollars_per_hour``: what one replica costs
    while it encodes, for the ledger; ``None``: not known.
    """

    kind: Literal["onnx"]
    model: str = Field(pattern=f"^{REFERENCE.pattern}$")
    max_tokens: int | None = Field(default=None, ge=2)
    threads: int = Field(default=1, ge=1)
    queue: int = Field(default=64, ge=1)
    memory_gib: float = Field(default=0.5, gt=0)
    dollars_per_hour: Dollars | None = None

    @property
    def reference(self) -> Reference:
        """What ``model`` names: its pattern lets nothing else in."""
        return cast("Reference", Reference.parse(self.model))


class Guardrail(Section):
    id: str = Field(min_length=1)
    version: str = Field(default="DRAFT", min_length=1)


class Bedrock(Section):
    """A model of AWS Bedrock's, by Converse.

    ``model``: a model's id or an inference profile's. ``regions``: asked in this order, the next one where one has no
    room or is down. ``retries``: within a region. ``answer_seconds``: for an answer that is not streamed.
    ``prices``: take the place of the dated table's. ``endpoint``: another address than AWS's, as of a private endpoint;
    ``{region}`` in it is the region.
    """

    kind: Literal["bedrock"]
    model: str = Field(min_length=1)
    regions: tuple[Region, ...] = Field(strict=False, min_length=1)
    guardrail: Guardrail | None = None
    retries: int = Field(default=2, ge=0, le=10)
    connect_seconds: float = Field(default=5, gt=0)
    first_token_seconds: float = Field(default=60, gt=0)
    between_tokens_seconds: float = Field(default=30, gt=0)
    answer_seconds: float = Field(default=300, gt=0)
    prices: TokenPrices | None = None
    endpoint: str | None = Field(default=None, min_length=1)


BackendSettings = Annotated[HuggingFace | Vllm | Onnx | Bedrock, Field(discriminator="kind")]


class Route(Section):
    """``priority``: lower ones first, and others only where those can't answer. ``weight``: among the same priority.

    ``adapter``: one of the backend's, by its name.
    """

    backend: ModelName
    adapter: ModelName | None = None
    priority: int = Field(default=0, ge=0)
    weight: float = Field(default=1, gt=0)


class LanguageModel(Section):
    """A name that clients ask for, and where its requests go. ``limits``: of all its callers together."""

    routes: tuple[Route, ...] = Field(strict=False, min_length=1)
    limits: LimitSettings = LimitSettings()


def encoders(backends: Mapping[str, BackendSettings], models: Mapping[str, LanguageModel]) -> dict[str, str]:
    """Names whose only route is to a text encoder → that backend: what also answers the Open Inference Protocol.

    Raises:
        ValueError: an encoder has no such name, or several: it is loaded and unloaded by it.
    """
    alone = {name: model.routes[0].backend for name, model in models.items() if len(model.routes) == 1}
    found = {name: backend for name, backend in alone.items() if isinstance(backends.get(backend), Onnx)}
    for backend, section in backends.items():
        if isinstance(section, Onnx) and (count := list(found.values()).count(backend)) != 1:
            raise ValueError(f"backends.{backend}: expected one language model with no route but to it, got {count}")
    return found


class PromptSettings(Section):
    """Prompts of the registry in requests. ``alias_seconds``: how long it is believed what an alias named.

    ``names``: patterns as in a shell, of the prompts that requests may name.
    """

    alias_seconds: float = Field(default=5, gt=0)
    names: tuple[Annotated[str, Field(min_length=1)], ...] = Field(default=("*",), strict=False)


class Budget(Section):
    """``key`` and ``model``: patterns as in a shell; each key and model that matches has a budget of its own."""

    key: str = Field(default="*", min_length=1)
    model: str = Field(default="*", min_length=1)
    dollars_per_day: Annotated[float, Field(gt=0)] | None = None
    dollars_per_month: Annotated[float, Field(gt=0)] | None = None

    @model_validator(mode="after")
    def _bounds_something(self) -> Self:
        if self.dollars_per_day is None and self.dollars_per_month is None:
            raise ValueError("bounds nothing: expected dollars_per_day or dollars_per_month")
        return self


class UsageSettings(Section):
    """``ledger``: ``sqlite:///PATH`` or ``postgresql://…``; ``None``: nothing is kept, and no budget can be held.

    ``journals``: the folder for what this machine has not brought there yet, of this ledger alone. ``password``: where
    it is, ``secretsmanager:NAME``; what is wrong with it is told where it can be without it, and so not here.
    """

    ledger: str | None = Field(default="sqlite:///build/usage.db", min_length=1)
    journals: Path | None = Field(default=None, strict=False)
    password: Annotated[str | None, BeforeValidator(lambda given: given if given is None else str(given))] = None
    # Several fit into the time for which others believe what a process has reserved.
    flush_seconds: float = Field(default=0.5, gt=0, le=20)
    budgets: tuple[Budget, ...] = Field(default=(), strict=False)

    @model_validator(mode="after")
    def _budgets_are_counted(self) -> Self:
        if self.budgets and self.ledger is None:
            raise ValueError("budgets are given and ledger is null: what was spent must be kept")
        return self
