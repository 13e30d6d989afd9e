"""An adapter's alias moves: which version answers, and when the one before it goes."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import pytest

from serve.llm.backend import Body, Operation
from serve.llm.deployed.engine import AdapterRefused, EngineSettingsError, Tally
from serve.llm.deployed.messages import Refused, Whole
from serve.llm.deployed.released import ReleasedEngine
from serve.llm.deployed.sources import Sources, located, resolved
from serve.llm.engines import fetched
from serve.llm.settings import Vllm
from training.bundle import BASE_DIGEST_TAG, Bundles
from training.registry import RegistryError, client, local_uri

FIRST, SECOND = "tuned.facts.1", "tuned.facts.2"


class Engine:
    """Answers with the name that it is asked by; a stream goes on until it is told."""

    def __init__(self) -> None:
        self.loaded = {FIRST}
        self.refuses = False
        self.tried = 0
        self.told = asyncio.Event()

    async def answer(self, operation: Operation, body: Body, tally: Tally) -> Whole | AsyncIterator[str | Refused]:
        name = str(body["model"])
        assert name in {"own", *self.loaded}
        return self._stream(name) if body.get("stream") else Whole(name.encode())

    async def _stream(self, name: str) -> AsyncIterator[str | Refused]:
        yield name
        await self.told.wait()
        assert name in self.loaded
        yield name

    async def load_adapter(self, name: str, folder: Path) -> None:
        self.tried += 1
        if self.refuses:
            raise AdapterRefused("of another model")
        assert (folder / "adapter_config.json").is_file()
        self.loaded.add(name)

    async def unload_adapter(self, name: str) -> None:
        self.loaded.remove(name)

    def running(self) -> int:
        return 0

    async def check_health(self) -> None: ...

    def shutdown(self) -> None: ...


@pytest.fixture(scope="module")
def bundles(tmp_path_factory: pytest.TempPathFactory) -> Bundles:
    """A model, two versions of an adapter, and a third that is of another model."""
    folder = tmp_path_factory.mktemp("registry")
    found = Bundles(local_uri(folder))
    mlflow = client(found.uri, create=True)
    experiment = mlflow.create_experiment("facts", artifact_location=(folder / "artifacts").as_uri())
    run_id = mlflow.create_run(experiment).info.run_id
    for number in (1, 2):
        (folder / "adapter_config.json").write_text(f'{{"r": {8 * number}}}')
        (folder / "files").mkdir(exist_ok=True)
        (folder / "adapter_config.json").rename(folder / "files" / "adapter_config.json")
        found.publish("facts", folder / "files", "adapter", run_id)
    found.publish("facts", folder / "files", "adapter", run_id, {BASE_DIGEST_TAG: "0" * 64})
    (folder / "model").mkdir()
    (folder / "model" / "config.json").write_text("{}")
    found.publish("base", folder / "model", "language-model", run_id)
    found.set_alias("base", "champion", "1")
    return found


@pytest.fixture(autouse=True)
def first(bundles: Bundles) -> None:
    bundles.set_alias("facts", "live", "1")


@pytest.fixture
def cache(tmp_path: Path) -> Path:
    return tmp_path / "cache"


def settings(**fields: object) -> Vllm:
    given = {"kind": "vllm", "model": "registry:base@champion", "adapters": {"tuned": "registry:facts@live"}}
    return Vllm.model_validate(given | fields)


def sources(bundles: Bundles, cache: Path, **fields: object) -> Sources:
    found = resolved("own", settings(**fields), bundles.uri, cache)
    assert found is not None
    return found


@asynccontextmanager
async def following(bundles: Bundles, cache: Path, engine: Engine) -> AsyncIterator[ReleasedEngine]:
    released = ReleasedEngine("own", engine, sources(bundles, cache))
    released.follow(engine, 0.02)
    yield released
    released.shutdown()


async def ask(released: ReleasedEngine, model: str = "tuned") -> tuple[str, str]:
    tally = Tally()
    found = await released.answer("chat", {"model": model}, tally)
    assert isinstance(found, Whole)
    return found.document.decode(), tally.version


async def until(released: ReleasedEngine, version: str) -> None:
    async with asyncio.timeout(20):
        while (await ask(released))[1] != version:  # noqa: ASYNC110
            await asyncio.sleep(0.02)


class TestFollowed:
    def test_each_answer_names_the_version_that_made_it(self, bundles: Bundles, cache: Path) -> None:
        async def work() -> None:
            async with following(bundles, cache, Engine()) as released:
                assert await ask(released) == (FIRST, "facts/1")
                assert await ask(released, "own") == ("own", "base/1")

        asyncio.run(work())

    def test_an_adapter_in_a_folder_is_named_beside_its_model(self, bundles: Bundles, cache: Path) -> None:
        async def work() -> None:
            engine = Engine()
            engine.loaded.add("mine")
            async with following(bundles, cache, engine) as released:
                assert await ask(released, "mine") == ("mine", "base/1+mine")

        asyncio.run(work())

    def test_a_version_is_unloaded_when_its_last_request_has_ended(self, bundles: Bundles, cache: Path) -> None:
        async def work() -> None:
            engine = Engine()
            async with following(bundles, cache, engine) as released:
                stream = await released.answer("chat", {"model": "tuned", "stream": True}, Tally())
                assert not isinstance(stream, Whole | Refused)
                assert await anext(stream) == FIRST
                bundles.set_alias("facts", "live", "2")
                await until(released, "facts/2")
                await asyncio.sleep(0.2)
                assert engine.loaded == {FIRST, SECOND}
                engine.told.set()
                assert [text async for text in stream] == [FIRST]
                async with asyncio.timeout(20):
                    while engine.loaded != {SECOND}:  # noqa: ASYNC110
                        await asyncio.sleep(0.02)

        asyncio.run(work())

    def test_an_alias_that_moves_back_finds_what_is_loaded_still(self, bundles: Bundles, cache: Path) -> None:
        async def work() -> None:
            engine = Engine()
            async with following(bundles, cache, engine) as released:
                stream = await released.answer("chat", {"model": "tuned", "stream": True}, Tally())
                assert not isinstance(stream, Whole | Refused)
                await anext(stream)
                bundles.set_alias("facts", "live", "2")
                await until(released, "facts/2")
                bundles.set_alias("facts", "live", "1")
                await until(released, "facts/1")
                assert FIRST in engine.loaded
                engine.told.set()
                assert [text async for text in stream] == [FIRST]

        asyncio.run(work())

    def test_what_the_engine_refuses_is_tried_and_said_once_and_the_version_before_it_goes_on(
        self, bundles: Bundles, cache: Path, caplog: pytest.LogCaptureFixture
    ) -> None:
        async def work() -> None:
            engine = Engine()
            engine.refuses = True
            async with following(bundles, cache, engine) as released:
                bundles.set_alias("facts", "live", "2")
                async with asyncio.timeout(20):
                    while not engine.tried:  # noqa: ASYNC110
                        await asyncio.sleep(0.02)
                await asyncio.sleep(0.5)
                assert await ask(released) == (FIRST, "facts/1")
                assert engine.tried == 1

        with caplog.at_level("ERROR", logger="ray.serve"):
            asyncio.run(work())
        assert [record.getMessage() for record in caplog.records] == ["backend own: adapter tuned: facts/1 goes on"]


class TestResolved:
    def test_each_version_is_verified_and_said(
        self, bundles: Bundles, cache: Path, capsys: pytest.CaptureFixture[str]
    ) -> None:
        found = sources(bundles, cache)
        assert found.label == "base/1"
        assert found.adapters["tuned"].label == "facts/1"
        said = capsys.readouterr().out
        assert "✓ verify registry:base@champion" in said
        assert "✓ verify registry:facts@live" in said
        assert "version 1, SHA-256 " in said

    def test_a_replica_that_starts_later_has_the_adapters_of_then(self, bundles: Bundles, cache: Path) -> None:
        before = sources(bundles, cache)
        bundles.set_alias("facts", "live", "2")
        assert fetched("own", before).adapters["tuned"].label == "facts/2"
        # Of another model.
        bundles.set_alias("facts", "live", "3")
        assert fetched("own", before).adapters["tuned"].label == "facts/1"

    def test_folders_take_the_place_of_versions(self, bundles: Bundles, cache: Path) -> None:
        here = located(settings(), sources(bundles, cache))
        assert (Path(here.model) / "config.json").is_file()
        assert list(here.adapters) == [FIRST]
        assert (Path(here.adapters[FIRST]) / "adapter_config.json").is_file()

    def test_settings_without_versions_have_none(self, bundles: Bundles, cache: Path) -> None:
        assert resolved("own", settings(model="Qwen/Qwen3-0.6B", adapters={}), bundles.uri, cache) is None

    @pytest.mark.parametrize(
        ("fields", "says"),
        [
            ({"model": "registry:facts/1"}, "backend own: registry:facts/1 is a version of the kind adapter"),
            ({"adapters": {"a": "registry:facts/3"}}, "facts/3 was fine-tuned from another model than base/1"),
            ({"adapters": {"a": "registry:base/1"}}, "registry:base/1 is a version of the kind language-model"),
        ],
    )
    def test_a_version_of_another_kind_or_of_another_model_is_refused(
        self, bundles: Bundles, cache: Path, fields: dict[str, object], says: str
    ) -> None:
        with pytest.raises(EngineSettingsError, match=says):
            sources(bundles, cache, **fields)

    @pytest.mark.parametrize("model", ["registry:none@champion", "registry:base@none", "registry:base/9", "registry:b"])
    def test_a_version_that_is_not_there_is_one_line(self, bundles: Bundles, cache: Path, model: str) -> None:
        with pytest.raises(RegistryError) as caught:
            sources(bundles, cache, model=model)
        assert "\n" not in str(caught.value)
