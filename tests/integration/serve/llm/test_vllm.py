"""A real vLLM with a small real model on a real Ray Serve, called as an ingress process calls it."""

from __future__ import annotations

import asyncio
import json
import os
import signal
import time
from collections.abc import Awaitable, Callable, Iterator
from typing import Any

import httpx
import pytest
import ray

from serve.gateway.errors import BackendError, Unavailable
from serve.llm.backend import Completed, Tokens
from serve.llm.deployed.backend import DeployedBackend, DeployedStream
from serve.llm.deployed.deployment import deployment_name
from tests.integration.serve import processes
from tests.integration.serve.llm import calls, vllm_on_ray
from tests.integration.serve.llm.calls import APPLICATION, NAME, chat, stream, text, until_none, whole
from tests.integration.serve.llm.vllm_on_ray import Run
from tests.integration.serve.llm.wrong_bodies import SLOW, WRONG

pytestmark = pytest.mark.integration

ADAPTER = "odd"
DEPLOYMENT = deployment_name("vllm", NAME)
ENGINE = "VLLM::EngineCore"


@pytest.fixture(scope="module")
def serving(run: Run) -> Iterator[None]:
    with vllm_on_ray.serving(run):
        yield


@pytest.fixture(scope="module")
def backend(serving: None, tmp_path_factory: pytest.TempPathFactory) -> DeployedBackend:
    adapter = vllm_on_ray.adapter(tmp_path_factory.mktemp("adapter"))
    settings = vllm_on_ray.settings(tool_parser="hermes", adapters={ADAPTER: str(adapter)}, stall_seconds=20)
    return vllm_on_ray.deploy(NAME, settings, APPLICATION)


@pytest.fixture(scope="module")
def running(backend: DeployedBackend) -> Callable[[], Awaitable[int]]:
    return calls.running(DEPLOYMENT, APPLICATION)


HARD: dict[str, dict[str, Any]] = {
    "many repetitions": {"type": "string", "pattern": "^(a?){100000}$"},
    "what xgrammar can't compile": {"type": "string", "pattern": "^(a?){200}$"},
    "many values": {"enum": [str(number) for number in range(16_000)]},
    "takes too long to compile": SLOW,
    "takes too long at a token": {"type": "string", "pattern": "^(((.{0,99}){0,99}){0,99}){0,99}$"},
}


class TestAnswers:
    def test_is_ready(self, backend: DeployedBackend, run: Run) -> None:
        assert run(backend.ready()) is True
        assert run(DeployedBackend("another", "vllm-another", application=APPLICATION).ready()) is False

    def test_whole(self, backend: DeployedBackend, run: Run) -> None:
        found = run(whole(backend, chat()))
        assert "Paris" in text(found.document)
        assert found.document["model"] == NAME
        usage = found.document["usage"]
        assert found.tokens == Tokens(usage["prompt_tokens"], usage["completion_tokens"])
        assert found.tokens.input > len(["What", "is", "the", "capital", "of", "France?"])
        assert 0 < found.tokens.output < 24

    def test_streamed(self, backend: DeployedBackend, run: Run) -> None:
        async def work() -> tuple[list[dict[str, Any]], Tokens]:
            answer = await stream(backend, chat())
            return [dict(chunk) async for chunk in answer], answer.tokens

        chunks, tokens = run(work())
        parts = [chunk["choices"][0]["delta"].get("content") or "" for chunk in chunks if chunk["choices"]]
        assert "".join(parts) == text(run(whole(backend, chat())).document)
        assert len([part for part in parts if part]) > 2
        assert chunks[-1]["usage"]["prompt_tokens"] == tokens.input
        assert chunks[-1]["usage"]["completion_tokens"] == tokens.output
        assert not any(chunk.get("usage") for chunk in chunks[:-1])

    def test_completions(self, backend: DeployedBackend, run: Run) -> None:
        body = {"model": NAME, "prompt": ["Paris is", "Rome is"], "max_tokens": 4, "temperature": 0}
        found = run(whole(backend, body, "completions"))
        assert [choice["index"] for choice in found.document["choices"]] == [0, 1]
        assert found.tokens.output == 8

        async def work() -> tuple[dict[str, Any], Tokens]:
            answer = await stream(backend, body, "completions")
            return [dict(chunk) async for chunk in answer][-1], answer.tokens

        last, tokens = run(work())
        assert tokens == Tokens(last["usage"]["prompt_tokens"], last["usage"]["completion_tokens"]) == found.tokens

    def test_a_prefix_is_read_from_the_cache(self, backend: DeployedBackend, run: Run) -> None:
        body = chat(messages=[{"role": "user", "content": "Count: " + " ".join(map(str, range(400)))}], max_tokens=2)
        assert run(whole(backend, body)).tokens.cached == 0

        async def work() -> Tokens:
            answer = await stream(backend, body)
            _ = [chunk async for chunk in answer]
            return answer.tokens

        tokens = run(work())
        assert 0 < tokens.cached <= tokens.input
        assert run(whole(backend, body)).tokens.cached == tokens.cached

    def test_json_schema(self, backend: DeployedBackend, run: Run) -> None:
        schema = {
            "type": "object",
            "properties": {
                "city": {"type": "string", "maxLength": 12},
                "people": {"type": "integer", "minimum": 0, "maximum": 9},
            },
            "required": ["city", "people"],
            "additionalProperties": False,
        }
        form = {"type": "json_schema", "json_schema": {"name": "city", "schema": schema, "strict": True}}
        found = json.loads(text(run(whole(backend, chat(max_tokens=64, response_format=form))).document))
        assert found.keys() == {"city", "people"}
        assert isinstance(found["people"], int)

    @pytest.mark.parametrize("hard", HARD)
    def test_a_hard_schema_holds_nobody_else_up(
        self, backend: DeployedBackend, running: Callable[[], Awaitable[int]], run: Run, hard: str
    ) -> None:
        """It is answered, or the client's mistake, and meanwhile the replica's loop is never busy for long."""
        form = {"type": "json_schema", "json_schema": {"name": "x", "schema": HARD[hard]}}

        async def work() -> tuple[Completed | BaseException, float]:
            asked = asyncio.ensure_future(backend.run("chat", chat(max_tokens=8, response_format=form)))
            longest = 0.0
            async with asyncio.timeout(120):
                while not asked.done():
                    began = time.monotonic()
                    await running()
                    longest = max(longest, time.monotonic() - began)
                    await asyncio.sleep(0.01)
            return asked.exception() or asked.result(), longest

        found, longest = run(work())
        assert isinstance(found, Completed) or (isinstance(found, BackendError) and found.status == 400), found
        assert longest < 3

    def test_keywords_that_are_not_known_are_passed_over_unless_the_schema_is_strict(
        self, backend: DeployedBackend, run: Run
    ) -> None:
        schema = {"type": "array", "items": {"type": "integer"}, "maxItems": 2, "uniqueItems": True}
        form = {"type": "json_schema", "json_schema": {"name": "x", "schema": schema}}
        assert isinstance(json.loads(text(run(whole(backend, chat(response_format=form))).document)), list)
        form = {"type": "json_schema", "json_schema": {"name": "x", "schema": schema, "strict": True}}
        with pytest.raises(BackendError, match="uniqueItems"):
            run(whole(backend, chat(response_format=form)))

    def test_several_likeliest_answers_are_the_same(self, backend: DeployedBackend, run: Run) -> None:
        choices = run(whole(backend, chat(n=2, temperature=0))).document["choices"]
        assert [choice["message"]["content"] for choice in choices] == [text(run(whole(backend, chat())).document)] * 2
        assert text(run(whole(backend, chat(temperature=1, top_p=0))).document) == choices[0]["message"]["content"]

    def test_a_tool_is_called(self, backend: DeployedBackend, run: Run) -> None:
        parameters = {
            "type": "object",
            "properties": {"city": {"type": "string", "maxLength": 12}},
            "required": ["city"],
            "additionalProperties": False,
        }
        body = chat(
            max_tokens=64,
            tools=[{"type": "function", "function": {"name": "weather", "parameters": parameters}}],
            tool_choice={"type": "function", "function": {"name": "weather"}},
        )
        [call] = run(whole(backend, body)).document["choices"][0]["message"]["tool_calls"]
        assert call["function"]["name"] == "weather"
        assert json.loads(call["function"]["arguments"]).keys() == {"city"}

    def test_logprobs(self, backend: DeployedBackend, run: Run) -> None:
        found = run(whole(backend, chat(logprobs=True, top_logprobs=2)))
        content = found.document["choices"][0]["logprobs"]["content"]
        assert len(content) == found.tokens.output
        assert all(len(token["top_logprobs"]) == 2 and token["logprob"] <= 0 for token in content)

    def test_several_choices(self, backend: DeployedBackend, run: Run) -> None:
        found = run(whole(backend, chat(n=2, temperature=1.0, seed=1, max_tokens=8)))
        assert len(found.document["choices"]) == 2
        assert 8 < found.tokens.output <= 16

    def test_stop(self, backend: DeployedBackend, run: Run) -> None:
        found = run(whole(backend, chat(stop=[" Paris"])))
        assert "Paris" not in text(found.document)
        assert found.document["choices"][0]["finish_reason"] == "stop"

    def test_a_seed_repeats(self, backend: DeployedBackend, run: Run) -> None:
        def ask(seed: int) -> str:
            return text(run(whole(backend, chat(temperature=1.5, seed=seed))).document)

        assert ask(7) == ask(7)
        assert len({ask(seed) for seed in range(4)}) > 1

    def test_many_at_once(self, backend: DeployedBackend, run: Run) -> None:
        async def work() -> list[Completed]:
            return await asyncio.gather(*(whole(backend, chat()) for _ in range(12)))

        assert all("Paris" in text(found.document) for found in run(work()))

    def test_an_adapter_is_a_model_by_its_name(self, backend: DeployedBackend, run: Run) -> None:
        found = run(whole(backend, chat(model=ADAPTER)))
        assert found.document["model"] == ADAPTER
        assert text(found.document) != text(run(whole(backend, chat())).document)

    def test_the_engines_metrics_are_rays(self, backend: DeployedBackend, run: Run) -> None:
        run(whole(backend, chat()))

        async def exported() -> str:
            address = f"http://127.0.0.1:{ray.nodes()[0]['MetricsExportPort']}/metrics"
            async with httpx.AsyncClient() as client, asyncio.timeout(240):
                while "ray_vllm_generation_tokens_total{" not in (found := (await client.get(address)).text):  # noqa: ASYNC110
                    await asyncio.sleep(1)
            return found

        assert "ray_vllm_num_requests_running{" in run(exported())


class TestGone:
    ENDLESS = chat(max_tokens=1500, ignore_eos=True)

    def test_a_stream_that_is_closed_is_aborted_and_counted(
        self, backend: DeployedBackend, running: Callable[[], Awaitable[int]], run: Run
    ) -> None:
        async def work() -> tuple[int, DeployedStream]:
            answer = await stream(backend, self.ENDLESS)
            for _ in range(6):
                await anext(answer)
            during = await running()
            await answer.aclose()
            await until_none(running)
            await answer.aclose()
            # What had come already is there still, and no more.
            assert len([chunk async for chunk in answer]) < 100
            return during, answer

        during, answer = run(work())
        assert during == 1
        assert answer.tokens.input > 0
        # The first chunk has the role alone.
        assert 5 <= answer.tokens.output < 1500

    def test_a_stream_whose_reader_is_cancelled_is_aborted(
        self, backend: DeployedBackend, running: Callable[[], Awaitable[int]], run: Run
    ) -> None:
        async def read(answer: DeployedStream) -> None:
            async for _ in answer:
                pass

        async def work() -> DeployedStream:
            answer = await stream(backend, self.ENDLESS)
            task = asyncio.create_task(read(answer))
            while answer.tokens.output < 10:  # noqa: ASYNC110
                await asyncio.sleep(0.02)
            assert await running() == 1
            task.cancel()
            await until_none(running)
            return answer

        assert 10 <= run(work()).tokens.output < 1500

    @pytest.mark.parametrize("choices", [1, 3])
    def test_a_whole_answer_that_nobody_waits_for_is_aborted_and_counted(
        self, backend: DeployedBackend, running: Callable[[], Awaitable[int]], run: Run, choices: int
    ) -> None:
        async def work() -> Tokens:
            found = await calls.given_up(backend, {**self.ENDLESS, "n": choices, "temperature": 1}, 20 * choices)
            await until_none(running)
            return found

        found = run(work())
        assert found.input == run(whole(backend, chat(max_tokens=1))).tokens.input
        assert 20 * choices <= found.output < 1500 * choices

    def test_what_waits_for_a_place_is_taken_back(
        self, backend: DeployedBackend, running: Callable[[], Awaitable[int]], run: Run
    ) -> None:
        async def work() -> None:
            tasks = [asyncio.create_task(backend.run("chat", self.ENDLESS)) for _ in range(12)]
            async with asyncio.timeout(240):
                while await running() < 12:  # noqa: ASYNC110
                    await asyncio.sleep(0.05)
            for task in tasks:
                task.cancel()
            await until_none(running)

        run(work())

    def test_more_than_may_wait_is_refused(
        self, backend: DeployedBackend, running: Callable[[], Awaitable[int]], run: Run
    ) -> None:
        async def work() -> list[BaseException | Completed | DeployedStream]:
            tasks = [asyncio.create_task(backend.run("chat", self.ENDLESS)) for _ in range(40)]
            done, left = await asyncio.wait(tasks, timeout=240, return_when=asyncio.FIRST_COMPLETED)
            for task in left:
                task.cancel()
            await until_none(running)
            return [task.exception() or task.result() for task in done]

        refused = run(work())
        assert refused
        assert all(isinstance(answer, Unavailable) for answer in refused)


class TestRefused:
    @pytest.mark.parametrize("wrong", WRONG)
    @pytest.mark.parametrize("as_stream", [False, True], ids=["whole", "streamed"])
    def test_what_is_wrong_is_said(self, backend: DeployedBackend, run: Run, wrong: str, as_stream: bool) -> None:
        run(calls.refused(backend, wrong, as_stream=as_stream))

    def test_the_model_makes_no_embeddings(self, backend: DeployedBackend, run: Run) -> None:
        with pytest.raises(BackendError) as caught:
            run(backend.run("embeddings", {"model": NAME, "input": "x"}))
        assert caught.value.status == 404

    def test_nothing_is_left_and_it_answers(
        self, backend: DeployedBackend, running: Callable[[], Awaitable[int]], run: Run
    ) -> None:
        assert run(running()) == 0
        assert "Paris" in text(run(whole(backend, chat())).document)

    def test_no_deployment_is_unavailable(self, backend: DeployedBackend, run: Run) -> None:
        another = vllm_on_ray.called(DeployedBackend("another", "vllm-another", application=APPLICATION))
        with pytest.raises(Unavailable):
            run(another.run("chat", chat()))


class TestLost:
    """Last: they cost a start of the engine each. (That its replica is killed is tried in ``test_channel.py``.)"""

    @pytest.mark.parametrize("how", [signal.SIGKILL, signal.SIGSTOP], ids=["dies", "hangs"])
    def test_an_answer_ends_in_an_error_and_the_next_start_answers(
        self, backend: DeployedBackend, run: Run, how: signal.Signals
    ) -> None:
        async def cut() -> DeployedStream:
            answer = await stream(backend, chat(max_tokens=1500, ignore_eos=True))
            await anext(answer)
            os.kill(await asyncio.to_thread(processes.only, os.getpid(), ENGINE), how)
            with pytest.raises(Unavailable):
                async for _ in answer:
                    pass
            return answer

        async def while_it_is_gone() -> None:
            async with asyncio.timeout(240):
                while await backend.ready():  # noqa: ASYNC110
                    await asyncio.sleep(0.1)
            with pytest.raises(Unavailable):
                await backend.run("chat", chat())

        async def until_back() -> None:
            async with asyncio.timeout(240):
                while not await backend.ready():  # noqa: ASYNC110
                    await asyncio.sleep(0.5)

        assert run(cut()).tokens.output > 0
        run(while_it_is_gone())
        run(until_back())
        assert "Paris" in text(run(whole(backend, chat())).document)
