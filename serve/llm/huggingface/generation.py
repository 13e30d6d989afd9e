"""How a model is run: what the engine asks of either way.

Errors::

    GenerationFailed       this answer can't be made; the log has the reason
    └── EngineGone         nor can any other
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Protocol

if TYPE_CHECKING:
    from serve.llm.huggingface.sampling import Sampler


class GenerationFailed(Exception):
    """An answer can't be made. Raw: ``(reason,)``."""


class EngineGone(GenerationFailed):
    """No answer can be made any more."""


class Generation(Protocol):
    async def generate(self, prompt: list[int], most: int, sampler: Sampler) -> None:
        """Make at most ``most`` tokens, by the sampler, which has told them all before this returns.

        To cancel the task that awaits it ends the work.

        Raises:
            GenerationFailed: see above.
        """
        ...

    def running(self) -> int:
        """Answers that are made or wait."""
        ...

    def alive(self) -> bool: ...

    def stop(self) -> None: ...
