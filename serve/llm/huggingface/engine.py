"""A model of Hugging Face's behind OpenAI's API. Imports torch and transformers: for a replica alone."""

from __future__ import annotations

import asyncio
import json
import logging
import random
import secrets
from collections.abc import AsyncGenerator, AsyncIterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import aclosing
from typing import Any

from ray.util import metrics

from serve.llm.backend import Body, Operation
from serve.llm.deployed.engine import Tally
from serve.llm.deployed.messages import Refused, Whole
from serve.llm.deployed.refusals import FAILED, GONE, not_done, objection, too_long
from serve.llm.huggingface.answers import Answers, Choice, Piece
from serve.llm.huggingface.batching import Batching, CannotBatch
from serve.llm.huggingface.calls import PARSERS, CallParser, Said
from serve.llm.huggingface.generation import EngineGone, Generation, GenerationFailed
from serve.llm.huggingface.model import Loaded, quiet
from serve.llm.huggingface.refusals import Rejected, rejected
from serve.llm.huggingface.request import Asked, for_template, read
from serve.llm.huggingface.sampling import GrammarFailed, Sampler, Token
from serve.llm.huggingface.text import Text, is_longer
from serve.llm.huggingface.threads import Threads
from serve.llm.settings import HuggingFace

READ_AT_ONCE = 2

PROBE = "The quick brown fox jumps over the lazy dog."

logger = logging.getLogger("ray.serve")


class HuggingFaceEngine:
    """See :class:`serve.llm.deployed.engine.Engine`. Made by :meth:`start`, on the event loop that it runs on."""

    def __init__(self, name: str, loaded: Loaded, generation: Generation, tool_parser: str | None) -> None:
        self._name = name
        self._tool_parser = tool_parser
        self._readers = ThreadPoolExecutor(READ_AT_ONCE, thread_name_prefix="read")
        self._loaded = loaded
        self._generation = generation
        self._metrics = _Metrics(name)

    @classmethod
    async def start(cls, name: str, settings: HuggingFace, source: str) -> HuggingFaceEngine:
        """Load the model. It blocks, for as long as that takes.

        Raises:
            EngineSettingsError: the model is not one for this engine, or its settings are not for the model.
        """
        quiet()
        loaded = Loaded.load(name, settings, source)
        generation: Generation
        try:
            if not settings.batching:
                raise CannotBatch("the settings say so")
            generation = await Batching.start(
                loaded.model,
                sequences=settings.sequences,
                ends=loaded.ends,
                cache_gib=settings.cache_gib,
                longest=loaded.longest,
                probe=loaded.prompt(PROBE)[: loaded.longest - 2],
            )
        except CannotBatch as error:
            logger.warning("backend %s: without continuous batching: %s", name, error)
            generation = Threads(loaded.model, sequences=settings.sequences, ends=loaded.ends)
        return cls(name, loaded, generation, settings.tool_parser)

    async def answer(
        self, operation: Operation, body: Body, tally: Tally
    ) -> Whole | Refused | AsyncIterator[str | Refused]:
        try:
            return await self._answer(operation, body, tally)
        except Rejected as error:
            return error.refused
        except RecursionError:
            return Refused(400, "invalid_request_error", "the request is nested too deeply")
        except GenerationFailed as error:
            return self._failed(error)

    def running(self) -> int:
        return self._generation.running()

    async def check_health(self) -> None:
        if not self._generation.alive():
            raise EngineGone("the thread that generates has ended")

    def shutdown(self) -> None:
        self._generation.stop()
        self._loaded.grammars.stop()
        self._readers.shutdown(wait=False, cancel_futures=True)

    async def _answer(
        self, operation: Operation, body: Body, tally: Tally
    ) -> Whole | Refused | AsyncIterator[str | Refused]:
        if operation == "embeddings":
            return not_done(operation)
        if (objected := objection(operation, body)) is not None:
            return objected
        asked = read(operation, body)
        if body["model"] != self._name:
            return Refused(404, "model_not_found", f"this backend has no model {body['model']}", "model")
        for token in asked.sampling.bias or ():
            if not 0 <= token < self._loaded.vocabulary:
                raise rejected("logit_bias", f"expected tokens from 0 to {self._loaded.vocabulary - 1}, got {token}")
        self._bound(asked)
        # A long text takes seconds to read.
        prompts = await asyncio.get_running_loop().run_in_executor(self._readers, self._prompts, asked)
        grammar = await self._grammar(asked)
        for index, (prompt, _) in enumerate(prompts):
            tally.inputs[str(index)] = len(prompt)
        answers = Answers(self._name, asked, self._loaded.decode_one)
        pieces = self._pieces(asked, prompts, grammar, tally)
        if asked.stream:
            return self._stream(operation, answers, pieces, tally)
        choices = [Choice() for _ in range(asked.n * len(prompts))]
        async with aclosing(pieces):
            async for piece in pieces:
                choices[piece.index].add(piece)
        return Whole(json.dumps(answers.whole(choices, tally.tokens), ensure_ascii=False).encode())

    def _bound(self, asked: Asked) -> None:
        """Raises: Rejected: a text is longer than any that fits, and would take the longer to read."""
        most = self._loaded.most_characters
        texts = [asked.messages, asked.tools.shown if asked.tools is not None else ()]
        alone = [texts] if asked.operation == "chat" else asked.prompts
        if any(is_longer(each, most) for each in alone):
            said = f"This model's maximum context length is {self._loaded.longest} tokens, of {most} characters at most"
            raise Rejected(too_long(asked.operation, f"{said}. However, the request has more."))

    def _prompts(self, asked: Asked) -> list[tuple[list[int], int]]:
        """Each with the tokens that its answer may have. None is read after one that doesn't fit."""
        loaded = self._loaded
        if asked.operation == "chat":
            return [self._fitting(asked, loaded.chat(for_template(asked.messages), asked.tools))]
        return [self._fitting(asked, loaded.prompt(prompt)) for prompt in asked.prompts]

    async def _grammar(self, asked: Asked) -> Any:
        grammars = self._loaded.grammars
        called = await grammars.tried(asked.tools.parts) if asked.tools is not None and asked.tools.parts else None
        if called is not None or not asked.held:
            return called
        return await grammars.tried(asked.held)

    def _parser(self, asked: Asked) -> CallParser | None:
        if asked.tools is None:
            return None
        # Calls that are held are written as Hermes', whatever the model.
        parser = "hermes" if asked.tools.held else self._tool_parser
        return PARSERS[parser](asked.tools.most) if parser is not None else None

    def _fitting(self, asked: Asked, prompt: list[int]) -> tuple[list[int], int]:
        longest = self._loaded.longest
        most = asked.most_tokens if asked.most_tokens is not None else longest - len(prompt)
        if most < 1 or len(prompt) + most > longest:
            said = f"This model's maximum context length is {longest} tokens. However, the request has {len(prompt)}"
            raise Rejected(too_long(asked.operation, f"{said} and asks for {max(1, most)} more."))
        return prompt, most

    async def _stream(
        self, operation: Operation, answers: Answers, pieces: AsyncGenerator[Piece], tally: Tally
    ) -> AsyncIterator[str | Refused]:
        begun: set[int] = set()
        try:
            async with aclosing(pieces):
                async for piece in pieces:
                    if operation == "chat" and piece.index not in begun:
                        begun.add(piece.index)
                        yield json.dumps(answers.first(piece.index), ensure_ascii=False)
                    yield json.dumps(answers.piece(piece), ensure_ascii=False)
        except GenerationFailed as error:
            yield self._failed(error)
            return
        yield json.dumps(answers.last(tally.tokens))

    async def _pieces(
        self, asked: Asked, prompts: list[tuple[list[int], int]], grammar: Any, tally: Tally
    ) -> AsyncGenerator[Piece]:
        """Of all answers, as they come. To close it ends the work.

        Raises:
            GenerationFailed: one of them can't be made.
        """
        pieces: asyncio.Queue[Piece | None] = asyncio.Queue()
        seed = asked.sampling.seed if asked.sampling.seed is not None else secrets.randbits(63)
        # Of a text: numbers differ by their signs then too.
        seeds = random.Random(str(seed))  # noqa: S311 - the client may know it
        every = [prompt for prompt in prompts for _ in range(asked.n)]
        tasks = [
            asyncio.create_task(self._choice(index, asked, *prompt, seeds.getrandbits(63), grammar, pieces, tally))
            for index, prompt in enumerate(every)
        ]
        together = asyncio.gather(*tasks)
        together.add_done_callback(lambda _: pieces.put_nowait(None))
        try:
            while (piece := await pieces.get()) is not None:
                yield piece
            together.result()
        finally:
            for task in tasks:
                task.cancel()
            await asyncio.gather(*tasks, return_exceptions=True)
            if together.done() and not together.cancelled():
                # Whoever is gone can't be told; else it has been raised.
                together.exception()
            self._metrics.note(self.running(), tally)

    async def _choice(
        self,
        index: int,
        asked: Asked,
        prompt: list[int],
        most: int,
        seed: int,
        grammar: Any,
        pieces: asyncio.Queue[Piece | None],
        tally: Tally,
    ) -> None:
        loop = asyncio.get_running_loop()
        made: asyncio.Queue[Token | None] = asyncio.Queue()

        def tell(token: Token) -> None:
            loop.call_soon_threadsafe(made.put_nowait, token)

        matcher = grammar.deep_copy() if grammar is not None else None
        sampler = Sampler(asked.sampling, seed, self._loaded.ends, matcher, tell)
        work = asyncio.create_task(self._generation.generate(prompt, most, sampler))
        work.add_done_callback(lambda _: made.put_nowait(None))
        self._metrics.begin(self.running())
        text = Text(self._loaded.decode, asked.stops)
        parser = self._parser(asked)
        finish, held = "length", list[Token]()

        def put(said: Said, finish: str | None = None) -> None:
            if finish == "stop" and parser is not None and parser.count and not (asked.tools and asked.tools.named):
                # Of the one function that was named it's a stop, as at OpenAI.
                finish = "tool_calls"
            pieces.put_nowait(Piece(index, said.text, held, finish, said.calls))

        try:
            while (token := await made.get()) is not None:
                tally.output += 1
                held.append(token)
                if token.id in self._loaded.ends:
                    # The generation ends by itself with it.
                    finish = "stop"
                    continue
                said = _said(parser, text.push(token.id), last=text.stopped)
                if text.stopped or (parser is not None and parser.done):
                    put(said, "stop")
                    return
                if said.text or said.calls:
                    put(said)
                    held = []
            await work
            said = _said(parser, text.end(), last=True)
            put(said, "stop" if text.stopped else finish)
        finally:
            work.cancel()
            await asyncio.wait({work})

    def _failed(self, error: GenerationFailed) -> Refused:
        if isinstance(error.__cause__, GrammarFailed):
            said = "the schema that the answer is held to takes too much to keep to"
            return Refused(400, "invalid_value", said)
        logger.error("backend %s: %s", self._name, error, exc_info=error)
        return Refused(503, None, GONE) if isinstance(error, EngineGone) else Refused(500, "server_error", FAILED)


def _said(parser: CallParser | None, text: str, *, last: bool) -> Said:
    if parser is None:
        return Said(text)
    said = parser.push(text)
    if last:
        end = parser.end()
        said.text += end.text
        for call in end.calls:
            said.add(call)
    return said


class _Metrics:
    """Of the engine, by Ray, as vLLM has its own."""

    def __init__(self, name: str) -> None:
        tags = {"model_name": name}
        self._running = metrics.Gauge("huggingface_num_requests_running", "Answers made or waiting.", ("model_name",))
        self._prompt = metrics.Counter("huggingface_prompt_tokens", "Tokens of prompts.", ("model_name",))
        self._generated = metrics.Counter("huggingface_generation_tokens", "Tokens made.", ("model_name",))
        for metric in (self._running, self._prompt, self._generated):
            metric.set_default_tags(tags)

    def begin(self, running: int) -> None:
        self._running.set(running)

    def note(self, running: int, tally: Tally) -> None:
        self._running.set(running)
        tokens = tally.tokens
        if tokens.input:
            self._prompt.inc(tokens.input)
        if tokens.output:
            self._generated.inc(tokens.output)
