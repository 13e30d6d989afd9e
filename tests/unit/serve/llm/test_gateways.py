"""How many ingress replicas there are, for what each of them takes the others to do."""

from __future__ import annotations

import asyncio
from typing import Any, cast

import pytest

from serve.hub import ABSENT_SECONDS, Hub, OwnHub
from serve.llm.backend import Backend
from serve.llm.language import Language
from serve.llm.ledger.cost import AcceleratorPricing, AcceleratorTime
from serve.llm.ledger.ledger import LEAST_PROCESSES, UsageLedger
from serve.llm.router import Priced, Router
from tests.ledgers import SqlitePlace
from tests.unit.serve.llm.uses import Seconds


def test_those_that_said_so_lately_are_there() -> None:
    clock = Seconds()
    hub = Hub(clock)
    assert [hub.present(name) for name in ("a", "b", "a", "c")] == [1, 2, 2, 3]
    clock.now = ABSENT_SECONDS
    assert hub.present("a") == 3
    clock.now += 1
    assert hub.present("a") == 1


def test_an_ingress_of_one_replica_is_alone() -> None:
    assert asyncio.run(OwnHub("a").present()) == 1


def test_they_share_the_time_of_accelerators_and_the_ledger_but_not_an_encoder_of_their_own(tmp_path: Any) -> None:
    clock = Seconds()
    shared, own = AcceleratorTime(1, 4, clock), AcceleratorTime(clock=clock)
    backend = cast("Backend", None)
    backends = {
        "engine": Priced(backend, AcceleratorPricing(3600.0, shared, 30), shared),
        "encoder": Priced(backend, AcceleratorPricing(3600.0, own, 30)),
    }
    ledger = UsageLedger(SqlitePlace(tmp_path).store())
    language = Language(cast("Router", None), ledger, backends)
    shares = [shared.begin(), own.begin()]
    language.shared_by(1)
    clock.now = 100.0
    language.shared_by(5)
    clock.now = 150.0
    assert [share.end() for share in shares] == [pytest.approx(100 + 10), pytest.approx(150)]
    assert ledger._processes == 5
    language.shared_by(1)
    assert ledger._processes == LEAST_PROCESSES
