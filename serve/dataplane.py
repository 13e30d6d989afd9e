"""The data plane: the one object that every transport calls.

It knows models, versions, contracts and places; it knows nothing of HTTP or of any protocol.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import NamedTuple

from serve.context import RequestContext
from serve.gateway.errors import InputRejected, ModelFailed, ModelNotFound, NotReady, shown
from serve.llm.plane import LanguagePlane
from serve.placement.base import Outputs, Place
from serve.releases.repository import Repository
from serve.runtimes.base import ModelMetadata, RuntimeFailure
from serve.validation import InputSchema, Values

logger = logging.getLogger("ray.serve")


@dataclass(slots=True)
class ServedModel:
    """A loaded version and the check of its inputs. ``running`` counts the requests that it answers now."""

    name: str
    version: str
    schema: InputSchema
    place: Place
    running: int = field(default=0, compare=False)

    @property
    def metadata(self) -> ModelMetadata:
        return self.place.metadata


@dataclass(frozen=True, slots=True)
class Result:
    """An answer and the version that made it. ``outputs``: arrays with the batch as first axis."""

    model: str
    version: str
    outputs: Outputs


class IndexEntry(NamedTuple):
    """A model as the repository index shows it. ``state`` is READY or UNAVAILABLE."""

    name: str
    version: str
    state: str
    reason: str


class DataPlane:
    """Models by name. ``default`` is the model for requests that name none, if there is one."""

    def __init__(self, models: Sequence[ServedModel], default: str | None = None) -> None:
        self._models = {model.name: model for model in models}
        self._unavailable: dict[str, tuple[str, str]] = {}
        self._default = default
        self.repository: Repository | None = None
        self.language: LanguagePlane | None = None
        self.language_ready = False

    @property
    def names(self) -> tuple[str, ...]:
        return tuple(self._models)

    @property
    def waiting(self) -> dict[str, int]:
        """Requests that wait for a run, by model."""
        return {name: model.place.waiting for name, model in self._models.items()}

    @property
    def live(self) -> bool:
        return True

    @property
    def ready(self) -> bool:
        served = bool(self._models) or self.language is not None
        return served and not self._unavailable and (self.language is None or self.language_ready)

    def require_ready(self) -> None:
        """Raises: NotReady."""
        if not self.ready:
            raise NotReady

    def model(self, name: str | None = None, version: str | None = None) -> ServedModel:
        """The model of this name (``None``: the default one), if this is its version.

        Raises:
            ModelNotFound: it is not served here.
            NotReady: it is served here, and not loaded.
        """
        name = self._default if name is None else name
        found = self._models.get(name) if name is not None else None
        if found is None:
            if name in self._unavailable:
                raise NotReady(name)
            raise ModelNotFound(name or "(default)", None, self.names)
        if version is not None and version != found.version:
            raise ModelNotFound(found.name, version, [f"{found.name} version {found.version}"])
        return found

    def metadata(self, name: str, version: str | None = None) -> ModelMetadata:
        """Raises: ModelNotFound."""
        return self.model(name, version).metadata

    async def infer(
        self,
        name: str | None,
        version: str | None,
        columns: Mapping[str, Values],
        outputs: Sequence[str] | None = None,
        context: RequestContext | None = None,
    ) -> Result:
        """Check a batch against the model's contract and run it.

        ``columns``: one sequence of ``N`` values per feature of the contract. ``outputs``: which to
        compute, all of them if ``None``.

        Raises:
            ModelNotFound: no such model or version.
            Forbidden, RateLimited: not with this key, or not now.
            InputRejected: the batch is not what the contract asks for, or there is no such output.
            Overloaded, NotReady: too many requests wait, or nothing runs the model now.
            RequestTimeout, ClientGone: nobody waits for the answer any more.
            ModelFailed: the runtime failed at inputs that keep to the contract.
        """
        context = context or RequestContext()
        model = self.model(name, version)
        context.may_use(model.name)
        context.model, context.version = model.name, model.version
        wanted = _outputs(model, outputs)
        if context.ticket is not None:
            context.ticket.model(model.name)
        inputs = model.schema.arrays(columns)
        rows = len(next(iter(inputs.values())))
        if context.ticket is not None:
            context.ticket.rows(rows)
        model.running += 1
        try:
            found = await model.place.predict(inputs, rows, wanted, context)
        except RuntimeFailure as error:
            logger.error("model %s version %s failed: %s", model.name, model.version, error)  # noqa: TRY400
            raise ModelFailed(model.name) from error
        finally:
            model.running -= 1
        context.rows = rows
        return Result(model.name, model.version, found)

    def index(self) -> list[IndexEntry]:
        """Every model that the settings name, loaded or not."""
        ready = [IndexEntry(model.name, model.version, "READY", "") for model in self._models.values()]
        return ready + [
            IndexEntry(name, version, "UNAVAILABLE", reason) for name, (version, reason) in self._unavailable.items()
        ]

    async def load(self, name: str, context: RequestContext | None = None) -> None:
        """Load the version that the model's alias names now, beside the one that answers, and then take its place.

        Raises:
            Forbidden: not with this key.
            ModelNotFound: the settings name no such model.
            ModelFailed: that version can't be had or loaded; what answered goes on.
        """
        await self._administered(name, context).load(name)

    async def unload(self, name: str, context: RequestContext | None = None) -> None:
        """Answer no more from this model, and give its memory back once its last request is answered.

        Raises:
            Forbidden: not with this key.
            ModelNotFound: the settings name no such model.
        """
        await self._administered(name, context).unload(name)

    async def put(self, model: ServedModel) -> None:
        """Answer from this version from now on. Returns when the one before it has answered its last request."""
        before = self._models.get(model.name)
        self._models[model.name] = model
        self._unavailable.pop(model.name, None)
        if before is not None and before is not model:
            await _answered(before)

    async def remove(self, name: str, reason: str) -> None:
        """Answer no more from this model. Returns when it has answered its last request."""
        before = self._models.pop(name, None)
        if before is None:
            self._unavailable.setdefault(name, ("", reason))
            return
        self._unavailable[name] = (before.version, reason)
        await _answered(before)

    async def close(self) -> None:
        for model in self._models.values():
            await model.place.close()

    def _administered(self, name: str, context: RequestContext | None) -> Repository:
        context = context or RequestContext()
        context.may_use(name)
        context.may_administer()
        if name not in self._models and name not in self._unavailable:
            raise ModelNotFound(name, None, [*self._models, *self._unavailable])
        if self.repository is None:
            raise ModelFailed(name)
        return self.repository


async def _answered(model: ServedModel) -> None:
    while model.running:  # noqa: ASYNC110 - an event would cost every request, and this is rare
        await asyncio.sleep(0.01)


def _outputs(model: ServedModel, wanted: Sequence[str] | None) -> Sequence[str]:
    names = [tensor.name for tensor in model.metadata.outputs]
    if wanted is None:
        return names
    if unknown := [name for name in wanted if name not in names]:
        raise InputRejected(model.name, None, None, f"outputs among {', '.join(names)}", shown(unknown[0]))
    return list(dict.fromkeys(wanted)) or names
