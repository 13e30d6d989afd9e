"""``generate`` of the model's own, a thread for each answer: for the models that have no continuous batching."""

from __future__ import annotations

import asyncio
import threading
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import torch
from torch import Tensor
from transformers import LogitsProcessor, LogitsProcessorList, StoppingCriteria, StoppingCriteriaList

from serve.llm.huggingface.generation import EngineGone, GenerationFailed
from serve.llm.huggingface.sampling import Sampler


class _Choice(LogitsProcessor):
    def __init__(self, sampler: Sampler) -> None:
        self._sampler = sampler

    def __call__(self, input_ids: Tensor, scores: Tensor) -> Tensor:  # noqa: ARG002
        chosen = torch.full_like(scores, -torch.inf)
        chosen[0, self._sampler.choose(scores[0])] = 0
        return chosen


class _Given(StoppingCriteria):
    """Ends a generation that nobody waits for."""

    def __init__(self, gone: threading.Event) -> None:
        self._gone = gone

    def __call__(self, input_ids: Tensor, scores: Tensor, **_named: Any) -> Tensor:  # noqa: ARG002
        return torch.full((input_ids.shape[0],), self._gone.is_set(), device=input_ids.device)


class Threads:
    """See :class:`serve.llm.huggingface.generation.Generation`. ``sequences``: threads; more answers wait."""

    def __init__(self, model: Any, *, sequences: int, ends: list[int]) -> None:
        self._model = model
        self._ends = ends
        self._pool = ThreadPoolExecutor(sequences, thread_name_prefix="generate")
        self._running = 0
        self._counting = threading.Lock()
        self._alive = True

    async def generate(self, prompt: list[int], most: int, sampler: Sampler) -> None:
        if not self._alive:
            raise EngineGone("it was stopped")
        gone = threading.Event()
        self._count(1)
        work = self._pool.submit(self._generate, prompt, most, sampler, gone)
        work.add_done_callback(lambda _: self._count(-1))
        try:
            await asyncio.wrap_future(work)
        except asyncio.CancelledError:
            gone.set()
            raise
        except torch.AcceleratorError as error:
            # The process can't use its device any more.
            self._alive = False
            raise EngineGone(str(error)) from error
        except Exception as error:
            raise GenerationFailed(str(error)) from error
        if sampler.failed is not None:
            raise GenerationFailed("a token can't be chosen") from sampler.failed

    def running(self) -> int:
        return self._running

    def alive(self) -> bool:
        return self._alive

    def stop(self) -> None:
        self._alive = False
        self._pool.shutdown(wait=False, cancel_futures=True)

    def _count(self, change: int) -> None:
        with self._counting:
            self._running += change

    def _generate(self, prompt: list[int], most: int, sampler: Sampler, gone: threading.Event) -> None:
        ids = torch.tensor([prompt], device=self._model.device)
        with torch.inference_mode():
            self._model.generate(
                ids,
                attention_mask=torch.ones_like(ids),
                do_sample=False,
                num_beams=1,
                max_new_tokens=most,
                eos_token_id=self._ends,
                pad_token_id=self._ends[0],
                logits_processor=LogitsProcessorList([_Choice(sampler)]),
                stopping_criteria=StoppingCriteriaList([_Given(gone)]),
            )
