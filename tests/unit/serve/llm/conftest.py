from __future__ import annotations

import asyncio
from collections.abc import Iterator

import pytest
import ray
import uvloop


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
