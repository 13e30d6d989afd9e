"""A real Ray whose agent is slower to start than Ray's raylet waits for it."""

from __future__ import annotations

import os
import signal
import threading
import time

import pytest
import ray

from console import ray_cluster
from tests.integration.serve import processes

pytestmark = pytest.mark.integration


def hold_the_first_agent(pids: list[int]) -> None:
    while not pids:
        time.sleep(0.01)
        family = processes.family(os.getpid())[1:]
        pids += [pid for pid in family if any(word.endswith("/agent.py") for word in processes.command(pid))][:1]
    os.kill(pids[0], signal.SIGSTOP)


def elsewhere() -> int:
    return os.getpid()


def test_a_node_whose_raylet_gave_its_agent_up_is_started_again_and_the_first_is_stopped() -> None:
    held: list[int] = []
    holding = threading.Thread(target=hold_the_first_agent, args=(held,))
    holding.start()
    try:
        ray_cluster.connect("local", num_cpus=1, include_dashboard=False, object_store_memory=100 * 2**20)
        holding.join()
        assert ray.get(ray.remote(elsewhere).remote(), timeout=240) != os.getpid()
        family = [" ".join(processes.command(pid)) for pid in processes.family(os.getpid())]
        assert len([command for command in family if "/gcs_server " in command]) == 1
    finally:
        ray.shutdown()
        # By itself it would end once it looks for its raylet.
        os.kill(held[0], signal.SIGKILL)
