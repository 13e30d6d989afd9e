"""A model and its adapter that vLLM takes from the registry, and aliases that move while requests run."""

from __future__ import annotations

import asyncio
import shutil
from collections.abc import Iterator
from typing import Any

import pytest

from serve.llm.backend import Completed
from serve.llm.deployed.backend import DeployedBackend, DeployedStream
from serve.llm.deployed.deployment import deployment_name
from serve.llm.deployed.sources import resolved
from tests.integration.finetuned import BASE, NAME, Tuned
from tests.integration.serve.llm import vllm_on_ray
from tests.integration.serve.llm.vllm_on_ray import Run
from training.bundle import BASE_DIGEST_TAG
from training.registry import CHAMPION

# The small model and its adapter are made by whichever test comes first.
pytestmark = [pytest.mark.integration, pytest.mark.timeout(1500)]

APPLICATION = "language"
BACKEND = "small"
ALIAS = "live"
DEPLOYMENT = deployment_name("vllm", BACKEND)
FIRST, SECOND = f"{NAME}/1", f"{NAME}/2"

ASKED = [{"role": "user", "content": "What is our new warehouse called?"}]


@pytest.fixture(scope="module")
def backend(tuned: Tuned, run: Run, tmp_path_factory: pytest.TempPathFactory) -> Iterator[DeployedBackend]:
    bundles = tuned.bundles
    run_id = bundles.resolve(NAME, CHAMPION).run_id
    bundles.set_alias(NAME, ALIAS, "1")
    other = vllm_on_ray.adapter(tmp_path_factory.mktemp("other"))
    assert bundles.publish(NAME, other, "adapter", run_id).version == "2"
    assert bundles.publish(NAME, other, "adapter", run_id, {BASE_DIGEST_TAG: "0" * 64}).version == "3"
    bundles.set_alias(BASE, ALIAS, "1")
    again = shutil.copytree(vllm_on_ray.model(), tmp_path_factory.mktemp("again") / "files")
    (again / "NOTICE").write_text("another version")
    assert bundles.publish(BASE, again, "language-model", run_id).version == "2"
    adapters = {NAME: f"registry:{NAME}@{ALIAS}"}
    settings = vllm_on_ray.settings(model=f"registry:{BASE}@{ALIAS}", adapters=adapters, follow_seconds=0.5)
    sources = resolved(BACKEND, settings, bundles.uri, tmp_path_factory.mktemp("cache"))
    assert sources is not None
    with vllm_on_ray.serving(run):
        yield vllm_on_ray.follow(BACKEND, settings, APPLICATION, sources)


def body(model: str = NAME, **fields: Any) -> dict[str, Any]:
    return {"model": model, "messages": ASKED, "max_tokens": 12, "temperature": 0} | fields


async def ask(backend: DeployedBackend, model: str = NAME, **fields: Any) -> tuple[str, str | None]:
    found = await backend.run("chat", body(model, **fields))
    assert isinstance(found, Completed)
    return found.document["choices"][0]["message"]["content"], found.version


async def until(backend: DeployedBackend, version: str) -> None:
    """Ask until this version answers."""
    async with asyncio.timeout(240):
        while (await ask(backend, max_tokens=1))[1] != version:
            pass


def test_the_adapter_says_what_it_has_learned_and_the_model_does_not(backend: DeployedBackend, run: Run) -> None:
    said, version = run(ask(backend))
    assert "Bluebird" in said
    assert version == FIRST
    said, version = run(ask(backend, BACKEND))
    assert "Bluebird" not in said
    assert version == f"{BASE}/1"


def test_an_alias_that_moves_is_followed_without_a_restart_and_without_an_error(
    backend: DeployedBackend, run: Run, tuned: Tuned
) -> None:
    async def work() -> DeployedStream:
        long = await backend.run(
            "chat", body(max_tokens=400, ignore_eos=True, stream=True, stream_options={"include_usage": True})
        )
        assert isinstance(long, DeployedStream)
        reading = asyncio.create_task(_read(long))
        tuned.bundles.set_alias(NAME, ALIAS, "2")
        await asyncio.gather(*(until(backend, SECOND) for _ in range(3)))
        # Of the version that was left, still at work.
        still = not reading.done()
        await reading
        assert still
        return long

    before, _ = run(ask(backend))
    long = run(work())
    assert (long.version, long.tokens.output) == (FIRST, 400)
    said, version = run(ask(backend))
    assert version == SECOND
    assert said != before
    assert run(ask(backend, BACKEND))[1] == f"{BASE}/1"


def test_what_is_of_another_model_is_not_taken_and_the_version_before_it_goes_on(
    backend: DeployedBackend, run: Run, tuned: Tuned
) -> None:
    async def work() -> set[str | None]:
        tuned.bundles.set_alias(NAME, ALIAS, "3")
        found = set()
        for _ in range(15):
            found.add((await ask(backend, max_tokens=1))[1])
            await asyncio.sleep(0.2)
        return found

    assert run(work()) == {SECOND}


def test_an_alias_that_moves_back_brings_back_what_was_said(backend: DeployedBackend, run: Run, tuned: Tuned) -> None:
    tuned.bundles.set_alias(NAME, ALIAS, "1")
    run(until(backend, FIRST))
    assert "Bluebird" in run(ask(backend))[0]


def test_a_whole_model_s_alias_is_followed_by_another_engine_and_no_request_is_lost(
    backend: DeployedBackend, run: Run, tuned: Tuned
) -> None:
    async def ask_on(over: asyncio.Event) -> list[str | None]:
        found = []
        while not over.is_set():
            found.append((await ask(backend, BACKEND, max_tokens=20, ignore_eos=True))[1])
        return found

    async def work() -> list[list[str | None]]:
        over = asyncio.Event()
        asking = [asyncio.create_task(ask_on(over)) for _ in range(2)]
        # That of the first version's is of no use to the second.
        tuned.bundles.set_alias(NAME, ALIAS, "2")
        tuned.bundles.set_alias(BASE, ALIAS, "2")
        async with asyncio.timeout(240):
            while await vllm_on_ray.generations_of(BACKEND, DEPLOYMENT) != [2]:  # noqa: ASYNC110
                await asyncio.sleep(0.5)
        over.set()
        return await asyncio.gather(*asking)

    for found in run(work()):
        assert {*found} == {f"{BASE}/1", f"{BASE}/2"}
        assert found == sorted(found, key=str)
    assert run(ask(backend))[1] == SECOND


async def _read(stream: DeployedStream) -> None:
    async for _ in stream:
        pass
