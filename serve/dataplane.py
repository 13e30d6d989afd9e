"""The data plane: the one object that every transport calls.

It knows models, versions, contracts and runtimes; it knows nothing of HTTP or of any protocol.
"""

from __future__ import annotations

import asyncio
from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass

from serve.gateway.errors import InputRejected, ModelNotFound, NotReady, Overloaded
from serve.runtimes.base import Array, ModelMetadata, Runtime
from serve.validation import InputSchema, Values

ROWS_ON_THE_LOOP = 64
"""The largest batch that runs on the event loop itself.

The way to a thread and back costs about 0.1 ms, as much as the run of one row; 64 rows take well
under a millisecond or two, which is what other requests then wait. Above that a thread pays off:
the runtime lets go of Python's lock while it runs.
"""

THREADS = 2
WAITING = 16
"""Large batches that may wait for a thread; one more is refused at once (503)."""


@dataclass(frozen=True, slots=True)
class ServedModel:
    """A loaded version and the check of its inputs."""

    name: str
    version: str
    schema: InputSchema
    runtime: Runtime


@dataclass(frozen=True, slots=True)
class Result:
    """An answer and the version that made it. ``outputs``: arrays with the batch as first axis."""

    model: str
    version: str
    outputs: dict[str, Array]


class DataPlane:
    """Models by name. ``default`` is the model for requests that name none, if there is one."""

    def __init__(self, models: Sequence[ServedModel], default: str | None = None) -> None:
        self._models = {model.name: model for model in models}
        self._default = default
        self._threads = ThreadPoolExecutor(THREADS, thread_name_prefix="infer")
        self._waiting = 0

    @property
    def names(self) -> tuple[str, ...]:
        return tuple(self._models)

    @property
    def live(self) -> bool:
        return True

    @property
    def ready(self) -> bool:
        return bool(self._models)

    def require_ready(self) -> None:
        """Raises: NotReady."""
        if not self.ready:
            raise NotReady

    def model(self, name: str | None = None, version: str | None = None) -> ServedModel:
        """The model of this name (``None``: the default one), if this is its version.

        Raises:
            ModelNotFound: it is not served here.
        """
        name = self._default if name is None else name
        found = self._models.get(name) if name is not None else None
        if found is None:
            raise ModelNotFound(name or "(default)", None, self.names)
        if version is not None and version != found.version:
            raise ModelNotFound(found.name, version, [f"{found.name} version {found.version}"])
        return found

    def metadata(self, name: str, version: str | None = None) -> ModelMetadata:
        """Raises: ModelNotFound."""
        return self.model(name, version).runtime.metadata

    async def infer(
        self,
        name: str | None,
        version: str | None,
        columns: Mapping[str, Values],
        outputs: Sequence[str] | None = None,
    ) -> Result:
        """Check a batch against the model's contract and run it.

        ``columns``: one sequence of ``N`` values per feature of the contract. ``outputs``: which to
        compute, all of them if ``None``.

        Raises:
            ModelNotFound: no such model or version.
            InputRejected: the batch is not what the contract asks for, or there is no such output.
            Overloaded: the batch is large and too many of those wait.
            RuntimeFailure: the runtime failed at inputs that keep to the contract.
        """
        model = self.model(name, version)
        wanted = _outputs(model, outputs)
        if max(map(len, columns.values()), default=0) <= ROWS_ON_THE_LOOP:
            return Result(model.name, model.version, _run(model, columns, wanted))
        if self._waiting >= WAITING:
            raise Overloaded(self._waiting)
        self._waiting += 1
        work = asyncio.get_running_loop().run_in_executor(self._threads, _run, model, columns, wanted)
        # Counted until the thread is done with it, also where the client gives up before.
        work.add_done_callback(self._done)
        return Result(model.name, model.version, await asyncio.shield(work))

    def _done(self, work: asyncio.Future[dict[str, Array]]) -> None:
        self._waiting -= 1
        if not work.cancelled():
            work.exception()

    def close(self) -> None:
        self._threads.shutdown(wait=False, cancel_futures=True)
        for model in self._models.values():
            model.runtime.unload()


def _run(model: ServedModel, columns: Mapping[str, Values], outputs: Sequence[str]) -> dict[str, Array]:
    return model.runtime.predict(model.schema.arrays(columns), outputs)


def _outputs(model: ServedModel, wanted: Sequence[str] | None) -> Sequence[str]:
    names = [tensor.name for tensor in model.runtime.metadata.outputs]
    if wanted is None:
        return names
    if unknown := [name for name in wanted if name not in names]:
        raise InputRejected(model.name, None, None, f"outputs among {', '.join(names)}", repr(unknown[0])[:60])
    return list(dict.fromkeys(wanted)) or names
