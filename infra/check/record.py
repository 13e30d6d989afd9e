"""Run a Pulumi program without its CLI, and keep everything that it registers.

The program runs under mocks and outside a preview: in a preview, what a mock doesn't give is unknown, ``apply``
never runs, and a mistake in it passes.
"""

from __future__ import annotations

import asyncio
import contextvars
import threading
from collections.abc import Callable, Collection, Coroutine, Mapping
from dataclasses import dataclass, field
from types import TracebackType
from typing import Any, Protocol

import pulumi
from google.protobuf import json_format  # type: ignore[import-untyped]
from pulumi.runtime import mocks, settings
from pulumi.runtime.stack import run_in_stack

from infra.check.sdk import ResourceClass, camel, fitted, outputs_of
from infra.check.signatures import SECRET, SIGNATURE, is_secret, plain, resource_path, secret_paths

STACK = "pulumi:pulumi:Stack"


class ResourceAsValue(Exception):
    """A property was given a resource where it takes one of its attributes: the SDK would wait for it for ever."""

    def __init__(self, type_: str, name: str, where: str) -> None:
        super().__init__(type_, name, where)
        self.type = type_
        self.name = name
        self.where = where

    def __str__(self) -> str:
        return f"{self.type} {self.name}: {self.where}: expected a value, got a resource: name its id, arn or name"


class NotRecorded(LookupError):
    """A recording has no such resource, or more than one: the text names those that it has."""


@dataclass(frozen=True)
class Made:
    """What is known of a resource when it is made. ``inputs`` are plain; ``class_`` is its class in the SDK."""

    type: str
    name: str
    inputs: Mapping[str, Any]
    class_: ResourceClass | None


class Outputs(Protocol):
    """Where the values come from that a cloud would give."""

    def made(self, made: Made) -> tuple[str, dict[str, Any]]:
        """The id of a new resource, and those of its properties that are no inputs, in camelCase."""
        ...

    def call(self, token: str, args: Mapping[str, Any]) -> dict[str, Any]:
        """What a data source answers."""
        ...


@dataclass(frozen=True)
class Resource:
    """As registered. ``inputs``: plain, camelCase; ``raw``: the same with Pulumi's secret signatures."""

    urn: str
    type: str
    name: str
    custom: bool
    inputs: Mapping[str, Any]
    raw: Mapping[str, Any]
    parent: str
    dependencies: tuple[str, ...]
    property_dependencies: Mapping[str, tuple[str, ...]]
    options: Mapping[str, Any]
    secret_paths: frozenset[str]
    class_: ResourceClass | None = field(repr=False, default=None)

    @property
    def label(self) -> str:
        """``aws:s3/bucket:Bucket data``: short and, in one stack, unique enough to find it."""
        return f"{self.type} {self.name}"

    def hides(self, path: str) -> bool:
        """Whether Pulumi keeps the input at ``path`` encrypted in its state."""
        return any(path == each or path.startswith((f"{each}.", f"{each}[")) for each in self.secret_paths)


@dataclass(frozen=True)
class DataSource:
    token: str
    args: Mapping[str, Any]


@dataclass(frozen=True)
class Recording:
    """``outputs``: the stack's exports, plain; ``raw_outputs``: with Pulumi's secret signatures."""

    project: str
    stack: str
    resources: tuple[Resource, ...]
    outputs: Mapping[str, Any]
    raw_outputs: Mapping[str, Any]
    calls: tuple[DataSource, ...]

    def of_type(self, type_: str) -> tuple[Resource, ...]:
        return tuple(each for each in self.resources if each.type == type_)

    def named(self, name: str, type_: str | None = None) -> Resource:
        """The one resource of this name, and of this type where more than one type has it.

        Raises:
            NotRecorded: there is none, or there are several.
        """
        found = [each for each in self.resources if each.name == name and type_ in (None, each.type)]
        if len(found) != 1:
            known = [each.label for each in found] or sorted(
                each.label if type_ is None else each.name for each in self.resources if type_ in (None, each.type)
            )
            raise NotRecorded(f"{len(found)} resources are {type_ or ''} {name}, expected one of: {', '.join(known)}")
        return found[0]

    def below(self, parent: Resource) -> tuple[Resource, ...]:
        """The resources of a component, however deep."""
        known = {parent.urn}
        found = []
        for each in self.resources:
            if each.parent in known:
                known.add(each.urn)
                found.append(each)
        return tuple(found)

    @property
    def components(self) -> tuple[Resource, ...]:
        return tuple(each for each in self.resources if not each.custom)

    def outermost(self) -> list[tuple[str, tuple[Resource, ...]]]:
        """The components that are in no other, by name, each with the resources below it."""
        components = {each.urn for each in self.components}
        found = [
            (f"{each.type.rpartition(':')[2]} {each.name}", self.below(each))
            for each in self.components
            if each.parent not in components
        ]
        # Registered in an order of chance, since the SDK works in several threads.
        return sorted(found, key=lambda row: row[0])


def record(
    program: Callable[[], None],
    *,
    project: str,
    stack: str,
    config: Mapping[str, str],
    secret_keys: Collection[str] = (),
    provider: Outputs | None = None,
) -> Recording:
    """Run ``program`` and keep what it registers; may be called any number of times.

    Args:
        config: ``project:key`` → text, as Pulumi has it; ``secret_keys`` are those that are secret.
        provider: gives resources their outputs; readable placeholders where it is not given.

    Raises:
        Exception: whatever the program raises, with its own traceback.
    """
    from infra.check.placeholders import Placeholders

    outputs = provider or Placeholders(config.get("aws:region", "us-east-1"))

    def isolated() -> Recording:
        return _Run(project, stack, outputs).of(program, dict(config), list(secret_keys))

    # Everything that the SDK keeps (settings, the root resource, the configuration) is in context variables.
    return contextvars.copy_context().run(isolated)


class _Run:
    def __init__(self, project: str, stack: str, outputs: Outputs) -> None:
        self._project = project
        self._stack = stack
        self._seen = _Seen(outputs)

    def of(self, program: Callable[[], None], config: dict[str, str], secret_keys: list[str]) -> Recording:
        loop = asyncio.new_event_loop()
        origins = _Origins()
        loop.set_task_factory(origins.task)
        asyncio.set_event_loop(loop)
        try:
            self._configure(config, secret_keys)
            loop.run_until_complete(run_in_stack(self._noting_classes(program)))
            # Pools of the SDK call the monitor: what they still do belongs to this recording and to no other.
            loop.run_until_complete(loop.shutdown_default_executor())
        except BaseException as error:
            if error.__cause__ is error:
                # The SDK makes an exception its own cause, and hides with that where it came from.
                error.__cause__ = error.__context__
            error.__traceback__ = origins.of(error)
            raise
        finally:
            # After a failure the tasks that waited for it fail too: the first exception says it all.
            loop.set_exception_handler(lambda _loop, _context: None)
            while waiting := asyncio.all_tasks(loop):
                for task in waiting:
                    task.cancel()
                loop.run_until_complete(asyncio.gather(*waiting, return_exceptions=True))
            asyncio.set_event_loop(None)
            loop.close()
        return self._seen.recording(self._project, self._stack)

    def _configure(self, config: dict[str, str], secret_keys: list[str]) -> None:
        monitor = _Monitor(self._seen)
        features = monitor.GetDeploymentInfo(None).supportedFeatures  # type: ignore[no-untyped-call]
        settings.configure(
            mocks.MockSettings(  # type: ignore[no-untyped-call]
                monitor=monitor,
                monitor_features=set(features),
                engine=mocks.MockEngine(None),
                project=self._project,
                stack=self._stack,
                dry_run=False,
                callbacks=None,
                outputs=set(),
                lock=threading.Lock(),
                package_refs={},
                base_providers_by_ref={},
            )
        )
        settings.ROOT.set(None)
        pulumi.runtime.set_all_config(config, secret_keys)

    def _noting_classes(self, program: Callable[[], None]) -> Callable[[], None]:
        def note(args: pulumi.ResourceTransformationArgs) -> None:
            self._seen.classes[args.type_] = type(args.resource)

        def run() -> None:
            pulumi.runtime.register_stack_transformation(note)
            program()

        return run


class _Origins:
    """Where exceptions came from: each task that waits for a failed one gives its exception a new traceback."""

    def __init__(self) -> None:
        self._first: dict[int, tuple[BaseException, TracebackType | None]] = {}

    def task(self, loop: asyncio.AbstractEventLoop, coroutine: Any, **options: Any) -> asyncio.Task[Any]:
        """A factory of tasks, for a loop."""
        return asyncio.Task(self._noted(coroutine), loop=loop, **options)

    def of(self, error: BaseException) -> TracebackType | None:
        return self._first.get(id(error), (error, error.__traceback__))[1]

    async def _noted(self, coroutine: Coroutine[Any, Any, Any]) -> Any:
        try:
            return await coroutine
        except Exception as error:
            # The exception is kept too: its id is its own while it lives.
            self._first.setdefault(id(error), (error, error.__traceback__))
            raise


class _Seen(mocks.Mocks):
    """What the monitor was told so far."""

    def __init__(self, outputs: Outputs) -> None:
        self.classes: dict[str, ResourceClass] = {}
        self.resources: list[Resource] = []
        self.raw_outputs: dict[str, Any] = {}
        self.calls: list[DataSource] = []
        self.inputs: dict[str, Any] = {}
        self.secret_outputs: frozenset[str] = frozenset()
        self._outputs = outputs

    def new_resource(self, args: mocks.MockResourceArgs) -> tuple[str, dict[str, Any]]:
        self.inputs = plain(args.inputs)
        if args.custom is False:
            return "", {}
        class_ = self.classes.get(args.typ)
        id_, computed = self._outputs.made(Made(args.typ, args.name, self.inputs, class_))
        # An input comes back as it went in, so that what was a secret stays one.
        types = dict(outputs_of(class_))
        state = {name: fitted(value, types.get(name)) for name, value in _over(computed, args.inputs).items()}
        for name in self.secret_outputs & state.keys():
            if not is_secret(state[name]):
                state[name] = {SIGNATURE: SECRET, "value": state[name]}
        return id_, state

    def call(self, args: mocks.MockCallArgs) -> tuple[dict[str, Any], list[tuple[str, str]]]:
        known = plain(args.args)
        self.calls.append(DataSource(args.token, known))
        return self._outputs.call(args.token, known), []

    def recording(self, project: str, stack: str) -> Recording:
        return Recording(
            project, stack, tuple(self.resources), plain(self.raw_outputs), self.raw_outputs, tuple(self.calls)
        )


class _Monitor(mocks.MockMonitor):
    """The SDK calls it from several threads: one call at a time, else one's inputs land at another's resource."""

    def __init__(self, seen: _Seen) -> None:
        super().__init__(seen)
        self._seen = seen
        self._turn = threading.RLock()

    def RegisterResource(self, request: Any) -> Any:  # noqa: N802
        with self._turn, _LoopOfThread():
            self._seen.secret_outputs = frozenset(camel(name) for name in request.additionalSecretOutputs)
            where = resource_path(json_format.MessageToDict(request.object)) if request.custom else None
            if where is not None:
                raise ResourceAsValue(request.type, request.name, where)
            response = super().RegisterResource(request)  # type: ignore[no-untyped-call]
            if request.type != STACK:
                self._seen.resources.append(self._registered(request, response.urn))
            return response

    def _registered(self, request: Any, urn: str) -> Resource:
        raw = json_format.MessageToDict(request.object)
        return Resource(
            urn=urn,
            type=request.type,
            name=request.name,
            custom=bool(request.custom),
            inputs=self._seen.inputs,
            raw=raw,
            parent=request.parent,
            dependencies=tuple(request.dependencies),
            property_dependencies={key: tuple(each.urns) for key, each in request.propertyDependencies.items()},
            options={
                "protect": bool(request.protect),
                "ignore_changes": tuple(request.ignoreChanges),
                "additional_secret_outputs": tuple(request.additionalSecretOutputs),
                "delete_before_replace": bool(request.deleteBeforeReplace),
                "retain_on_delete": bool(request.retainOnDelete),
                "provider": request.provider,
                "version": request.version,
            },
            secret_paths=secret_paths(raw),
            class_=self._seen.classes.get(request.type),
        )

    def ReadResource(self, request: Any) -> Any:  # noqa: N802
        with self._turn, _LoopOfThread():
            self._seen.secret_outputs = frozenset()
            return super().ReadResource(request)  # type: ignore[no-untyped-call]

    def Invoke(self, request: Any) -> Any:  # noqa: N802
        with self._turn, _LoopOfThread():
            return super().Invoke(request)  # type: ignore[no-untyped-call]

    def RegisterResourceOutputs(self, request: Any) -> Any:  # noqa: N802
        with self._turn:
            if f"::{STACK}::" in request.urn:
                self._seen.raw_outputs.update(json_format.MessageToDict(request.outputs))
            return super().RegisterResourceOutputs(request)  # type: ignore[no-untyped-call]


class _LoopOfThread:
    """A loop for the mocks to serialize with, closed again: a pool's thread would leave it open."""

    def __enter__(self) -> None:
        self._loop: asyncio.AbstractEventLoop | None = None
        if threading.current_thread() is not threading.main_thread():
            self._loop = asyncio.new_event_loop()
            asyncio.set_event_loop(self._loop)

    def __exit__(self, *_: object) -> None:
        if self._loop is not None:
            asyncio.set_event_loop(None)
            self._loop.close()


def _over(computed: dict[str, Any], given: Mapping[str, Any]) -> dict[str, Any]:
    """``given``, and below it what a cloud adds."""
    found = {**computed, **given}
    for key in computed.keys() & given.keys():
        if isinstance(computed[key], dict) and isinstance(given[key], dict) and not is_secret(given[key]):
            found[key] = _over(computed[key], given[key])
    return found
