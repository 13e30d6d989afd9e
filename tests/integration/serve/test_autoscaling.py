"""A model's replicas follow the load: a second one comes while the first is busy, and goes when nobody calls."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager

import httpx
import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper

from benchmarks.ports import free_port
from tests.integration.serve.conftest import (
    RAY_COMMAND,
    Served,
    Start,
    Store,
    patient,
    register,
    write_settings,
)
from tests.unit.serve import tiny

pytestmark = pytest.mark.integration

INFER = f"/v2/models/{tiny.NAME}/infer"
DEPLOYMENT = f"model-{tiny.NAME}"
ROWS = 300
WIDTH = 1024
SECONDS = 45
"""For each way. Together they are the 90 s that this may take."""


def heavy() -> onnx.ModelProto:
    """The tiny graph with work beside it that comes to nothing: some tens of milliseconds for a hundred rows."""
    made = tiny.graph()
    weights = {
        "wide": np.full((1, WIDTH), 1e-3, np.float32),
        "square": np.full((WIDTH, WIDTH), 1e-3, np.float32),
        "zeros": np.zeros((WIDTH, 1), np.float32),
        "column": np.array([-1, 1], np.int64),
        "flat": np.array([-1], np.int64),
    }
    made.graph.initializer.extend(onnx.numpy_helper.from_array(value, name) for name, value in weights.items())
    steps = [
        helper.make_node("Reshape", ["weight", "column"], ["tall"]),
        helper.make_node("MatMul", ["tall", "wide"], ["work_0"]),
        *(helper.make_node("MatMul", [f"work_{step}", "square"], [f"work_{step + 1}"]) for step in range(6)),
        helper.make_node("MatMul", ["work_6", "zeros"], ["nothing"]),
        helper.make_node("Reshape", ["nothing", "flat"], ["nothing_flat"]),
    ]
    for place, node in enumerate(steps):
        made.graph.node.insert(place, node)
    next(node for node in made.graph.node if node.op_type == "Sum").input.append("nothing_flat")
    onnx.checker.check_model(made)
    assert {tensor.type.tensor_type.elem_type for tensor in made.graph.output} == {TensorProto.FLOAT}
    return made


@pytest.fixture(scope="module")
def served(store: Store, start: Start, tmp_path_factory: pytest.TempPathFactory) -> Served:
    register(store.uri, graph=heavy())
    scale = {"lowest": 1, "highest": 2, "up_after_seconds": 1.0, "down_after_seconds": 1.0}
    # One call at a time: a replica that runs without a pause is busy to the full.
    model = {"placement": "replica", "cpus": 0.5, "calls": 1, "batch_rows": ROWS, "autoscaling": scale}
    settings = write_settings(
        tmp_path_factory.mktemp("scaled"),
        store.uri,
        http={"port": free_port(), "max_body_bytes": 1_000_000},
        models={tiny.NAME: model},
    )
    running = start(settings, RAY_COMMAND)
    running.wait_until_ready()
    return running


@contextmanager
def clients(served: Served, number: int = 6) -> Iterator[list[int]]:
    """Clients that call as fast as they are answered; the statuses that they get."""
    statuses: list[int] = []
    stopped = threading.Event()
    body = httpx.Request("POST", served.url, json=tiny.infer_body(tiny.ROWS[:1] * ROWS)).read()

    def call() -> None:
        with httpx.Client(base_url=served.url, timeout=60, headers={"content-type": "application/json"}) as client:
            while not stopped.is_set():
                statuses.append(client.post(INFER, content=body).status_code)

    threads = [threading.Thread(target=call) for _ in range(number)]
    for thread in threads:
        thread.start()
    try:
        yield statuses
    finally:
        stopped.set()
        for thread in threads:
            thread.join()


def seconds_until(served: Served, replicas: int) -> float:
    """Seconds until there are so many processes of the model's."""
    began = time.monotonic()
    while len(served.replicas(DEPLOYMENT)) != replicas:
        assert time.monotonic() - began < SECONDS, f"no {replicas} replicas within {SECONDS} s"
        time.sleep(0.2)
    return time.monotonic() - began


def test_a_busy_model_gets_a_second_replica_and_an_idle_one_gives_it_back(
    served: Served, record_property: Callable[[str, object], None]
) -> None:
    served.all_replicas(DEPLOYMENT, 1)
    with clients(served) as statuses:
        up = seconds_until(served, 2)
        # Both at work, for as long as a process takes to be ready.
        time.sleep(5)
    assert set(statuses) == {200}
    down = seconds_until(served, 1)
    record_property("seconds", {"up": up, "down": down})
    answer = patient.post(f"{served.url}{INFER}", json=tiny.infer_body())
    np.testing.assert_allclose(answer.json()["outputs"][0]["data"], tiny.expected(), rtol=1e-5)
