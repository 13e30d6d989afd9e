from __future__ import annotations

import asyncio

import pytest

from serve.llm.vllm.liveness import EngineStalled, Liveness


class Engine:
    """What answers a ping when it is told to."""

    def __init__(self, *, answers: bool) -> None:
        self.pings = 0
        self.answers = asyncio.Event()
        if answers:
            self.answers.set()

    async def ping(self) -> None:
        self.pings += 1
        await self.answers.wait()


async def soon() -> None:
    for _ in range(5):
        await asyncio.sleep(0)


@pytest.mark.parametrize(("answers", "seconds", "pings"), [(True, 0, 3), (False, 3600, 1)], ids=["answers", "is busy"])
def test_an_engine_is_asked_at_each_check_and_not_while_it_has_not_answered(
    answers: bool, seconds: float, pings: int
) -> None:
    async def work() -> int:
        engine = Engine(answers=answers)
        liveness = Liveness(engine.ping, seconds)
        for _ in range(3):
            liveness.check()
            await soon()
        return engine.pings

    assert asyncio.run(work()) == pings


def test_one_that_does_not_answer_in_time_has_stalled_until_it_does() -> None:
    async def work() -> None:
        engine = Engine(answers=False)
        liveness = Liveness(engine.ping, 0.01)
        liveness.check()
        await asyncio.sleep(0.02)
        for _ in range(2):
            with pytest.raises(EngineStalled, match="has not answered for 0 s"):
                liveness.check()
        engine.answers.set()
        await soon()
        liveness.check()

    asyncio.run(work())


def test_one_that_can_not_be_asked_is_not_healthy() -> None:
    async def ping() -> None:
        raise OSError("closed")

    async def work() -> None:
        liveness = Liveness(ping, 3600)
        liveness.check()
        await soon()
        with pytest.raises(OSError, match="closed"):
            liveness.check()

    asyncio.run(work())
