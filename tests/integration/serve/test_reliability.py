"""Processes that die, and more load than there is room for: what clients see of it."""

from __future__ import annotations

import asyncio
import contextlib
import json
import os
import re
import signal
import statistics
import threading
import time
from collections import Counter
from collections.abc import Callable
from pathlib import Path

import httpx
import pytest

from benchmarks.paired import ratio
from benchmarks.ports import free_port
from tests.integration.serve import processes
from tests.integration.serve.conftest import OUR_COMMAND, STOPPED_SECONDS, Served, Start, Store, patient, write_settings
from tests.integration.serve.load import Outcome, hammer, hammer_from_elsewhere, post
from tests.unit.serve import tiny

pytestmark = pytest.mark.integration

REQUEST = post(f"/v2/models/{tiny.NAME}/infer", json.dumps(tiny.infer_body()).encode())
CLIENTS = 16
RESTART_SECONDS = 400
REFUSED_SECONDS = 0.05
THINK_SECONDS = 0.1
LEAST_SHARE = 0.8
LEAST_ROUNDS = 3
MOST_ROUNDS = 9


@pytest.fixture(scope="module")
def served(store: Store, start: Start, tmp_path_factory: pytest.TempPathFactory) -> Served:
    folder = tmp_path_factory.mktemp("reliable")
    ingress = {"replicas": 2, "cpus": 0.25, "max_ongoing_requests": 16}
    # A quick machine has room for ten times the clients within the time that a request may wait by default.
    http = {"port": free_port(), "queue_seconds": 0.005}
    running = start(write_settings(folder, store.uri, ingress=ingress, http=http), OUR_COMMAND)
    running.wait_until_ready()
    wait_until_both_serve(running)
    return running


def wait_for(found: Callable[[], bool]) -> bool:
    until = time.monotonic() + RESTART_SECONDS
    while time.monotonic() < until:
        # A replica that is about to listen, or to die, breaks the connection.
        with contextlib.suppress(httpx.HTTPError):
            if found():
                return True
        time.sleep(0.2)
    return False


def wait_until_both_serve(served: Served) -> None:
    """A replica is a process before it is ready, and ready before HAProxy knows it."""
    assert wait_for(lambda: all(patient.get(f"{door}/v2/health/ready").status_code == 200 for door in served.doors()))
    addresses = [re.escape(door.removeprefix("http://")) for door in served.doors()]
    processes.in_haproxy_config(served.process.pid, "|".join(addresses), len(addresses))
    # For HAProxy's own look at each.
    time.sleep(1)


def during(served: Served, seconds: float, disturb: Callable[[], object], after: float = 1.0) -> list[Outcome]:
    """What clients were answered while something was done a second in."""
    timer = threading.Timer(after, disturb)
    timer.start()
    try:
        return asyncio.run(hammer(served.port, REQUEST, CLIENTS, seconds))
    finally:
        timer.join()


def shown(outcomes: list[Outcome]) -> dict[str, int]:
    return Counter(f"{outcome.status} {outcome.body[:80]}{outcome.problem}" for outcome in outcomes)


def test_no_request_is_lost_when_one_of_two_ingress_replicas_is_killed(served: Served) -> None:
    before = served.all_replicas("ingress", 2)
    outcomes = during(served, 10, lambda: os.kill(min(before), signal.SIGKILL))
    assert len(outcomes) > 200
    assert {outcome.status for outcome in outcomes} == {200}, shown(outcomes)
    wait_until_both_serve(served)


def test_without_any_replica_clients_are_answered_cleanly_and_it_recovers_by_itself(served: Served) -> None:
    before = served.all_replicas("ingress", 2)

    def kill_all() -> None:
        for pid in before:
            os.kill(pid, signal.SIGKILL)

    outcomes = during(served, 15, kill_all)
    bad = [outcome for outcome in outcomes if outcome.status != 200 and not outcome.clean]
    # Where a kept connection to a replica breaks and there is no other to ask, HAProxy may close the client's
    # as well, without an answer, for it to ask again (RFC 9112, section 9.3.1): once for each client at most.
    assert {outcome.problem.partition(":")[0] for outcome in bad} <= {"EOFError"}, shown(bad)
    assert len(bad) <= CLIENTS, shown(bad)
    again: list[Outcome] = []

    def recovered() -> bool:
        again[:] = asyncio.run(hammer(served.port, REQUEST, 2, 1))
        return {outcome.status for outcome in again} == {200}

    wait_until_both_serve(served)
    assert wait_for(recovered), shown(again)


def test_ten_times_the_clients_get_as_many_answers_and_the_rest_is_refused_at_once(served: Served) -> None:
    """The generator is a process of its own; an answer's time ends at the kernel's stamp of its arrival."""
    good: dict[int, list[float]] = {CLIENTS: [], 10 * CLIENTS: []}
    refused: list[Outcome] = []
    waited: list[float] = []

    def holds() -> bool:
        return waited != [] and ratio(good[10 * CLIENTS], good[CLIENTS]).median >= LEAST_SHARE

    # Three rounds on a machine of its own; where others work beside, what they take is not the same in each.
    while len(good[CLIENTS]) < LEAST_ROUNDS or (len(good[CLIENTS]) < MOST_ROUNDS and not holds()):
        for clients, rates in good.items():
            outcomes = asyncio.run(hammer_from_elsewhere(served.port, REQUEST, clients, 3, think=THINK_SECONDS))
            rates.append(sum(outcome.status == 200 for outcome in outcomes) / 3)
            turned_away = [outcome for outcome in outcomes if outcome.status != 200]
            refused += turned_away
            if turned_away and clients > CLIENTS:
                waited.append(statistics.median(outcome.seconds for outcome in turned_away))
    assert holds(), (str(ratio(good[10 * CLIENTS], good[CLIENTS])), good, shown(refused))
    assert all(outcome.clean for outcome in refused), shown(refused)
    assert min(waited) < REFUSED_SECONDS, waited


def test_ctrl_c_under_load_ends_soon_and_what_was_begun_is_answered(served: Served) -> None:
    haproxy = processes.haproxy_config(served.process.pid)
    took: list[float] = []
    outcomes = during(served, 4, lambda: took.append(served.stop(signal.SIGINT)))
    assert took[0] < STOPPED_SECONDS
    answered = [outcome for outcome in outcomes if outcome.status == 200]
    assert answered
    # From then on nobody listens: a client that comes later is told so by its own connection.
    lost = [outcome for outcome in outcomes if outcome.status != 200 and not outcome.clean]
    stopped = max(outcome.at for outcome in answered)
    begun = [outcome for outcome in lost if outcome.at < stopped - 0.5]
    assert begun == [], shown(begun)
    assert processes.left_with(haproxy) == []
    assert not Path(haproxy).exists()
