"""Which version of a prompt an address names: asked of the registry as rarely as can be, and never waited for twice.

A version is kept for ever, an alias's for a few seconds. Where the registry can't be reached or is slow, what an alias
named last goes on being used. Nobody drives the registry by names that they make up: few lookups run at once, few
wait, and what is not there is remembered for as long as an alias is.

Errors, beside those of ``serve.gateway.errors``::

    NotFound
    └── PromptNotFound    404    no such prompt, version or alias, or not one that the settings name
"""

from __future__ import annotations

import asyncio
import logging
import math
import time
from collections import OrderedDict
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from fnmatch import fnmatchcase

from console import one_line
from serve.gateway.errors import NotFound, Overloaded, ParameterRejected, ServeError, Unavailable
from serve.llm.prompts.template import Template
from serve.llm.settings import PromptSettings
from training.prompts import Address, PromptRegistry, PromptUnusable, PromptVersion
from training.registry import VersionNotFound

MOST_KEPT = 512
"""Addresses whose version is known, and as many of which there is none."""

LOOKUPS = 2
"""At once. They have threads of their own: a registry that hangs holds up nothing else."""

MOST_LOOKUPS = 64
"""That run or wait."""

KNOWN_SECONDS = 1.0
"""How long a request waits for a lookup where it could go on with what was known before."""

UNKNOWN_SECONDS = 20.0
"""And where it can't. The first one in a process takes seconds: MLflow is imported."""

# Ray's dashboard and log files show this logger.
logger = logging.getLogger("ray.serve")


class PromptNotFound(NotFound):
    """No such prompt, version or alias. Raw: ``(address,)``."""

    openai_code = "prompt_not_found"
    param = "prompt"

    def __str__(self) -> str:
        return f"there is no prompt {self.args[0]}"


@dataclass(frozen=True, slots=True)
class Kept:
    """What came of a lookup. Until then it is not asked again; ``inf``: never."""

    outcome: Template | ServeError
    until: float


@dataclass(frozen=True, slots=True)
class Lookup:
    task: asyncio.Task[Template | ServeError]
    began: float


class Prompts:
    """Used by one event loop. ``find`` asks the registry, in a thread; ``clock`` is in seconds.

    Each error of ``find`` is one of ``training.prompts``; what else it raises counts as a registry that can't be
    reached.
    """

    def __init__(
        self,
        find: Callable[[Address], PromptVersion],
        settings: PromptSettings,
        *,
        clock: Callable[[], float] = time.monotonic,
        on_problem: Callable[[str], None] = logger.warning,
    ) -> None:
        self._find = find
        self._settings = settings
        self._clock = clock
        self._on_problem = on_problem
        self._known: OrderedDict[Address, Kept] = OrderedDict()
        # Apart, so that made-up names never drive out good ones.
        self._failed: OrderedDict[Address, Kept] = OrderedDict()
        self._running: dict[Address, Lookup] = {}
        self._threads = ThreadPoolExecutor(LOOKUPS, "prompts")
        self._failing = False

    @classmethod
    def of(cls, registry: str | None, settings: PromptSettings) -> Prompts:
        """``registry``: its address; ``None``: the one that ``training`` writes to."""
        return cls(PromptRegistry(registry).get, settings)

    async def template(self, address: Address) -> Template:
        """The version that an address names now.

        Raises:
            PromptNotFound
            ParameterRejected: the version can't be filled.
            Unavailable: it is not known here, and the registry can't be asked now.
        """
        if not any(fnmatchcase(address.name, pattern) for pattern in self._settings.names):
            raise PromptNotFound(str(address))
        kept = self._kept(address)
        if kept is None or self._clock() >= kept.until:
            return _answer(await self._renewed(address, kept))
        return _answer(kept.outcome)

    def close(self) -> None:
        for lookup in self._running.values():
            lookup.task.cancel()
        self._threads.shutdown(wait=False, cancel_futures=True)

    def _kept(self, address: Address) -> Kept | None:
        for kept in (self._known, self._failed):
            if address in kept:
                kept.move_to_end(address)
                return kept[address]
        return None

    async def _renewed(self, address: Address, kept: Kept | None) -> Template | ServeError:
        before = kept.outcome if kept is not None and isinstance(kept.outcome, Template) else None
        lookup = self._running.get(address)
        if lookup is None:
            if len(self._running) >= MOST_LOOKUPS:
                return before or Overloaded(MOST_LOOKUPS, "lookups of prompts")
            lookup = Lookup(asyncio.create_task(self._look(address)), self._clock())
            self._running[address] = lookup
        seconds = KNOWN_SECONDS if before is not None else UNKNOWN_SECONDS
        # It goes on when this request's time is over, or its client is gone: others wait for it too.
        await asyncio.wait({lookup.task}, timeout=max(0.0, lookup.began + seconds - self._clock()))
        if lookup.task.done():
            return lookup.task.result()
        return before or _unavailable(address)

    async def _look(self, address: Address) -> Template | ServeError:
        loop = asyncio.get_running_loop()
        outcome: Template | ServeError
        try:
            outcome = Template.of(await loop.run_in_executor(self._threads, self._find, address))
        except VersionNotFound:
            outcome = PromptNotFound(str(address))
        except PromptUnusable as error:
            outcome = ParameterRejected("prompt", str(error))
        except Exception as error:  # noqa: BLE001 - what MLflow raises on a broken connection is not all its own
            outcome = _unavailable(address)
            self._tell(error)
        finally:
            del self._running[address]
        if not isinstance(outcome, Unavailable):
            self._tell(None)
        return self._keep(address, outcome)

    def _keep(self, address: Address, outcome: Template | ServeError) -> Template | ServeError:
        until = self._clock() + self._settings.alias_seconds
        before = self._known.pop(address, None)
        if isinstance(outcome, Unavailable) and before is not None:
            outcome = before.outcome
        kept = self._known if isinstance(outcome, Template) else self._failed
        kept[address] = Kept(outcome, until)
        if isinstance(outcome, Template):
            self._failed.pop(address, None)
            # The address itself, where it is a version's.
            kept[Address(outcome.name, outcome.version)] = Kept(outcome, math.inf)
        while len(kept) > MOST_KEPT:
            kept.popitem(last=False)
        return outcome

    def _tell(self, error: Exception | None) -> None:
        """Once, when it begins and when it is over."""
        if error is not None and not self._failing:
            reason = one_line(f"{type(error).__name__}: {error}")
            self._on_problem(f"prompts can't be looked up, those that are known go on being used: {reason}")
        elif error is None and self._failing:
            self._on_problem("prompts can be looked up again")
        self._failing = error is not None


def _answer(outcome: Template | ServeError) -> Template:
    if isinstance(outcome, ServeError):
        # Each request has an error of its own, as each has a traceback.
        raise type(outcome)(*outcome.args)
    return outcome


def _unavailable(address: Address) -> Unavailable:
    return Unavailable(f"prompt {address} is not known here, and the registry can't be asked now")
