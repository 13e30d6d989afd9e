from __future__ import annotations

import asyncio
from collections.abc import Iterator

import pytest
import ray
import uvloop

from serve import sqlite as sqlite_module
from serve.llm.ledger import postgresql as postgresql_module


@pytest.fixture(params=[asyncio.DefaultEventLoopPolicy, uvloop.EventLoopPolicy], ids=["asyncio", "uvloop"])
def event_loops(request: pytest.FixtureRequest) -> Iterator[None]:
    """Both kinds that Ray's workers may have."""
    asyncio.set_event_loop_policy(request.param())
    yield
    asyncio.set_event_loop_policy(None)


@pytest.fixture
def in_ray(monkeypatch: pytest.MonkeyPatch) -> None:
    """As an ingress process is."""
    monkeypatch.setattr(ray, "is_initialized", lambda: True)


@pytest.fixture
def impatient(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sqlite_module, "LOCK_SECONDS", 0.05)
    monkeypatch.setattr(postgresql_module, "LOCK_SECONDS", 0.05)
