"""One loaded version of a text encoder: texts → vectors, beside the event loop.

Errors::

    UserError
    └── EncoderUnusable     the version's files fit together in no way that can be run

    serve.gateway.errors
    ├── ParameterRejected   a text is empty, too long or none
    ├── Overloaded          more requests than ``queue``
    ├── RequestTimeout, ClientGone      nobody waits any more
    └── ModelFailed         ONNX Runtime failed
"""

from __future__ import annotations

import asyncio
import logging
import os
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from console import UserError, one_line
from serve.context import RequestContext
from serve.gateway.errors import ModelFailed, Overloaded
from serve.llm.encoders.texts import Asked, TextRejected, bound
from serve.placement.base import Inputs, Outputs, Watch, unwatched
from serve.placement.coalesce import Coalescer
from serve.runtimes.base import Array, RuntimeFailure
from serve.runtimes.onnx import OnnxRuntime
from training.encoder_card import GRAPH_FILE, IDS, MASK, TOKENIZER_FILE, VECTOR, EncoderCard

if TYPE_CHECKING:
    from tokenizers import Tokenizer

logger = logging.getLogger("ray.serve")

RUN_TOKENS = 512
"""Of a run, padding included. More together are no faster: of MiniLM 0.55 ms a token for one text of 12, 0.30 for 16 of
them, 0.38 for 16 of 128; and others wait as long as a run takes."""

BATCH_TEXTS = 16
"""Texts of several requests that are run one after the other before it is somebody else's turn."""

TOKENIZED = 64
"""Texts that are read at once: between them it is looked whether anybody still waits."""

CHARACTERS_A_TOKEN = 64
"""A text with more than these for each token that it may have isn't read: that alone would take seconds."""


class EncoderUnusable(UserError):
    """The version's files fit together in no way that can be run."""


class Encoder:
    """Made by :meth:`load`. ``name``: what errors call it; ``queue``: requests at once."""

    def __init__(
        self, name: str, version: str, card: EncoderCard, tokenizer: Tokenizer, runtime: OnnxRuntime, queue: int,
        watch: Watch = unwatched,
    ) -> None:  # fmt: skip
        self.name = name
        self.version = version
        self.card = card
        self._tokenizer = tokenizer
        self._runtime = runtime
        self._queue = queue
        self._running = 0
        # Of two, so that a text is read while another one is encoded.
        self._threads = ThreadPoolExecutor(2, thread_name_prefix="encode")
        self._coalescer = Coalescer(self._call, batch_rows=BATCH_TEXTS, calls=1, queue=queue, watch=watch)

    @classmethod
    def load(
        cls, name: str, version: str, folder: Path, *, threads: int, queue: int, max_tokens: int | None, watch: Watch
    ) -> Encoder:
        """Load verified files.

        Raises:
            EncoderUnusable, CardUnreadable, ModelUnloadable.
        """
        # The tokenizer would take a thread of each CPU otherwise, beside the event loop.
        os.environ.setdefault("TOKENIZERS_PARALLELISM", "false")
        from tokenizers import Tokenizer

        card = EncoderCard.read(folder)
        try:
            tokenizer = Tokenizer.from_file(str(folder / TOKENIZER_FILE))
        except Exception as error:
            raise EncoderUnusable(f"{folder / TOKENIZER_FILE} is no tokenizer: {one_line(str(error))[:200]}") from error
        if max_tokens is not None:
            if max_tokens > card.max_tokens:
                raise EncoderUnusable(f"{name}: max_tokens is {max_tokens}, expected at most {card.max_tokens}")
            card = card.model_copy(update={"max_tokens": max_tokens})
        runtime = OnnxRuntime()
        runtime.load(folder / GRAPH_FILE, threads)
        found = runtime.metadata
        inputs = {tensor.name: (tensor.dtype, len(tensor.shape)) for tensor in found.inputs}
        outputs = [(tensor.name, tensor.dtype, tensor.shape[1:]) for tensor in found.outputs]
        if inputs != dict.fromkeys((IDS, MASK), (np.dtype(np.int64), 2)) or outputs != [
            (VECTOR, np.dtype(np.float32), (card.dims,))
        ]:
            raise EncoderUnusable(f"{folder / GRAPH_FILE} takes or gives other tensors than an encoder of {card.dims}")
        return cls(name, version, card, tokenizer, runtime, queue, watch)

    @property
    def waiting(self) -> int:
        return self._coalescer.waiting

    async def encode(self, asked: Asked, context: RequestContext) -> tuple[Array, int]:
        """The vectors [N, dims] float32 of texts, and the tokens that they are.

        A cancellation stops the work at the end of the run that is under way.

        Raises:
            TextRejected, Overloaded, RequestTimeout, ClientGone, ModelFailed.
        """
        if self._running >= self._queue:
            raise Overloaded(self._running, "requests")
        self._running += 1
        try:
            tokens = await self._tokens(asked, context)
            vectors: Array = np.empty((len(tokens), self.card.dims), np.float32)
            for rows in runs([len(each) for each in tokens]):
                ids: Array = np.empty(len(rows), object)
                ids[:] = [tokens[row] for row in rows]
                try:
                    found = await self._coalescer.predict({IDS: ids}, len(rows), (VECTOR,), context)
                except RuntimeFailure as error:
                    logger.error("encoder %s version %s failed: %s", self.name, self.version, error)  # noqa: TRY400
                    raise ModelFailed(self.name) from error
                vectors[rows] = found[VECTOR]
        finally:
            self._running -= 1
        return vectors, sum(map(len, tokens))

    async def close(self) -> None:
        """Answer the last requests, then give the memory back. None may follow."""
        while self._running:  # noqa: ASYNC110 - an event would cost every request, and this is rare
            await asyncio.sleep(0.01)
        await self._coalescer.drain()
        self._threads.shutdown(wait=False)
        self._runtime.unload()

    async def _tokens(self, asked: Asked, context: RequestContext) -> list[Sequence[int]]:
        most = self.card.max_tokens
        for index, text in enumerate(asked.texts):
            if isinstance(text, str) and len(text) > most * CHARACTERS_A_TOKEN:
                came = f"{len(text)} characters"
                raise TextRejected(asked.row(index), bound(most), came, "context_length_exceeded")
        loop = asyncio.get_running_loop()
        found: list[Sequence[int]] = []
        for start in range(0, len(asked.texts), TOKENIZED):
            if (reason := context.abandoned()) is not None:
                raise reason
            some = asked.texts[start : start + TOKENIZED]
            texts = [text for text in some if isinstance(text, str)]
            read = iter(await loop.run_in_executor(self._threads, self._read, texts) if texts else ())
            for text in some:
                ids = next(read) if isinstance(text, str) else text
                self._check(ids, asked.row(len(found)))
                found.append(ids)
        return found

    def _read(self, texts: list[str]) -> list[list[int]]:
        return [each.ids for each in self._tokenizer.encode_batch_fast(texts)]

    def _check(self, ids: Sequence[int], row: int | None) -> None:
        most = self.card.max_tokens
        if not 0 < len(ids) <= most:
            raise TextRejected(row, bound(most), f"{len(ids)} tokens", "context_length_exceeded")
        if not 0 <= min(ids) <= max(ids) < self.card.vocabulary:
            wrong = next(each for each in ids if not 0 <= each < self.card.vocabulary)
            raise TextRejected(row, f"tokens below {self.card.vocabulary}", str(wrong)[:60], "invalid_value")

    async def _call(self, inputs: Inputs, outputs: Sequence[str], _deadline: float) -> Outputs:
        return await asyncio.get_running_loop().run_in_executor(self._threads, self._run, inputs[IDS], outputs)

    def _run(self, tokens: Array, outputs: Sequence[str]) -> Outputs:
        vectors: Array = np.empty((len(tokens), self.card.dims), np.float32)
        for rows in runs([len(each) for each in tokens]):
            width = len(tokens[rows[-1]])
            ids: Array = np.full((len(rows), width), self.card.pad, np.int64)
            mask: Array = np.zeros((len(rows), width), np.int64)
            for place, row in enumerate(rows):
                ids[place, : len(tokens[row])] = tokens[row]
                mask[place, : len(tokens[row])] = 1
            found: dict[str, Any] = self._runtime.predict({IDS: ids, MASK: mask}, outputs)
            vectors[rows] = found[VECTOR]
        return {VECTOR: vectors}


def runs(lengths: Sequence[int]) -> Iterator[list[int]]:
    """The texts of each run, by their lengths in tokens: alike ones together, the longest last in each."""
    rows: list[int] = []
    for row in sorted(range(len(lengths)), key=lengths.__getitem__):
        if rows and lengths[row] * (len(rows) + 1) > RUN_TOKENS:
            yield rows
            rows = []
        rows.append(row)
    if rows:
        yield rows
