"""Versions change on every replica together, or on none; what is lost is learned again."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from unittest import mock

import pytest

from console import UserError
from serve.gateway.errors import ModelFailed
from serve.hub import Hub, OwnHub
from serve.releases.follower import Follower
from serve.releases.repository import SharedRepository
from serve.releases.wishes import Progress, Wish, Wishes
from training.registry import ModelVersion

MODEL = "parcels"


def version(number: int) -> ModelVersion:
    return ModelVersion(MODEL, str(number), "run", "model", "contract")


class Replica:
    """Follows wishes as a real one does, and writes down what it did in one diary for all."""

    def __init__(self, name: str, hub: Hub, diary: list[str], using: ModelVersion | None) -> None:
        self.name = name
        self.diary = diary
        self.using: dict[str, ModelVersion | None] = {MODEL: using}
        self.problem: Exception | None = None
        client = OwnHub(name)
        client._hub = hub
        self.client = client
        self.follower = Follower({(MODEL, "host"): self.host, (MODEL, "front"): self.front}, client.tell)

    async def host(self, _model: str, wish: Wish) -> None:
        if self.problem is not None and len(wish.hold) > 1:
            raise self.problem
        self.diary.append(f"{self.name} holds {'+'.join(held.version for held in wish.hold) or 'nothing'}")

    async def front(self, _model: str, wish: Wish) -> None:
        if self.using[MODEL] != wish.use:
            self.using[MODEL] = wish.use
            self.diary.append(f"{self.name} uses {wish.use.version if wish.use else 'nothing'}")

    def repository(self, wanted: Callable[[], ModelVersion]) -> SharedRepository:
        async def resolve(_: str) -> ModelVersion:
            return wanted()

        return SharedRepository(self.client, resolve, self.using.get)


def during(replicas: list[Replica], work: Callable[[], object]) -> None:
    async def run() -> None:
        following = [asyncio.create_task(replica.follower.run(0.01)) for replica in replicas]
        await asyncio.sleep(0.03)
        try:
            await asyncio.wait_for(work(), 60)  # type: ignore[arg-type]
            # So many turns, and not a time: what holds one of the tasks up holds up all.
            for _ in range(10):
                await asyncio.sleep(0.01)
        finally:
            for task in following:
                task.cancel()

    # Nobody is gone here, however long the machine keeps all of them from telling.
    with mock.patch("serve.releases.wishes.FORGET_SECONDS", 60):
        asyncio.run(run())


def three(using: ModelVersion | None = None) -> tuple[list[Replica], list[str]]:
    hub, diary = Hub(), list[str]()
    return [Replica(name, hub, diary, using) for name in "abc"], diary


def test_no_replica_answers_from_a_version_before_all_hold_it_and_none_loses_one_that_is_still_used() -> None:
    replicas, diary = three(version(1))
    during(replicas, lambda: replicas[0].repository(lambda: version(2)).load(MODEL))
    steps = [[f"{name} {step}" for name in "abc"] for step in ("holds 1+2", "uses 2", "holds 2")]
    order = [diary.index(entry) for step in steps for entry in step]
    assert max(order[:3]) < min(order[3:6])
    assert max(order[3:6]) < min(order[6:])


def test_a_replica_that_cannot_load_a_version_keeps_all_of_them_from_it() -> None:
    replicas, diary = three(version(1))
    replicas[1].problem = RuntimeError("out of memory")

    async def load() -> None:
        with pytest.raises(ModelFailed):
            await replicas[0].repository(lambda: version(2)).load(MODEL)

    during(replicas, load)
    assert not any("uses 2" in entry for entry in diary)
    assert [replica.using[MODEL] for replica in replicas] == [version(1)] * 3
    assert diary[-1].endswith("holds 1")


def test_an_alias_that_cannot_be_resolved_changes_nothing() -> None:
    replicas, diary = three(version(1))

    def missing() -> ModelVersion:
        raise UserError("no alias champion")

    async def load() -> None:
        with pytest.raises(ModelFailed):
            await replicas[0].repository(missing).load(MODEL)

    during(replicas, load)
    assert diary == []


def test_unloading_stops_every_answer_before_the_model_s_memory_goes() -> None:
    replicas, diary = three(version(1))
    during(replicas, lambda: replicas[2].repository(lambda: version(1)).unload(MODEL))
    assert max(diary.index(f"{name} uses nothing") for name in "abc") < min(
        diary.index(f"{name} holds nothing") for name in "abc"
    )


def test_a_replica_that_is_killed_is_not_waited_for() -> None:
    wishes = Wishes()
    roles = [(MODEL, "front")]
    for name in ("a", "b"):
        wishes.tell(name, roles, [], now=0.0)  # type: ignore[arg-type]
    wish = wishes.wish(MODEL, [version(1)], version(1))
    wishes.tell("a", roles, [Progress(MODEL, "front", wish)], now=1.0)  # type: ignore[arg-type]
    assert wishes.outcome(wish, MODEL, "front", now=1.0).pending == ("b",)
    assert wishes.outcome(wish, MODEL, "front", now=3.5).pending == ()


def test_a_new_hub_learns_from_the_replicas_what_was_wished_last() -> None:
    before, after = Wishes(), Wishes()
    before.wish(MODEL, [version(1)], version(1))
    wish = before.wish(MODEL, [version(2)], version(2))
    told = [Progress(MODEL, "front", wish)]
    assert after.tell("a", [(MODEL, "front")], told, now=0.0) == {MODEL: wish}
    assert after.tell("new", [(MODEL, "front")], [], now=0.1) == {MODEL: wish}
    assert after.wish(MODEL, [version(3)], version(3)).number > wish.number


def test_a_replica_that_takes_long_to_load_a_version_goes_on_telling_and_is_waited_for() -> None:
    told: list[int] = []
    loaded: list[str] = []
    wish = Wish(1, (version(2),), version(2))

    async def tell(_roles: object, progress: list[Progress]) -> dict[str, Wish]:
        told.append(len(progress))
        return {MODEL: wish}

    async def slow(_model: str, _wish: Wish) -> None:
        async with asyncio.timeout(20):
            while len(told) <= 5:  # noqa: ASYNC110
                await asyncio.sleep(0.01)
        loaded.append("2")

    follower = Follower({(MODEL, "host"): slow}, tell)  # type: ignore[arg-type]
    asyncio.run(follower.during(asyncio.sleep(0), interval=0.01))
    assert loaded == ["2"]
    assert len(told) > 5
    assert told[-1] == 1
