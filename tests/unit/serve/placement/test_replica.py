"""A call to the deployment of a model, and what becomes of its failures."""

from __future__ import annotations

import asyncio
import math
from types import SimpleNamespace
from typing import Any

import grpc
import pytest
from grpc.aio import AioRpcError, Metadata

from serve.placement.replica import _call
from serve.runtimes.base import RuntimeFailure


class Failing:
    """A handle whose replica fails with what can't be passed on."""

    @property
    def predict(self) -> Any:
        return SimpleNamespace(remote=self._remote)

    async def _remote(self, *_: Any) -> Any:
        raise AioRpcError(grpc.StatusCode.UNKNOWN, Metadata(), Metadata(), details="can't pickle SomeError")


def test_a_failure_that_cannot_be_passed_on_is_the_runtime_s_and_says_why() -> None:
    with pytest.raises(RuntimeFailure, match="can't pickle SomeError"):
        asyncio.run(_call("parcels", "1", Failing(), {}, [], math.inf))
