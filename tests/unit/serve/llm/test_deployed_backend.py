"""What an ingress process knows of where a backend runs."""

from __future__ import annotations

import asyncio
import math
import threading

import pytest

from serve.llm.deployed import backend as module
from serve.llm.deployed.backend import DeployedBackend
from serve.llm.deployed.generations import State


def test_what_was_found_after_nobody_waited_any_more_is_not_taken_for_what_is_now(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    slow = threading.Event()

    def states(_deployment: str) -> dict[str, State]:
        if slow.is_set():
            return {}
        slow.wait(30)
        return {"default": State("RUNNING", 1, "", 0)}

    monkeypatch.setattr(module, "states", states)
    monkeypatch.setattr(module, "STATE_SECONDS", 0.05)

    async def check() -> None:
        backend = DeployedBackend("own", "vllm-own", application="default")
        assert not await backend.ready()
        slow.set()
        while (lookup := backend._lookup) is not None and not lookup.done():  # noqa: ASYNC110
            await asyncio.sleep(0.01)
        # It answered then, and has gone long since.
        monkeypatch.setattr(module, "STATE_SECONDS", 30)
        backend._looked = -math.inf
        assert not await backend.ready()

    asyncio.run(check())
