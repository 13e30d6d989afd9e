"""The choice of one answer's tokens, in whichever way the model is run."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Collection
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch import Tensor

from serve.llm.huggingface.request import Sampling

LEAST_TEMPERATURE = 1e-5
"""Below it the likeliest token is taken, as vLLM does: scores divided by so little are no numbers."""


class GrammarFailed(Exception):
    """What an answer is held to takes too much at one of its tokens. Raw: ``(reason,)``."""


@dataclass(frozen=True)
class Likely:
    """``top``: the likeliest tokens with their logarithms of probability, as the model itself has them."""

    logprob: float
    top: tuple[tuple[int, float], ...]


@dataclass(frozen=True)
class Token:
    id: int
    likely: Likely | None


class Sampler:
    """Chooses tokens one after another; ``tell`` gets each, on the thread that the model is run on.

    ``matcher``: llguidance's ``LLMatcher``, which says what may come, ``None`` where anything may. ``ends``: tokens
    that end an answer, of which there is at least one. An exception is kept in ``failed``, and the answer ended: the
    thread has other answers to make.
    """

    def __init__(
        self, sampling: Sampling, seed: int, ends: Collection[int], matcher: Any, tell: Callable[[Token], None]
    ) -> None:
        self._sampling = sampling
        self._random = torch.Generator()
        self._random.manual_seed(seed)
        self._ends = sorted(ends)
        self._matcher = matcher
        self._tell = tell
        self._counts: Counter[int] = Counter()
        self.failed: Exception | None = None

    def choose(self, logits: Tensor) -> int:
        """``logits``: float, of shape (vocabulary)."""
        try:
            likely, token = self._choose(logits.float())
        except Exception as error:  # noqa: BLE001 - whoever waits for the answer raises it
            self.failed = error
            return self._ends[0] if self._ends else 0
        self._tell(Token(token, likely))
        return token

    def _choose(self, logits: Tensor) -> tuple[Likely | None, int]:
        scores = self._allowed(self._penalised(logits.clone()))
        token = self._drawn(scores)
        self._counts[token] += 1
        if self._matcher is not None and not self._matcher.consume_token(token):
            raise GrammarFailed(self._matcher.get_error())
        return self._likely(logits, token), token

    def _likely(self, logits: Tensor, token: int) -> Likely | None:
        count = self._sampling.logprobs
        if count is None:
            return None
        logprobs = torch.log_softmax(logits, dim=-1)
        values, ids = logprobs.topk(count) if count else (logprobs[:0], logprobs[:0])
        top = tuple((int(each), float(value)) for each, value in zip(ids, values, strict=True))
        return Likely(float(logprobs[token]), top)

    def _penalised(self, scores: Tensor) -> Tensor:
        sampling = self._sampling
        if self._counts and (sampling.presence or sampling.frequency):
            seen = torch.tensor(list(self._counts), device=scores.device)
            counts = torch.tensor(list(self._counts.values()), device=scores.device, dtype=scores.dtype)
            scores[seen] -= sampling.presence + sampling.frequency * counts
        if sampling.bias:
            # At once: each write to a tensor by itself costs as much as all of them, and everybody's answers wait.
            tokens = torch.tensor(list(sampling.bias), device=scores.device)
            scores[tokens] += torch.tensor(list(sampling.bias.values()), device=scores.device, dtype=scores.dtype)
        return scores

    def _allowed(self, scores: Tensor) -> Tensor:
        if self._matcher is None:
            if self._sampling.ignore_eos:
                scores[self._ends] = -torch.inf
            return scores
        # It ends where its grammar does.
        bits = np.frombuffer(self._matcher.compute_bitmask(), np.uint8)
        if self._matcher.is_error():
            raise GrammarFailed(self._matcher.get_error())
        allowed = np.unpackbits(bits, count=scores.shape[-1], bitorder="little").astype(bool)
        return scores.masked_fill_(torch.from_numpy(~allowed).to(scores.device), -torch.inf)

    def _drawn(self, scores: Tensor) -> int:
        sampling = self._sampling
        if sampling.temperature < LEAST_TEMPERATURE:
            return int(scores.argmax())
        scores = scores / sampling.temperature
        if 0 < sampling.top_k < scores.shape[-1]:
            scores[scores < scores.topk(sampling.top_k).values[-1]] = -torch.inf
        probabilities = torch.softmax(scores, dim=-1)
        if sampling.top_p < 1:
            ordered, order = probabilities.sort(descending=True)
            # What comes before a token is enough without it; the first is always kept.
            beyond = ordered.cumsum(-1) - ordered >= sampling.top_p
            beyond[0] = False
            probabilities[order[beyond]] = 0
        # On the CPU, whose generator gives the same for a seed on every machine.
        return int(torch.multinomial(probabilities.cpu(), 1, generator=self._random))
