"""A whole model's alias moves: which generation is started, which is asked, and when the one before it is ended."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest
from ray.serve._private.common import ReplicaState

from serve.llm.deployed.follower import (
    AGAIN_SECONDS,
    MOST_DRAIN_SECONDS,
    SETTLE_SECONDS,
    Followed,
    Following,
    StartFailed,
)
from serve.llm.deployed.generations import ANSWERING, Generation, State, generations, serving
from serve.llm.deployed.sources import Sources, resolved
from serve.llm.settings import Vllm
from training.bundle import BASE_DIGEST_TAG, Bundles
from training.registry import client, local_uri

NAME = "own"


def up(answering: int = 1) -> State:
    return State("RUNNING", answering, "", time.time())


def coming(seconds: float = 0, message: str = "") -> State:
    return State("DEPLOYING", 0, message, time.time() - seconds)


class Runs:
    """Serve, as far as a follower sees it. ``started``: the versions of all that it was ever told to start."""

    def __init__(self) -> None:
        self.now: dict[Generation, State] = {}
        self.started: list[tuple[str, str]] = []
        self.works = 0

    def found(self) -> dict[Generation, State]:
        return dict(self.now)

    def start(self, generation: Generation, sources: Sources) -> None:
        assert sources.model is not None
        [adapter] = sources.adapters.values()
        self.started.append((sources.label, adapter.label))
        self.now[generation] = coming()

    def delete(self, generation: Generation) -> None:
        self.now[generation] = replace(self.now[generation], status="DELETING")

    async def running(self, generation: Generation) -> int:
        return self.works

    def numbers(self) -> list[int]:
        return [each.number for each, state in self.now.items() if not state.going]

    def become(self, state: State) -> None:
        """What becomes of the newest."""
        self.now[max(self.now, key=lambda each: each.number)] = state


class Clock:
    now = 0.0

    def __call__(self) -> float:
        return self.now


@pytest.fixture(scope="module")
def registry(tmp_path_factory: pytest.TempPathFactory) -> Bundles:
    """A model's versions 1 to 3, of which the last has other bytes than were registered, and an adapter of each kind:
    version 1 tells of no base, and 2 of the model's version 2.
    """
    folder = tmp_path_factory.mktemp("registry")
    found = Bundles(local_uri(folder))
    mlflow = client(found.uri, create=True)
    experiment = mlflow.create_experiment("base", artifact_location=(folder / "artifacts").as_uri())
    run_id = mlflow.create_run(experiment).info.run_id
    (folder / "files").mkdir()
    for number in (1, 2, 3):
        (folder / "files" / "config.json").write_text(f'{{"number": {number}}}')
        found.publish("base", folder / "files", "language-model", run_id)
    [tampered] = [each for each in (folder / "artifacts").rglob("config.json") if "3" in each.read_text()]
    tampered.write_text('{"number": 4}')
    (folder / "adapter").mkdir()
    (folder / "adapter" / "adapter_config.json").write_text('{"r": 8}')
    found.set_alias("base", "live", "2")
    of_second = {BASE_DIGEST_TAG: found.resolve("base", "live").manifest_digest}
    for tags in ({}, of_second):
        found.publish("facts", folder / "adapter", "adapter", run_id, tags)
    return found


@pytest.fixture(autouse=True)
def first(registry: Bundles) -> None:
    registry.set_alias("base", "live", "1")
    registry.set_alias("facts", "live", "1")


class Scene:
    """A backend that is followed. ``move``: what the model's alias names."""

    def __init__(self, registry: Bundles, cache: Path) -> None:
        self.registry = registry
        self.runs = Runs()
        self.clock = Clock()
        self.settings = Vllm.model_validate(
            {"kind": "vllm", "model": "registry:base@live", "adapters": {"tuned": "registry:facts@live"}}
        )
        sources = resolved(NAME, self.settings, registry.uri, cache)
        assert sources is not None
        self.followed = Followed(NAME, self.settings, sources)
        self.anew()

    def anew(self) -> None:
        """As a follower that died comes back."""
        self.following = Following(self.followed, self.runs, "deployed", clock=self.clock)

    def move(self, version: str) -> None:
        self.registry.set_alias("base", "live", version)

    def tick(self, times: int = 1) -> bool:
        return [asyncio.run(self.following.tick()) for _ in range(times)][-1]

    def pass_by(self, seconds: float) -> None:
        self.clock.now += seconds

    @property
    def asked(self) -> int:
        """The number of the generation that requests go to."""
        found = serving({each: state for each, state in self.runs.now.items() if not state.going})
        assert found is not None
        return found.number


@pytest.fixture
def scene(registry: Bundles, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> Scene:
    """One that answers from the first version."""
    made = Scene(registry, tmp_path / "cache")
    assert not made.tick()
    made.runs.become(up())
    assert made.tick()
    return made


Said = Callable[[], list[str]]


@pytest.fixture
def said(caplog: pytest.LogCaptureFixture) -> Said:
    return lambda: [record.getMessage() for record in caplog.records if record.levelname in {"WARNING", "ERROR"}]


class TestFollowed:
    def test_the_version_of_the_start_is_the_first_one(self, scene: Scene) -> None:
        assert scene.runs.started == [("base/1", "facts/1")]
        scene.tick(5)
        assert scene.runs.numbers() == [1]

    def test_a_second_one_is_started_beside_the_first_which_answers_until_it_is_up(self, scene: Scene) -> None:
        scene.move("2")
        scene.tick(3)
        assert scene.runs.numbers() == [1, 2]
        assert scene.asked == 1
        scene.runs.become(up())
        scene.tick()
        assert scene.asked == 2
        assert scene.runs.started == [("base/1", "facts/1"), ("base/2", "facts/1")]

    def test_the_one_before_it_is_ended_when_its_last_request_has(self, scene: Scene) -> None:
        scene.move("2")
        scene.tick()
        scene.runs.become(up())
        scene.runs.works = 1
        scene.tick()
        scene.pass_by(SETTLE_SECONDS)
        scene.tick()
        assert scene.runs.numbers() == [1, 2]
        scene.runs.works = 0
        scene.tick()
        assert scene.runs.numbers() == [2]

    def test_not_before_all_know_where_to_ask(self, scene: Scene) -> None:
        scene.move("2")
        scene.tick()
        scene.runs.become(up())
        scene.tick()
        scene.pass_by(SETTLE_SECONDS - 1)
        scene.tick()
        assert scene.runs.numbers() == [1, 2]

    def test_nor_after_a_request_without_an_end(self, scene: Scene) -> None:
        scene.move("2")
        scene.tick()
        scene.runs.become(up())
        scene.runs.works = 1
        scene.tick()
        scene.pass_by(MOST_DRAIN_SECONDS)
        scene.tick()
        assert scene.runs.numbers() == [2]

    def test_an_alias_that_moves_twice_ends_at_the_newest(self, scene: Scene) -> None:
        scene.move("2")
        scene.tick()
        scene.runs.become(up())
        scene.move("1")
        scene.tick()
        scene.move("2")
        scene.tick(3)
        assert scene.runs.numbers() == [1, 2]
        assert scene.asked == 2

    def test_an_alias_that_moves_back_while_the_other_is_started_starts_none(self, scene: Scene) -> None:
        scene.move("2")
        scene.tick()
        scene.move("1")
        scene.tick(3)
        assert scene.runs.numbers() == [1]
        assert len(scene.runs.started) == 2

    def test_a_follower_that_comes_back_goes_on_where_it_was(self, scene: Scene) -> None:
        scene.move("2")
        scene.tick()
        scene.anew()
        scene.tick(2)
        scene.runs.become(up())
        scene.anew()
        scene.tick(2)
        assert scene.runs.numbers() == [1, 2]
        assert scene.asked == 2

    def test_a_service_that_is_deployed_anew_starts_its_engines_anew(self, scene: Scene) -> None:
        scene.following = Following(scene.followed, scene.runs, "deployed again", clock=scene.clock)
        assert scene.tick(2)
        assert scene.runs.numbers() == [1, 2]

    def test_one_whose_replica_died_is_not_replaced(self, scene: Scene) -> None:
        scene.runs.become(State("UNHEALTHY", 0, "", time.time() - 1e6))
        assert not scene.tick(2)
        assert scene.runs.numbers() == [1]

    def test_one_that_does_not_answer_just_then_is_not_ended_for_another(self, scene: Scene) -> None:
        scene.runs.become(State("DEPLOYING", 0, "", time.time()))
        scene.move("2")
        assert not scene.tick(2)
        assert scene.runs.numbers() == [1, 2]

    @pytest.mark.parametrize("status", ["RUNNING", "UNHEALTHY", "DEPLOYING"])
    def test_one_that_was_up_is_not_late_while_the_one_before_it_works_on(
        self, scene: Scene, said: Said, status: str
    ) -> None:
        scene.move("2")
        scene.tick()
        scene.runs.become(up())
        scene.tick()
        # Its replica died, or Serve's controller, which finds one after the other again.
        scene.runs.become(State(status, 0, "", time.time() - 1e6))
        scene.tick(2)
        assert scene.asked == 1
        assert scene.runs.numbers() == [1, 2]
        assert said() == []


class TestRefused:
    def test_files_that_are_not_what_was_registered(self, scene: Scene, said: Said) -> None:
        scene.move("3")
        scene.tick(3)
        assert scene.runs.numbers() == [1]
        [line] = said()
        assert line == "base version 3: config.json is not what was registered; what answers goes on"

    def test_what_can_t_be_started_is_tried_once_until_the_alias_has_moved(self, scene: Scene, said: Said) -> None:
        scene.move("2")
        scene.tick()
        scene.runs.become(replace(coming(message="failed 3 times:\n\nno such model"), status="DEPLOY_FAILED"))
        scene.tick(2)
        scene.pass_by(1e6)
        scene.tick(2)
        assert scene.runs.numbers() == [1]
        assert len(scene.runs.started) == 2
        [line] = said()
        assert line.endswith("base/2 can't be started beside the one that answers: no such model; what answers goes on")
        scene.move("1")
        scene.tick()
        scene.move("2")
        scene.tick()
        assert len(scene.runs.started) == 3

    def test_what_there_is_no_room_for_is_tried_again_after_a_while(self, scene: Scene, said: Said) -> None:
        scene.move("2")
        for _ in range(2):
            scene.tick()
            scene.runs.become(coming(scene.settings.start_seconds + 1, "needs 1 CPU, there is none"))
            scene.tick(3)
            assert scene.runs.numbers() == [1]
            scene.pass_by(AGAIN_SECONDS)
        assert len(scene.runs.started) == 3
        assert len(said()) == 1

    def test_a_model_that_an_adapter_is_not_of(self, scene: Scene, said: Said, registry: Bundles) -> None:
        scene.move("2")
        registry.set_alias("facts", "live", "2")
        scene.tick()
        scene.runs.become(up())
        scene.tick()
        scene.move("1")
        scene.tick(3)
        assert scene.runs.numbers() == [1, 2]
        assert scene.asked == 2
        [line] = said()
        assert line == "backend own: facts/2 was fine-tuned from another model than base/1; what answers goes on"
        registry.set_alias("facts", "live", "1")
        scene.tick()
        assert scene.runs.started[-1] == ("base/1", "facts/1")

    def test_a_registry_that_is_not_there(
        self, scene: Scene, said: Said, registry: Bundles, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        scene.move("2")
        monkeypatch.setattr(scene.following, "_bundles", Bundles("sqlite:////no/such/folder/mlflow.db"))
        assert scene.tick(3)
        assert scene.runs.numbers() == [1]
        assert len(said()) == 1

    def test_a_first_one_that_can_t_be_started_ends_the_start(self, registry: Bundles, tmp_path: Path) -> None:
        made = Scene(registry, tmp_path / "cache")
        made.tick()
        made.runs.become(replace(coming(message="no such model"), status="DEPLOY_FAILED"))
        with pytest.raises(StartFailed, match=r"backend own: base/1 can't be started: no such model"):
            made.tick()


class TestGenerations:
    def test_of_serve_s_states_of_a_replica_all_answer_but_those_before_its_start_and_after_its_end(self) -> None:
        assert {state.value for state in ReplicaState} - ANSWERING == {"STARTING", "STOPPED"}

    def test_other_applications_are_none(self) -> None:
        mine = Generation("a.b", 12, "0123456789ab")
        found = {name: up() for name in (mine.application, "default", "a.b", "b.1.0123456789ab", "a.b.0.0123456789ab")}
        assert list(generations(found, "a.b")) == [mine]

    @pytest.mark.parametrize(
        ("states", "number"),
        [
            ([up(), up()], 2),
            ([up(), coming()], 1),
            ([up(), State("DEPLOYING", 1, "", 0)], 1),
            ([up(), State("UNHEALTHY", 1, "", 0)], 2),
            ([up(), State("UNHEALTHY", 0, "", 0)], 1),
            ([State("DEPLOYING", 1, "", 0)], None),
            ([up(), State("DELETING", 1, "", 0)], 1),
            ([State("UNHEALTHY", 0, "", 0)], None),
        ],
    )
    def test_the_newest_that_is_up_and_answers_is_asked(self, states: list[State], number: int | None) -> None:
        found = serving({Generation(NAME, index, "0" * 12): state for index, state in enumerate(states, 1)})
        assert (found.number if found else None) == number
