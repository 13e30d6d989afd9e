"""A real small model in transformers on a real Ray Serve, batched and a thread for each answer."""

from __future__ import annotations

import asyncio
import json
import os
import signal
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx
import pytest
import ray
from openai import OpenAI
from ray import serve as ray_serve

from serve.gateway.errors import BackendError, Unavailable
from serve.llm.backend import Completed, Tokens
from serve.llm.deployed.backend import DeployedBackend, DeployedStream
from serve.llm.deployed.deployment import deployment_name
from serve.llm.settings import HuggingFace
from tests.integration.serve import processes
from tests.integration.serve.llm import calls, gateway, vllm_on_ray, weather
from tests.integration.serve.llm.calls import NAME, chat, stream, text, until_none, whole
from tests.integration.serve.llm.vllm_on_ray import Run
from tests.integration.serve.llm.weather import FORCED, LEARNT, PARIS, WEATHER, asked_for
from tests.integration.serve.llm.wrong_bodies import WRONG

pytestmark = pytest.mark.integration

DEPLOYMENT = deployment_name("huggingface", NAME)
ENDLESS = chat(max_tokens=1500, ignore_eos=True)

SCHEMA = {
    "type": "object",
    "properties": {
        "city": {"type": "string", "maxLength": 12},
        "people": {"type": "integer", "minimum": 0, "maximum": 9},
    },
    "required": ["city", "people"],
    "additionalProperties": False,
}


@dataclass(frozen=True)
class Served:
    backend: DeployedBackend
    application: str

    async def running(self) -> int:
        return await calls.running(DEPLOYMENT, self.application)()


@pytest.fixture(scope="module")
def both(run: Run, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Mapping[str, Served]]:
    folder = weather.model(tmp_path_factory.mktemp("model"))

    def deployed(way: str) -> Served:
        given = settings(model=str(folder), batching=way == "batched", tool_parser="hermes")
        return Served(vllm_on_ray.deploy(NAME, given, way), way)

    with vllm_on_ray.serving(run):
        yield {way: deployed(way) for way in ("batched", "threads")}


@pytest.fixture(params=["batched", "threads"])
def served(both: Mapping[str, Served], request: pytest.FixtureRequest) -> Served:
    return both[request.param]


@pytest.fixture
def batched(both: Mapping[str, Served]) -> Served:
    return both["batched"]


def settings(**fields: Any) -> HuggingFace:
    small = {"dtype": "float32", "max_length": 2048, "sequences": 4, "cache_gib": 0.5}
    model = str(vllm_on_ray.model())
    return HuggingFace.model_validate({"kind": "huggingface", "model": model} | small | fields)


@pytest.fixture
def client(batched: Served, run: Run, tmp_path: Path) -> Iterator[OpenAI]:
    with gateway.before(batched.backend, run, tmp_path / "log") as found:
        yield found


async def chunks(served: Served, body: dict[str, Any]) -> tuple[list[dict[str, Any]], Tokens]:
    answer = await stream(served.backend, body)
    return [dict(chunk) async for chunk in answer], answer.tokens


class TestAnswers:
    def test_whole(self, served: Served, run: Run) -> None:
        found = run(whole(served.backend, chat()))
        assert text(found.document) == "The capital of France is Paris."
        assert found.document["choices"][0]["finish_reason"] == "stop"
        usage = found.document["usage"]
        assert found.tokens == Tokens(usage["prompt_tokens"], usage["completion_tokens"])
        assert 0 < found.tokens.output < 24

    def test_streamed(self, served: Served, run: Run) -> None:
        made, tokens = run(chunks(served, chat()))
        parts = [chunk["choices"][0]["delta"].get("content") or "" for chunk in made if chunk["choices"]]
        assert "".join(parts) == "The capital of France is Paris."
        assert len([part for part in parts if part]) > 2
        assert made[0]["choices"][0]["delta"]["role"] == "assistant"
        assert made[-2]["choices"][0]["finish_reason"] == "stop"
        assert made[-1]["usage"]["completion_tokens"] == tokens.output
        assert not any(chunk.get("usage") for chunk in made[:-1])

    def test_completions_of_several_prompts(self, served: Served, run: Run) -> None:
        body = {"model": NAME, "prompt": ["Paris is", "Rome is"], "max_tokens": 4, "temperature": 0, "logprobs": 1}
        found = run(whole(served.backend, body, "completions"))
        choices = found.document["choices"]
        assert [choice["index"] for choice in choices] == [0, 1]
        assert [choice["finish_reason"] for choice in choices] == ["length", "length"]
        assert all("".join(choice["logprobs"]["tokens"]) == choice["text"] for choice in choices)
        assert found.tokens.output == 8

    @pytest.mark.parametrize("stop", [" Paris", ["nothing", "is the capital of France is P", "France is P"]])
    def test_a_stop_is_not_told_though_it_spans_tokens(self, served: Served, run: Run, stop: Any) -> None:
        found = run(whole(served.backend, chat(stop=stop)))
        assert text(found.document).rstrip() in ("The capital of France is", "The capital of")
        assert found.document["choices"][0]["finish_reason"] == "stop"
        run(until_none(served.running))

    def test_a_schema_is_kept_to(self, served: Served, run: Run) -> None:
        form = {"type": "json_schema", "json_schema": {"name": "city", "schema": SCHEMA, "strict": True}}
        found = json.loads(text(run(whole(served.backend, chat(max_tokens=200, response_format=form))).document))
        assert found.keys() == {"city", "people"}

    def test_several_choices_with_a_seed_repeat(self, served: Served, run: Run) -> None:
        def ask(seed: int) -> list[str]:
            body = chat(n=2, temperature=1.5, seed=seed, max_tokens=8)
            return [choice["message"]["content"] for choice in run(whole(served.backend, body)).document["choices"]]

        assert ask(7) == ask(7)
        assert len({*ask(7), *ask(8)}) == 4

    def test_logprobs(self, served: Served, run: Run) -> None:
        found = run(whole(served.backend, chat(logprobs=True, top_logprobs=2)))
        content = found.document["choices"][0]["logprobs"]["content"]
        assert len(content) == found.tokens.output
        # The likeliest was taken each time.
        assert all(token["logprob"] == token["top_logprobs"][0]["logprob"] <= 0 for token in content)

    def test_a_bias_forbids_tokens(self, served: Served, run: Run) -> None:
        ids = {str(token): -100 for token in range(1000)}
        body = {"model": NAME, "prompt": "2 + 2 =", "max_tokens": 6, "temperature": 0}
        free, bound = (run(whole(served.backend, body | {"logit_bias": each}, "completions")) for each in (None, ids))
        assert bound.document["choices"][0]["text"] != free.document["choices"][0]["text"]

    def test_more_at_once_than_are_worked_on(self, served: Served, run: Run) -> None:
        async def work() -> list[Completed]:
            return await asyncio.gather(*(whole(served.backend, chat()) for _ in range(8)))

        assert all("Paris" in text(found.document) for found in run(work()))

    def test_openais_client(self, client: OpenAI) -> None:
        chats = client.chat.completions
        answer = chats.create(model=NAME, messages=calls.CAPITAL, temperature=0)  # type: ignore[arg-type]
        assert answer.choices[0].message.content == "The capital of France is Paris."
        with chats.stream(model=NAME, messages=calls.CAPITAL, temperature=0) as streaming:  # type: ignore[arg-type]
            streaming.until_done()
            last = streaming.get_final_completion()
        assert last.choices[0].message.content == answer.choices[0].message.content
        assert last.choices[0].finish_reason == "stop"

    def test_the_engines_metrics_are_rays(self, batched: Served, run: Run) -> None:
        run(whole(batched.backend, chat()))

        async def exported() -> str:
            address = f"http://127.0.0.1:{ray.nodes()[0]['MetricsExportPort']}/metrics"
            async with httpx.AsyncClient() as client, asyncio.timeout(240):
                while "ray_huggingface_generation_tokens" not in (found := (await client.get(address)).text):  # noqa: ASYNC110
                    await asyncio.sleep(1)
            return found

        assert "ray_huggingface_num_requests_running{" in run(exported())


class TestTools:
    def test_openais_client_gets_a_call_that_is_required(self, client: OpenAI) -> None:
        fields: dict[str, Any] = {
            "model": NAME,
            "messages": PARIS,
            "temperature": 0,
            "tools": [WEATHER],
            "tool_choice": "required",
            "parallel_tool_calls": False,
        }
        whole = client.chat.completions.create(**fields).choices[0]
        with client.chat.completions.stream(**fields) as streaming:
            streaming.until_done()
            streamed = streaming.get_final_completion().choices[0]
        for choice in (whole, streamed):
            assert choice.finish_reason == "tool_calls"
            assert not choice.message.content
            assert choice.message.tool_calls
            [call] = choice.message.tool_calls
            assert call.type == "function"
            assert call.id
            assert (call.function.name, json.loads(call.function.arguments)) == ("weather", {"city": "Paris"})

    def test_the_one_that_is_named_is_called(self, served: Served, run: Run) -> None:
        other = {"type": "function", "function": {"name": "other"}}
        body = chat(messages=PARIS, max_tokens=80, tools=[other, WEATHER], tool_choice=FORCED)
        [choice] = run(whole(served.backend, body)).document["choices"]
        [call] = choice["message"]["tool_calls"]
        assert (call["type"], call["function"]["name"]) == ("function", "weather")
        assert json.loads(call["function"]["arguments"]).keys() == {"city"}
        assert choice["message"]["content"] is None
        assert choice["finish_reason"] == "stop"
        run(until_none(served.running))

    def test_the_model_may_call_by_itself_and_is_streamed(self, served: Served, run: Run) -> None:
        body = chat(messages=[*LEARNT, *PARIS], max_tokens=80, tools=[WEATHER], parallel_tool_calls=False)
        made, _ = run(chunks(served, body))
        deltas = [chunk["choices"][0]["delta"] for chunk in made if chunk["choices"]]
        first, *others = [call for delta in deltas for call in delta.get("tool_calls", ())]
        assert first["id"]
        assert (first["index"], first["type"], first["function"]["name"]) == (0, "function", "weather")
        assert len(others) > 2
        assert all(call.keys() == {"index", "function"} and call["index"] == 0 for call in others)
        arguments = "".join(call["function"]["arguments"] for call in (first, *others))
        assert json.loads(arguments) == {"city": "Paris"}
        assert not any(delta.get("content") for delta in deltas)
        assert made[-2]["choices"][0]["finish_reason"] == "tool_calls"

    def test_the_model_may_call_by_itself(self, batched: Served, run: Run) -> None:
        body = chat(messages=[*LEARNT, *PARIS], max_tokens=80, tools=[WEATHER])
        [choice] = run(whole(batched.backend, body)).document["choices"]
        [call] = choice["message"]["tool_calls"]
        assert json.loads(call["function"]["arguments"]) == {"city": "Paris"}
        assert choice["finish_reason"] == "tool_calls"

    def test_what_a_tool_said_is_answered(self, batched: Served, run: Run) -> None:
        *before, _ = [*LEARNT, *asked_for("Paris", "snowing")]
        [choice] = run(whole(batched.backend, chat(messages=before, tools=[WEATHER]))).document["choices"]
        assert "snowing" in choice["message"]["content"]
        assert "tool_calls" not in choice["message"]
        assert choice["finish_reason"] == "stop"

    def test_a_call_that_is_cut_off_says_so(self, batched: Served, run: Run) -> None:
        body = chat(messages=PARIS, max_tokens=20, tools=[WEATHER], tool_choice=FORCED)
        [choice] = run(whole(batched.backend, body)).document["choices"]
        [call] = choice["message"]["tool_calls"]
        assert call["function"]["arguments"].startswith("{")
        assert choice["finish_reason"] == "length"

    @pytest.mark.parametrize(
        ("schema", "said"),
        [
            ({"type": "object", "properties": 3}, "properties"),
            ({"properties": {"a": {"allOf": [{"pattern": f".*a.{{{n}}}b.*"} for n in range(10, 30)]}}}, "too long"),
        ],
        ids=["none", "one that takes too long"],
    )
    def test_a_schema_that_can_not_be_held_is_refused(
        self, batched: Served, run: Run, schema: dict[str, Any], said: str
    ) -> None:
        wrong = {"type": "function", "function": {"name": "wrong", "parameters": schema}}
        with pytest.raises(BackendError, match=said) as caught:
            run(batched.backend.run("chat", chat(tools=[WEATHER, wrong], tool_choice="required")))
        found = caught.value
        assert (found.status, found.param) == (400, "tools.1.function.parameters")

    def test_one_that_takes_too_much_at_a_token_ends_its_own_answer(self, served: Served, run: Run) -> None:
        schema = {"type": "string", "pattern": "^(((.{0,99}){0,99}){0,99}){0,99}$"}
        form = {"type": "json_schema", "json_schema": {"name": "x", "schema": schema}}

        async def work() -> tuple[Any, Any]:
            bodies = chat(response_format=form), chat()
            wrong, right = await asyncio.gather(
                *(served.backend.run("chat", body) for body in bodies), return_exceptions=True
            )
            await until_none(served.running)
            return wrong, right

        wrong, right = run(work())
        assert isinstance(wrong, BackendError)
        assert wrong.status == 400
        assert "Paris" in text(right.document)


class TestGone:
    def test_a_stream_that_is_closed_is_aborted_and_counted(self, served: Served, run: Run) -> None:
        async def work() -> tuple[int, DeployedStream]:
            answer = await stream(served.backend, ENDLESS)
            for _ in range(6):
                await anext(answer)
            during = await served.running()
            await answer.aclose()
            await until_none(served.running)
            return during, answer

        during, answer = run(work())
        assert during == 1
        assert answer.tokens.input > 0
        assert 5 <= answer.tokens.output < 1500

    def test_whole_answers_that_nobody_waits_for_are_aborted(self, served: Served, run: Run) -> None:
        async def work() -> None:
            # More than are worked on: the others wait for a place.
            tasks = [asyncio.create_task(served.backend.run("chat", ENDLESS)) for _ in range(6)]
            async with asyncio.timeout(240):
                while await served.running() < 6:  # noqa: ASYNC110
                    await asyncio.sleep(0.05)
            for task in tasks:
                task.cancel()
            await until_none(served.running)

        run(work())

    def test_a_whole_answer_that_is_given_up_is_counted(self, served: Served, run: Run) -> None:
        async def work() -> Tokens:
            found = await calls.given_up(served.backend, ENDLESS, 5)
            await until_none(served.running)
            return found

        found = run(work())
        assert found.input > 0
        assert 5 <= found.output < 1500

    def test_more_than_may_wait_is_refused(self, batched: Served, run: Run) -> None:
        async def work() -> list[BaseException | Completed | DeployedStream]:
            tasks = [asyncio.create_task(batched.backend.run("chat", ENDLESS)) for _ in range(24)]
            done, left = await asyncio.wait(tasks, timeout=240, return_when=asyncio.FIRST_COMPLETED)
            for task in left:
                task.cancel()
            await until_none(batched.running)
            return [task.exception() or task.result() for task in done]

        refused = run(work())
        assert refused
        assert all(isinstance(answer, Unavailable) for answer in refused)


class TestRefused:
    @pytest.mark.parametrize("wrong", WRONG)
    @pytest.mark.parametrize("as_stream", [False, True], ids=["whole", "streamed"])
    def test_what_is_wrong_is_said(self, batched: Served, run: Run, wrong: str, as_stream: bool) -> None:
        run(calls.refused(batched.backend, wrong, as_stream=as_stream))

    def test_the_model_makes_no_embeddings(self, batched: Served, run: Run) -> None:
        with pytest.raises(BackendError) as caught:
            run(batched.backend.run("embeddings", {"model": NAME, "input": "x"}))
        assert caught.value.status == 404

    def test_nothing_is_left_and_it_answers(self, served: Served, run: Run) -> None:
        assert run(served.running()) == 0
        assert "Paris" in text(run(whole(served.backend, chat())).document)


class TestLost:
    """Last: it costs a start of the engine."""

    def test_an_answer_ends_in_an_error_and_the_next_start_answers(self, batched: Served, run: Run) -> None:
        async def cut() -> DeployedStream:
            answer = await stream(batched.backend, ENDLESS)
            await anext(answer)
            title = f"ray::ServeReplica:batched:{DEPLOYMENT}"
            os.kill(await asyncio.to_thread(processes.only, os.getpid(), title), signal.SIGKILL)
            with pytest.raises(Unavailable):
                async for _ in answer:
                    pass
            return answer

        async def until_back() -> None:
            async with asyncio.timeout(240):
                while await batched.backend.ready():  # noqa: ASYNC110
                    await asyncio.sleep(0.1)
                with pytest.raises(Unavailable):
                    await batched.backend.run("chat", chat())
                while not await batched.backend.ready():  # noqa: ASYNC110
                    await asyncio.sleep(0.5)

        assert run(cut()).tokens.output > 0
        run(until_back())
        assert "Paris" in text(run(whole(batched.backend, chat())).document)


def test_a_model_that_is_no_cache_of_keys_and_values_answers_too(
    both: Mapping[str, Served], tmp_path: Path, run: Run
) -> None:
    """Mamba, of random weights: what it says means nothing, and that it says it is all that is asked."""
    from transformers import AutoTokenizer, MambaConfig, MambaForCausalLM

    tokenizer = AutoTokenizer.from_pretrained(str(vllm_on_ray.model()))
    config = MambaConfig(vocab_size=len(tokenizer), hidden_size=32, num_hidden_layers=2, state_size=4, eos_token_id=2)
    MambaForCausalLM(config).save_pretrained(tmp_path)
    tokenizer.save_pretrained(tmp_path)
    backend = vllm_on_ray.deploy(NAME, settings(model=str(tmp_path), max_length=64), "state")
    assert run(whole(backend, chat(max_tokens=3, ignore_eos=True))).tokens.output == 3
    ray_serve.delete("state")
