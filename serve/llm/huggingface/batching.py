"""Continuous batching by transformers: answers come and go in one batch, whose keys and values lie in pages."""

from __future__ import annotations

import asyncio
import itertools
import math
from typing import Any

import torch
from torch import Tensor
from transformers import GenerationConfig
from transformers.generation.configuration_utils import ContinuousBatchingConfig
from transformers.generation.continuous_batching.cb_logits_processors import (
    ContinuousBatchingLogitsProcessor,
    ContinuousBatchingLogitsProcessorList,
)
from transformers.generation.continuous_batching.utils import find_head_dim, find_num_key_value_heads
from transformers.generation.logits_process import LogitsProcessorList

from serve.llm.huggingface.generation import EngineGone, GenerationFailed
from serve.llm.huggingface.request import Sampling
from serve.llm.huggingface.sampling import Sampler

GIB = 2**30

PAGE_TOKENS = 64

BATCH_TOKENS = 512
"""That a step computes at once, at the most: longer prompts are divided."""

PROBE_SECONDS = 120
NEAR = 0.05
"""How far the logits of the two ways may be apart, relative to their length: bfloat16 rounds differently in each."""


class CannotBatch(Exception):
    """The model can't be run so. Raw: ``(reason,)``."""


class _Choices(ContinuousBatchingLogitsProcessor):
    """Leaves one token of each row: the one that its request's sampler chooses. The batch takes the greatest then."""

    def __init__(self) -> None:
        self.samplers: dict[str, Sampler] = {}
        self._rows: list[Sampler | None] = []
        self.supported_kwargs = {}
        self.ignored_kwargs = ()

    def fill_defaults(self, int32_tensor: Tensor) -> None:
        int32_tensor.zero_()

    def prepare_tensor_args(self, requests_with_new_token: list[Any]) -> Tensor:
        self._rows = [self.samplers.get(each.state.request_id) for each in requests_with_new_token]
        return torch.zeros(len(self._rows), dtype=torch.int32)

    def __call__(self, scores: Tensor, tensor_arg: Tensor) -> Tensor:  # noqa: ARG002
        chosen = torch.full_like(scores, -torch.inf)
        for row, sampler in enumerate(self._rows):
            chosen[row, sampler.choose(scores[row]) if sampler is not None else 0] = 0
        return chosen


class Batching:
    """See :class:`serve.llm.huggingface.generation.Generation`."""

    def __init__(self, model: Any, *, sequences: int, ends: list[int], blocks: int | None) -> None:
        self._ends = ends
        self._ids = itertools.count()
        config = ContinuousBatchingConfig(
            page_size=PAGE_TOKENS,
            num_blocks=blocks,
            max_batch_tokens=BATCH_TOKENS,
            max_requests_per_batch=sequences,
            # A sampler chooses on the host, between two steps.
            use_async_batching=False,
            use_cuda_graph=False,
            # Else it asks a hub for kernels, which are code.
            auto_switch_to_flash=False,
        )
        generation: Any = GenerationConfig(  # type: ignore[no-untyped-call]
            do_sample=False, eos_token_id=ends, pad_token_id=ends[0]
        )
        self._manager = model.init_continuous_batching(
            generation_config=generation,
            continuous_batching_config=config,
        )
        self._choices = _Choices()
        processors = ContinuousBatchingLogitsProcessorList(LogitsProcessorList([self._choices]))
        processors.tensors_required = 1
        self._manager.logit_processor = processors

    @classmethod
    async def start(
        cls, model: Any, *, sequences: int, ends: list[int], cache_gib: float, longest: int, probe: list[int]
    ) -> Batching:
        """Start it, and hold what it computes for the tokens ``probe`` beside what the model itself does.

        Raises:
            CannotBatch: the model can't be run so, or comes to something else then.
        """
        if model.config.is_encoder_decoder or getattr(model, "_is_stateful", False):
            raise CannotBatch("its state is no cache of keys and values")
        try:
            on_gpu = model.device.type != "cpu"
            # No more than all together can fill: each token of the cache takes room in the masks too.
            blocks = None if on_gpu else min(_blocks(model, cache_gib), sequences * math.ceil(longest / PAGE_TOKENS))
            if blocks is not None and blocks * PAGE_TOKENS < longest:
                raise CannotBatch(f"cache_gib: {cache_gib:g} GiB hold {blocks * PAGE_TOKENS} tokens, not {longest}")
            made = cls(model, sequences=sequences, ends=ends, blocks=blocks)
            with torch.inference_mode():
                made._manager.start()
        except CannotBatch:
            raise
        except Exception as error:
            raise CannotBatch(str(error)) from error
        try:
            async with asyncio.timeout(PROBE_SECONDS):
                await made._check(model, probe)
            # Where it took what it found free, that may be less than one answer needs.
            if made._manager.batch_processor.cache.num_blocks * PAGE_TOKENS < longest:
                raise CannotBatch(f"the memory that is left does not hold {longest} tokens")
        except CannotBatch:
            made.stop()
            raise
        except Exception as error:
            made.stop()
            raise CannotBatch(str(error)) from error
        return made

    async def generate(self, prompt: list[int], most: int, sampler: Sampler) -> None:
        if not self.alive():
            raise EngineGone("the thread that generates has ended")
        request = str(next(self._ids))
        ended: asyncio.Future[Any] = asyncio.get_running_loop().create_future()
        self._choices.samplers[request] = sampler

        def end(output: Any) -> None:
            if not ended.done():
                ended.set_result(output)

        self._manager.register_result_handler(request, end)
        try:
            added = self._manager.add_request(prompt, request_id=request, max_new_tokens=most, eos_token_id=self._ends)
            if added is None:
                raise EngineGone("it takes no more requests")
            output = await ended
        finally:
            if not ended.done() or ended.cancelled():
                self._manager.cancel_request(request)
            with self._manager.output_router._lock:
                self._manager.output_router.result_handlers.pop(request, None)
            self._choices.samplers.pop(request, None)
        if sampler.failed is not None:
            raise GenerationFailed("a token can't be chosen") from sampler.failed
        if output.error is not None:
            raise GenerationFailed(output.error) if self.alive() else EngineGone(output.error)

    def running(self) -> int:
        waiting: int = self._manager.input_queue.qsize()
        if (processor := self._manager.batch_processor) is None:
            return waiting
        scheduled: int = len(processor.scheduler.active_requests) + len(processor.scheduler.waiting_requests)
        return waiting + scheduled

    def alive(self) -> bool:
        return self._manager.is_running() and self._manager.background_thread_status.fatal_error is None

    def stop(self) -> None:
        self._manager.stop(block=True, timeout=5, hard_stop=True)

    async def _check(self, model: Any, probe: list[int]) -> None:
        seen = _Recorder(self._ends)
        await self.generate(probe, 2, seen)
        if len(seen.rows) < 2:
            raise CannotBatch("it makes no tokens")
        with torch.inference_mode():
            whole = torch.tensor([[*probe, seen.tokens[0]]], device=model.device)
            expected = model(input_ids=whole, use_cache=False).logits[0, -2:].float()
        for row, right in zip(seen.rows, expected, strict=True):
            apart = float((row - right).norm() / right.norm())
            if not apart < NEAR:
                raise CannotBatch(f"its logits are {apart:.0%} apart from those of the model by itself")


class _Recorder(Sampler):
    """The likeliest tokens but those that end an answer, with the logits they were chosen by."""

    def __init__(self, ends: list[int]) -> None:
        self.rows: list[Tensor] = []
        self.tokens: list[int] = []
        super().__init__(
            Sampling(temperature=0, ignore_eos=True), 0, ends, None, lambda token: self.tokens.append(token.id)
        )

    def choose(self, logits: Tensor) -> int:
        self.rows.append(logits.float().clone())
        return super().choose(logits)


def _blocks(model: Any, cache_gib: float) -> int:
    config = model.config.get_text_config()
    values = config.num_hidden_layers * find_num_key_value_heads(config) * find_head_dim(config)
    page_bytes: int = 2 * values * model.dtype.itemsize * PAGE_TOKENS
    return math.floor(cache_gib * GIB / page_bytes)
