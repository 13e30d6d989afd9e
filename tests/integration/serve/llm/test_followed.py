"""A whole model's alias moves while requests run: another engine takes the place of the first, and none is lost."""

from __future__ import annotations

import asyncio
import json
import os
import shutil
import signal
import threading
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest
import ray
from ray import serve as ray_serve

from serve.llm.deployed import follower
from serve.llm.deployed.backend import DeployedBackend
from serve.llm.deployed.deployment import deployment_name
from serve.llm.deployed.sources import resolved
from serve.llm.settings import HuggingFace
from tests.integration.serve import processes
from tests.integration.serve.llm import vllm_on_ray
from tests.integration.serve.llm.calls import NAME, chat, stream, whole
from tests.integration.serve.llm.vllm_on_ray import Run
from training.bundle import Bundles
from training.registry import client, local_uri

pytestmark = pytest.mark.integration

APPLICATION = "service"
MODEL = "smollm2"
ALIAS = "live"
DEPLOYMENT = deployment_name("huggingface", NAME)

STOPPED_SECONDS = 8.0

GOOD, GOOD_TOO, TAMPERED, BROKEN = "1", "2", "3", "4"


@dataclass(frozen=True)
class Served:
    backend: DeployedBackend
    bundles: Bundles

    def move(self, version: str) -> None:
        self.bundles.set_alias(MODEL, ALIAS, version)

    async def version(self) -> str | None:
        return (await whole(self.backend, chat(max_tokens=1))).version

    async def generations(self) -> list[int]:
        return await vllm_on_ray.generations_of(NAME, DEPLOYMENT)

    async def until(self, *numbers: int) -> None:
        """Ask until there are these generations."""
        async with asyncio.timeout(240):
            while await self.generations() != [*numbers]:
                await self.version()
                await asyncio.sleep(0.1)


@pytest.fixture(scope="module")
def bundles(tmp_path_factory: pytest.TempPathFactory) -> Bundles:
    folder = tmp_path_factory.mktemp("registry")
    found = Bundles(local_uri(folder))
    mlflow = client(found.uri, create=True)
    experiment = mlflow.create_experiment(MODEL, artifact_location=(folder / "artifacts").as_uri())
    run_id = mlflow.create_run(experiment).info.run_id
    model = vllm_on_ray.model()
    for number in (GOOD, GOOD_TOO):
        made = tmp_path_factory.mktemp("model") / "files"
        shutil.copytree(model, made)
        (made / "NOTICE").write_text(number)
        assert found.publish(MODEL, made, "language-model", run_id).version == number
    for number in (TAMPERED, BROKEN):
        made = tmp_path_factory.mktemp("model")
        (made / "config.json").write_text(json.dumps({"model_type": "nothing", "number": number}))
        assert found.publish(MODEL, made, "language-model", run_id).version == number
    [tampered] = [each for each in (folder / "artifacts").rglob("config.json") if f'"{TAMPERED}"' in each.read_text()]
    tampered.write_text("{}")
    found.set_alias(MODEL, ALIAS, GOOD)
    return found


@pytest.fixture(scope="module")
def served(bundles: Bundles, run: Run, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Served]:
    fields = {"model": f"registry:{MODEL}@{ALIAS}", "max_length": 2048, "batching": False, "follow_seconds": 0.5}
    settings = HuggingFace.model_validate({"kind": "huggingface", "dtype": "float32", "cpus": 1} | fields)
    sources = resolved(NAME, settings, bundles.uri, tmp_path_factory.mktemp("cache"))
    assert sources is not None
    with vllm_on_ray.serving(run):
        yield Served(vllm_on_ray.follow(NAME, settings, APPLICATION, sources), bundles)


def said() -> str:
    """The followers' log."""
    logs = Path(ray._private.worker._global_node.get_session_dir_path()) / "logs" / "serve"
    return "".join(each.read_text() for each in logs.glob(f"replica_{APPLICATION}_{follower.DEPLOYMENT}_*.log"))


def test_requests_go_to_the_new_version_and_each_stream_ends_where_it_began(served: Served, run: Run) -> None:
    over = asyncio.Event()

    async def ask() -> list[tuple[str | None, int]]:
        found = []
        while not over.is_set():
            answer = await stream(served.backend, chat(max_tokens=60, ignore_eos=True))
            chunks = [chunk async for chunk in answer]
            assert chunks[-1]["usage"]["completion_tokens"] == answer.tokens.output
            found.append((answer.version, answer.tokens.output))
        return found

    async def work() -> None:
        asking = [asyncio.create_task(ask()) for _ in range(3)]
        served.move(GOOD_TOO)
        await served.until(2)
        over.set()
        for found in await asyncio.gather(*asking):
            # Each is whole, and where the new one has answered the other does no more.
            assert {*found} == {(f"{MODEL}/{GOOD}", 60), (f"{MODEL}/{GOOD_TOO}", 60)}
            assert found == sorted(found, key=str)

    run(work())


def test_files_that_are_not_what_was_registered_are_not_taken(served: Served, run: Run) -> None:
    async def work() -> None:
        served.move(TAMPERED)
        for _ in range(20):
            assert await served.version() == f"{MODEL}/{GOOD_TOO}"
            await asyncio.sleep(0.1)
        assert await served.generations() == [2]

    run(work())
    assert said().count(f"{MODEL} version {TAMPERED}: config.json is not what was registered") == 1


def test_what_can_t_be_started_is_given_up_and_the_one_before_it_goes_on(served: Served, run: Run) -> None:
    async def work() -> None:
        served.move(BROKEN)
        await served.until(2, 3)
        await served.until(2)
        assert await served.version() == f"{MODEL}/{GOOD_TOO}"

    run(work())
    assert said().count(f"{MODEL}/{BROKEN} can't be started beside the one that answers: ") == 1


def test_where_serve_s_controller_does_not_answer_nothing_waits_for_it(served: Served, run: Run) -> None:
    controller = processes.only(os.getpid(), "ray::ServeController")

    async def work() -> float:
        # It has no handle yet.
        backend = vllm_on_ray.called(DeployedBackend(NAME, DEPLOYMENT, followed=True))
        assert await backend.ready()
        os.kill(controller, signal.SIGSTOP)
        # Not by this event loop, which would wait too.
        threading.Timer(STOPPED_SECONDS, os.kill, (controller, signal.SIGCONT)).start()
        asking = asyncio.create_task(whole(backend, chat(max_tokens=1)))
        longest, last = 0.0, time.monotonic()
        while not asking.done():
            await asyncio.sleep(0.1)
            longest, last = max(longest, time.monotonic() - last), time.monotonic()
        await asking
        return longest

    assert run(work()) < STOPPED_SECONDS / 2


def test_a_follower_that_dies_comes_back_and_follows_on(served: Served, run: Run) -> None:
    pid = processes.only(os.getpid(), f"ray::ServeReplica:{APPLICATION}:{follower.DEPLOYMENT}")
    os.kill(pid, signal.SIGKILL)
    served.move(GOOD)

    async def work() -> None:
        async with asyncio.timeout(240):
            while await served.version() != f"{MODEL}/{GOOD}":  # noqa: ASYNC110
                await asyncio.sleep(0.1)

    run(work())


def test_where_the_service_is_deleted_its_engines_are(served: Served, run: Run) -> None:
    ray_serve.delete(APPLICATION)

    async def work() -> None:
        async with asyncio.timeout(240):
            while await served.generations():  # noqa: ASYNC110
                await asyncio.sleep(0.1)

    run(work())
