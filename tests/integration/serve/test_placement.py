"""A model in replicas of its own, behind two ingress replicas: shared calls, new versions, failures.

Each version has a bias of its own, so that a score tells which version computed it; every answer is
held against the version that it names.
"""

from __future__ import annotations

import contextlib
import math
import os
import signal
import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass, field

import httpx
import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper

from serve.runtimes.onnx import OnnxRuntime
from tests.integration.serve import processes
from tests.integration.serve.conftest import RAY_COMMAND, Served, Start, Store, patient, register, write_settings
from tests.unit.serve import tiny
from training.registry import CHAMPION, MODEL_FILE, ModelVersion, Registry

pytestmark = pytest.mark.integration

INFER = f"/v2/models/{tiny.NAME}/infer"
LOAD = f"/v2/repository/models/{tiny.NAME}/load"
UNLOAD = f"/v2/repository/models/{tiny.NAME}/unload"
READY = "/v2/health/ready"
ROW = tiny.ROWS[:1]
UNBIASED = 0.715
"""The score of ``ROW`` by the graph without a bias."""

HEAVIEST = 1000
RESTART_SECONDS = 400
ANSWER_SECONDS = 120


def fragile(bias: float) -> onnx.ModelProto:
    """The tiny graph, which fails at a weight above ``HEAVIEST``: it looks it up in a table of that length."""
    made = tiny.graph(bias=bias)
    table = np.zeros(HEAVIEST, dtype=np.float32)
    made.graph.initializer.append(onnx.numpy_helper.from_array(table, "table"))
    made.graph.node.insert(0, helper.make_node("Cast", ["weight"], ["place"], to=TensorProto.INT64))
    made.graph.node.insert(1, helper.make_node("Gather", ["table", "place"], ["looked_up"]))
    total = next(node for node in made.graph.node if node.op_type == "Sum")
    total.input.append("looked_up")
    onnx.checker.check_model(made)
    return made


@dataclass
class House:
    """The Serve of this file, its store, and the bias of every version that was registered."""

    served: Served
    store: Store
    biases: dict[str, float] = field(default_factory=dict)

    @property
    def newest(self) -> str:
        return max(self.biases, key=int)

    def register(self, bias: float, graph: Callable[[float], onnx.ModelProto] | None = None) -> ModelVersion:
        version = register(self.store.uri, bias=bias, graph=graph(bias) if graph else None)
        self.biases[version.version] = bias
        return version

    def load(self) -> httpx.Response:
        return patient.post(f"{self.served.url}{LOAD}", timeout=120)

    def version_of(self, response: httpx.Response) -> str:
        """The version that an answer names; its score is held to be of that version."""
        assert response.status_code == 200, response.text
        version = response.headers["model-version"]
        document = response.json()
        assert document["model_version"] == version
        score = document["outputs"][1]["data"][0]
        assert score == pytest.approx(UNBIASED + self.biases[version], abs=1e-3), f"named {version}"
        return str(version)


@pytest.fixture(scope="module")
def house(store: Store, start: Start, tmp_path_factory: pytest.TempPathFactory) -> House:
    models = {tiny.NAME: {"placement": "replica", "replicas": 2, "cpus": 0.25, "calls": 1}}
    ingress = {"replicas": 2, "cpus": 0.25}
    settings = write_settings(tmp_path_factory.mktemp("placed"), store.uri, models=models, ingress=ingress)
    served = start(settings, RAY_COMMAND)
    served.wait_until_ready()
    # Serve calls an application with one replica of two ready already.
    served.doors()
    return House(served, store, {"1": 0.0})


def wait_for(found: Callable[[], bool], seconds: float) -> bool:
    """Whether it came true in time. A connection that fails while a replica restarts means: not yet."""
    until = time.monotonic() + seconds
    while time.monotonic() < until:
        with contextlib.suppress(httpx.HTTPError):
            if found():
                return True
        time.sleep(0.1)
    return False


@dataclass
class Crowd:
    """What clients that go on and on were answered."""

    answers: list[tuple[float, str]] = field(default_factory=list)
    """When each request was sent, and the version that answered it."""

    problems: list[str] = field(default_factory=list)

    def versions(self, since: float = 0, until: float = math.inf) -> set[str]:
        return {version for sent, version in self.answers if since <= sent < until}

    def go_on(self, answers: int = 50) -> None:
        """Return when so many more that are sent from now on have been answered."""
        began = time.monotonic()
        assert wait_for(lambda: sum(sent >= began for sent, _ in self.answers) >= answers, ANSWER_SECONDS)


@contextmanager
def clients(house: House, number: int = 8) -> Iterator[Crowd]:
    """Clients that call as fast as they are answered, on connections that they keep."""
    crowd, stopped = Crowd(), threading.Event()

    def call() -> None:
        with httpx.Client(base_url=house.served.url, timeout=120) as client:
            while not stopped.is_set():
                sent = time.monotonic()
                try:
                    version = house.version_of(client.post(INFER, json=tiny.infer_body(ROW)))
                    crowd.answers.append((sent, version))
                except (httpx.HTTPError, AssertionError) as error:
                    crowd.problems.append(repr(error))

    threads = [threading.Thread(target=call) for _ in range(number)]
    for thread in threads:
        thread.start()
    try:
        yield crowd
    finally:
        stopped.set()
        for thread in threads:
            thread.join()


def test_it_answers_what_the_model_in_the_ingress_s_own_process_answers(house: House) -> None:
    runtime = OnnxRuntime()
    runtime.load(house.store.stored(MODEL_FILE, house.store.version.run_id), 1)
    arrays = {
        name: np.array([np.nan if value is None else value for value in values], dtype=np.float32)
        if name in ("weight", "hour")
        else np.array([value or "" for value in values], dtype=object)
        for name, values in tiny.columns().items()
    }
    here = runtime.predict(arrays, ["probability", "score"])
    there = patient.post(f"{house.served.url}{INFER}", json=tiny.infer_body()).json()["outputs"]
    assert [output["name"] for output in there] == list(here)
    for output in there:
        np.testing.assert_allclose(output["data"], here[output["name"]], rtol=1e-6)
    np.testing.assert_allclose(there[0]["data"], tiny.expected(), rtol=1e-6)


def test_concurrent_requests_share_calls(house: House) -> None:
    def runs() -> tuple[float, float]:
        samples = house.served.metrics()
        # Not the histogram's own sum: Ray makes one up from the middles of its buckets.
        kinds = ("ray_ingress_rows_total", "ray_ingress_run_seconds_count")
        requests, count = (sum(sample.value for sample in samples if sample.name == kind) for kind in kinds)
        return requests, count

    def call(_: int) -> None:
        with httpx.Client(base_url=house.served.url, timeout=60) as client:
            for _ in range(10):
                house.version_of(client.post(INFER, json=tiny.infer_body(ROW)))

    with ThreadPoolExecutor(24) as pool:
        list(pool.map(call, range(24)))
    # One row each, and those of the tests before.
    assert wait_for(lambda: runs()[0] >= 240, 60), runs()
    assert runs()[1] < 240


def test_a_new_champion_takes_over_under_load_and_no_request_is_lost(house: House) -> None:
    old = house.newest
    new = house.register(bias=2.0, graph=fragile).version
    with clients(house) as crowd:
        crowd.go_on()
        answered = house.load()
        loaded = time.monotonic()
        crowd.go_on()
    assert (answered.status_code, answered.json()) == (200, {}), answered.text
    assert crowd.problems == []
    assert crowd.versions(until=loaded) == {old, new}
    # Those on their way when the load was answered are of either version; whoever asked afterwards has the new one.
    assert crowd.versions(since=loaded) == {new}
    assert len(crowd.answers) > 100


def test_one_bad_row_fails_its_own_request_alone_while_others_run(house: House) -> None:
    if house.biases[house.newest] != 2.0:
        house.register(bias=2.0, graph=fragile)
        house.load()
    bad = [row | {"weight": HEAVIEST + 1.0} for row in ROW]
    bodies = [tiny.infer_body(bad if number == 8 else ROW) for number in range(17)]
    with ThreadPoolExecutor(17) as pool:
        for _ in range(5):
            answers = list(pool.map(lambda body: patient.post(f"{house.served.url}{INFER}", json=body), bodies))
            refused = answers.pop(8)
            assert refused.status_code == 503
            assert "failed at this request" in refused.json()["error"]
            assert {house.version_of(answer) for answer in answers} == {house.newest}


def test_both_ingress_replicas_answer_from_the_same_version_and_say_so(house: House) -> None:
    doors = house.served.doors()
    answers = [patient.post(f"{door}{INFER}", json=tiny.infer_body(ROW)) for door in doors * 5]
    assert len({house.version_of(answer) for answer in answers}) == 1
    index = [patient.post(f"{door}/v2/repository/index").json() for door in doors]
    assert index[0] == index[1]


def test_a_version_whose_artifact_was_changed_is_refused_and_the_old_one_goes_on(house: House) -> None:
    old = house.newest
    broken = house.register(bias=9.0)
    file = house.store.stored(MODEL_FILE, broken.run_id)
    content = bytearray(file.read_bytes())
    content[len(content) // 2] ^= 1
    file.write_bytes(bytes(content))
    try:
        with clients(house) as crowd:
            answered = house.load()
            crowd.go_on()
        assert answered.status_code == 503
        assert answered.json()["error"].startswith(f"model {tiny.NAME} failed")
        assert crowd.problems == []
        assert crowd.versions() == {old}
    finally:
        Registry(house.store.uri).set_alias(tiny.NAME, CHAMPION, old)
        del house.biases[broken.version]
    assert house.load().status_code == 200
    assert house.version_of(patient.post(f"{house.served.url}{INFER}", json=tiny.infer_body(ROW))) == old


def test_an_unloaded_model_is_not_ready_at_any_replica_until_it_is_loaded_again(house: House) -> None:
    doors = house.served.doors()
    with clients(house, 2) as crowd:
        assert patient.post(f"{house.served.url}{UNLOAD}").status_code == 200
        for door in doors:
            refused = patient.post(f"{door}{INFER}", json=tiny.infer_body(ROW))
            assert (refused.status_code, refused.headers["retry-after"]) == (503, "1")
            assert "is not ready" in refused.json()["error"]
            assert patient.get(f"{door}{READY}").status_code == 503
            (entry,) = patient.post(f"{door}/v2/repository/index").json()
            assert (entry["state"], entry["reason"]) == ("UNAVAILABLE", "unloaded")
        assert patient.get(f"{house.served.url}{READY}").status_code == 503
        assert house.load().status_code == 200
    # Never anything but the model's answer or the refusal: no 404, no 500.
    assert [problem for problem in crowd.problems if "is not ready" not in problem] == []
    for door in doors:
        assert house.version_of(patient.post(f"{door}{INFER}", json=tiny.infer_body(ROW))) == house.newest
        assert patient.get(f"{door}{READY}").status_code == 200


def test_a_new_champion_takes_over_though_the_process_where_replicas_agree_was_just_lost(house: House) -> None:
    old = house.newest
    new = house.register(bias=4.0, graph=fragile).version
    hub = processes.only(house.served.process.pid, "ray::Hub")
    with clients(house, 4) as crowd:
        crowd.go_on()
        os.kill(hub, signal.SIGKILL)
        answered = house.load()
        loaded = time.monotonic()
        crowd.go_on()
    assert answered.status_code == 200, answered.text
    assert crowd.problems == []
    assert crowd.versions(until=loaded) == {old, new}
    assert crowd.versions(since=loaded) == {new}


@pytest.mark.parametrize("deployment", [f"model-{tiny.NAME}", "ingress"])
def test_a_killed_replica_comes_up_again_with_the_version_loaded_last(house: House, deployment: str) -> None:
    if house.newest == "1":
        house.register(bias=2.0, graph=fragile)
        house.load()
    before = house.served.all_replicas(deployment, 2)
    killed = min(before)
    with clients(house, 4) as crowd:
        crowd.go_on()
        os.kill(killed, signal.SIGKILL)
        assert wait_for(lambda: len(house.served.replicas(deployment).keys() - before.keys()) == 1, RESTART_SECONDS)
        if deployment == "ingress":
            assert wait_for(lambda: all(served_by(door) for door in house.served.doors()), RESTART_SECONDS)
        time.sleep(2)
    assert crowd.versions() == {house.newest}
    # The connections of the killed one break; HAProxy repeats what got no answer.
    assert crowd.problems == []
    house.served.all_replicas(deployment, 2)
    for door in house.served.doors():
        versions = {house.version_of(patient.post(f"{door}{INFER}", json=tiny.infer_body(ROW))) for _ in range(20)}
        assert versions == {house.newest}


def test_an_ingress_replica_that_starts_while_the_model_is_unloaded_says_so_and_can_load_it(house: House) -> None:
    assert patient.post(f"{house.served.url}{UNLOAD}").status_code == 200
    before = house.served.all_replicas("ingress", 2)
    os.kill(min(before), signal.SIGKILL)
    started: list[str] = []

    def answers() -> bool:
        found = house.served.replicas("ingress")
        started[:] = [f"http://{found[pid]}" for pid in found.keys() - before.keys() if found[pid]]
        return bool(started) and patient.get(f"{started[0]}/v2/health/live").status_code == 200

    assert wait_for(answers, RESTART_SECONDS)
    refused = patient.post(f"{started[0]}{INFER}", json=tiny.infer_body(ROW))
    assert refused.status_code == 503, refused.text
    assert patient.post(f"{started[0]}{LOAD}", timeout=120).status_code == 200
    for door in house.served.doors():
        assert house.version_of(patient.post(f"{door}{INFER}", json=tiny.infer_body(ROW))) == house.newest


def served_by(door: str) -> bool:
    return patient.get(f"{door}{READY}").status_code == 200
