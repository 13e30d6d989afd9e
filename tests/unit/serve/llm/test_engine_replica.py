"""What Serve asks of an engine's replica."""

from __future__ import annotations

import asyncio
from types import SimpleNamespace

import pytest

from serve.llm.deployed.replica import EngineReplica


def test_a_replica_whose_engine_died_holds_no_channel_that_its_replacement_would_wait_for() -> None:
    async def check_health() -> None:
        raise RuntimeError("dead")

    closed: list[bool] = []
    replica = object.__new__(EngineReplica)
    replica._engine = SimpleNamespace(check_health=check_health, shutdown=lambda: None)  # type: ignore[assignment]
    replica._channels = SimpleNamespace(close=lambda: closed.append(True))  # type: ignore[assignment]
    with pytest.raises(RuntimeError, match="dead"):
        asyncio.run(replica.check_health())
    assert closed == [True]
