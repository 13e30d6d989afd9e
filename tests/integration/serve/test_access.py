"""Keys, tokens and limits on a running Serve of two ingress replicas, and what its logs and metrics say of them."""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path

import httpx
import pytest

from benchmarks.ports import free_port
from serve.access.keys import issue
from serve.access.stores import open_store
from serve.limits.coordinator import LATE_SECONDS
from serve.limits.sharing import INTERVAL_SECONDS, JITTER
from tests.integration.serve import processes
from tests.integration.serve.conftest import (
    RAY_COMMAND,
    Sample,
    Served,
    Start,
    Store,
    bearer,
    keys,
    patient,
    write_settings,
)
from tests.unit.serve import tiny
from tests.unit.serve.access import issuer

pytestmark = pytest.mark.integration

INFER = f"/v2/models/{tiny.NAME}/infer"
MODEL = f"/v2/models/{tiny.NAME}"
TAKEN_UP_SECONDS = 2.0
"""Within which a running server stops taking a key that is revoked, as ``docs/access.md`` says."""

HANDED_ON_SECONDS = 16
"""Ray's processes hand their metrics on every ten seconds, and later where the machine stalls."""

METRICS_SECONDS = 120

MODEL_RATE = 400.0


@dataclass
class House:
    """The Serve of this file, the issuer it trusts, and every secret that a test sent to it."""

    served: Served
    issuer: issuer.Issuer
    admin: str
    secrets: list[str]

    @property
    def keys(self) -> str:
        return f"sqlite:///{self.served.settings.parent / 'keys.db'}"

    def create(self, name: str, *options: str) -> str:
        """A key by the command, on a Serve that runs."""
        text = keys(self.served.settings, "create", name, *options)[-1]
        self.secrets.append(text)
        return text

    def token(self, **claims: object) -> str:
        text = self.issuer.token(**claims).decode("ascii")
        self.secrets.append(text)
        return text

    def get(self, key: str, path: str = MODEL) -> httpx.Response:
        return patient.get(f"{self.served.url}{path}", headers=bearer(key), timeout=120)

    def post(self, key: str, path: str = INFER, body: object = None, **headers: str) -> httpx.Response:
        url = f"{self.served.url}{path}"
        return patient.post(url, json=body or tiny.infer_body(), headers=bearer(key) | headers, timeout=120)

    def becomes(self, key: str, status: int, path: str = MODEL, seconds: float = 60) -> None:
        """Wait until both ingress replicas answer so what is asked that late; they are asked past HAProxy."""
        doors = self.served.doors()
        began = time.monotonic()
        for door in doors:
            sent = time.monotonic()
            while patient.get(f"{door}{path}", headers=bearer(key)).status_code != status:
                assert sent - began < seconds, f"not {status} after {seconds} s"
                time.sleep(0.02)
                sent = time.monotonic()

    def ends(self, key: str, end: datetime) -> None:
        """Wait until both replicas refuse a key that ends by itself."""
        self.becomes(key, 401, seconds=(end - datetime.now(UTC)).total_seconds() + TAKEN_UP_SECONDS)
        assert datetime.now(UTC) >= end


@pytest.fixture(scope="module")
def house(store: Store, start: Start, tmp_path_factory: pytest.TempPathFactory) -> Iterator[House]:
    folder = tmp_path_factory.mktemp("guarded")
    with issuer.running() as trusted:
        settings = write_settings(
            folder,
            store.uri,
            access={
                "keys": f"sqlite:///{folder / 'keys.db'}",
                "jwt": {"jwks_url": trusted.url, "issuer": issuer.NAME, "audience": issuer.AUDIENCE},
            },
            http={"port": free_port(), "max_body_bytes": 1_000_000},
            ingress={"replicas": 2, "cpus": 0.25},
            models={tiny.NAME: {"limits": {"requests_per_second": MODEL_RATE}}},
        )
        admin = keys(settings, "create", "operations", "--admin")[-1]
        served = start(settings, RAY_COMMAND)
        served.wait_until_ready()
        served.doors()
        yield House(served, trusted, admin, [admin])


def wait_for(found: Callable[[], bool], seconds: float) -> bool:
    until = time.monotonic() + seconds
    while time.monotonic() < until:
        if found():
            return True
        time.sleep(0.1)
    return False


def test_a_new_key_works_soon_and_a_revoked_one_stops_soon(house: House) -> None:
    key = house.create("reports")
    house.becomes(key, 200)
    shown = keys(house.served.settings, "revoke", key.split("_")[1])
    assert "is revoked" in shown[0]
    house.becomes(key, 401, seconds=TAKEN_UP_SECONDS)
    refused = house.post(key)
    assert (refused.status_code, refused.headers["www-authenticate"]) == (401, "Bearer")
    assert "revoked" in refused.json()["error"]


def test_a_key_that_ends_stops_without_anybody_doing_anything(house: House) -> None:
    now = datetime.now(UTC)
    ends = now + timedelta(seconds=15)
    key, text = issue("short", models=("*",), created=now, expires=ends)
    house.secrets.append(text)
    open_store(house.keys).add(key)
    house.becomes(text, 200)
    house.ends(text, ends)
    assert "expired" in house.get(text).json()["error"]


def test_a_key_may_use_its_own_models_alone_and_load_none_without_the_admin_s_scope(house: House) -> None:
    other = house.create("letters", "--models", "letters-*")
    fitting = house.create("parcels", "--models", "parc*", "letters")
    house.becomes(other, 403)
    house.becomes(fitting, 200)
    for answer in (house.get(other), house.post(other), house.post(other, "/invocations", {"inputs": tiny.columns()})):
        assert answer.status_code == 403, answer.text
    for action in ("load", "unload"):
        path = f"/v2/repository/models/{tiny.NAME}/{action}"
        assert house.post(fitting, path, {"parameters": {}}).status_code == 403
    assert house.post(fitting).status_code == 200
    assert house.post(house.admin, f"/v2/repository/models/{tiny.NAME}/load", {"parameters": {}}).status_code == 200


def test_a_rotated_key_and_the_new_one_both_work_until_the_overlap_ends(house: House) -> None:
    old = house.create("nightly", "--models", tiny.NAME, "--batch-rows", "2")
    house.becomes(old, 200)
    lines = keys(house.served.settings, "rotate", old.split("_")[1], "--overlap", "1m")
    new = lines[-1]
    house.secrets.append(new)
    house.becomes(new, 200)
    assert house.get(old).status_code == 200
    # The new one has the old one's limits.
    assert house.post(new, body=tiny.infer_body(tiny.ROWS[:3])).status_code == 400
    # The command's shortest overlap is a minute; what it writes for one of fifteen seconds:
    ends = datetime.now(UTC) + timedelta(seconds=15)
    open_store(house.keys).revoke(old.split("_")[1], ends)
    assert house.get(old).status_code == 200
    house.ends(old, ends)
    assert house.get(new).status_code == 200


def test_a_token_of_the_issuer_works_for_what_it_names_and_no_other_does(house: House) -> None:
    assert house.post(house.token(models=[tiny.NAME])).status_code == 200
    assert house.post(house.token(models=["letters"])).status_code == 403
    assert house.post(house.token()).status_code == 403
    for claims in ({"aud": "others"}, {"iss": "https://else.example"}, {"exp": time.time() - 60}, {"sub": None}):
        refused = house.post(house.token(models=["*"], **claims))
        assert refused.status_code == 401, claims
    load = f"/v2/repository/models/{tiny.NAME}/load"
    assert house.post(house.token(models=["*"]), load, {"parameters": {}}).status_code == 403
    assert house.post(house.token(models=["*"], scope="serve:admin"), load, {"parameters": {}}).status_code == 200


def test_a_key_over_its_limit_is_told_when_to_come_again(house: House) -> None:
    key = house.create("slow", "--requests-per-second", "1")
    house.becomes(key, 200)
    # That took a token of each replica: the debt is paid first.
    answers: dict[int, httpx.Response] = {}
    until = time.monotonic() + 15
    while time.monotonic() < until and not {200, 429} <= answers.keys():
        answer = house.post(key)
        answers[answer.status_code] = answer
    assert set(answers) == {200, 429}
    assert answers[200].headers["x-ratelimit-limit-requests"] == "1"
    assert answers[200].headers["x-ratelimit-remaining-requests"] == "0"
    assert int(answers[429].headers["retry-after"]) >= 1
    assert "1 requests per second" in answers[429].json()["error"]
    # Nobody else is held up by it.
    assert house.post(house.admin).status_code == 200


def test_rows_and_concurrency_of_a_key_are_limited_too(house: House) -> None:
    key = house.create("rows", "--rows-per-second", "10", "--batch-rows", "10")
    house.becomes(key, 200)
    batch = tiny.infer_body((tiny.ROWS * 4)[:10])
    first = house.post(key, body=batch)
    assert first.headers["x-ratelimit-limit-rows"] == "10"
    answers = [first, *(house.post(key, body=batch) for _ in range(4))]
    assert {answer.status_code for answer in answers} == {200, 429}
    assert house.post(key, body=tiny.infer_body(tiny.ROWS * 4)).status_code == 400


def hammered(house: House, key: str, seconds: float, clients: int) -> tuple[int, int, float]:
    """Requests let in and refused while several clients call as fast as they are answered, and for how long."""
    began = time.monotonic()

    def call(_: int) -> tuple[int, int]:
        statuses = []
        with httpx.Client(base_url=house.served.url, headers=bearer(key), timeout=120) as client:
            while time.monotonic() - began < seconds:
                # A connection of its own each time: HAProxy spreads them over both replicas.
                statuses.append(client.get(MODEL, headers={"connection": "close"}).status_code)
        assert set(statuses) <= {200, 429}
        return statuses.count(200), statuses.count(429)

    with ThreadPoolExecutor(clients) as pool:
        counted = list(pool.map(call, range(clients)))
    return sum(good for good, _ in counted), sum(bad for _, bad in counted), time.monotonic() - began


def test_two_replicas_hold_a_key_s_limit_together_within_the_bound_that_is_stated(house: House) -> None:
    rate, replicas, round_trip = 20.0, 2, 0.1
    key = house.create("shared", "--requests-per-second", f"{rate:g}")
    house.becomes(key, 200)
    time.sleep(2)
    news_age = 2 * (INTERVAL_SECONDS * (1 + JITTER) + round_trip) + LATE_SECONDS
    # On a machine that stalls the clients may ask for less: they are counted once more.
    for _ in range(2):
        admitted, refused, seconds = hammered(house, key, 4, 4)
        bound = rate * seconds + rate + (replicas - 1) * (rate + rate * news_age)
        assert admitted <= bound
        # Each replica by itself would let in its own rate and burst: more than the bound, if they did not share.
        assert bound < replicas * (rate * seconds + rate)
        if admitted >= rate * seconds * 0.8:
            break
    assert admitted >= rate * seconds * 0.8
    assert refused > 0


def test_a_model_s_limit_counts_all_its_callers(house: House) -> None:
    answer = house.post(house.admin)
    assert answer.headers["x-ratelimit-limit-requests"] == f"{MODEL_RATE:g}"
    one, other = house.create("one"), house.create("other")
    house.becomes(one, 200)
    house.becomes(other, 200)
    before = int(house.post(one).headers["x-ratelimit-remaining-requests"])
    after = int(house.post(other).headers["x-ratelimit-remaining-requests"])
    assert 0 <= before < MODEL_RATE
    assert 0 <= after < MODEL_RATE


def lines(house: House) -> list[dict[str, object]]:
    """The access log, of both replicas."""
    folder = house.served.settings.parent / "logs"
    return [json.loads(line) for file in folder.glob("*.jsonl") for line in file.read_text().splitlines()]


def test_the_access_log_has_a_line_of_a_good_and_of_a_refused_request_under_their_ids(house: House) -> None:
    good = house.post(house.admin, **{"x-request-id": "good-one", "traceparent": "00-" + "a" * 32 + "-" + "b" * 16})
    refused = house.post(house.admin, body={"inputs": []}, **{"x-request-id": "refused-one"})
    nobody = patient.post(f"{house.served.url}{INFER}", json=tiny.infer_body())
    assert [answer.headers["x-request-id"] for answer in (good, refused)] == ["good-one", "refused-one"]
    ids = [answer.headers["x-request-id"] for answer in (good, refused, nobody)]
    assert wait_for(lambda: {line.get("request_id") for line in lines(house)} >= set(ids), 60)
    found = {line["request_id"]: line for line in lines(house) if line.get("request_id") in ids}
    line = found["good-one"]
    assert (line["status"], line["model"], line["version"], line["rows"]) == (200, tiny.NAME, "1", 3)
    assert (line["protocol"], line["method"], line["path"]) == ("open_inference", "POST", INFER)
    assert line["caller"] == house.admin.split("_")[1]
    assert str(line["trace"]).startswith("00-aaa")
    assert line["bytes_out"] == len(good.content)
    assert (found["refused-one"]["status"], found["refused-one"]["reason"]) == (400, "InputRejected")
    assert (found[ids[2]]["status"], found[ids[2]]["reason"]) == (401, "Unauthenticated")
    assert "reason" not in line


def value(samples: list[Sample], name: str, **labels: str) -> float:
    found = [one for one in samples if one.name == name and labels.items() <= one.labels.items()]
    return sum(one.value for one in found)


def test_the_metrics_count_what_was_answered_and_what_was_refused(house: House) -> None:
    labels = {"protocol": "open_inference", "model": tiny.NAME, "version": "1", "code": "200"}
    rejected = {"protocol": "open_inference", "reason": "Unauthenticated"}

    def counted() -> tuple[float, ...]:
        samples = house.served.metrics()
        return (
            value(samples, "ray_ingress_requests_total", **labels),
            value(samples, "ray_ingress_rows_total", protocol="open_inference", model=tiny.NAME, version="1"),
            value(samples, "ray_ingress_request_seconds_count", **labels),
            value(samples, "ray_ingress_rejected_total", **rejected),
        )

    def settled() -> tuple[float, ...]:
        """The counts when nothing is on its way any more."""
        until = time.monotonic() + METRICS_SECONDS
        found = counted()
        while True:
            time.sleep(HANDED_ON_SECONDS)
            if (again := counted()) == found:
                return found
            assert time.monotonic() < until, (found, again)
            found = again

    before = settled()
    for _ in range(7):
        assert house.post(house.admin).status_code == 200
    for _ in range(3):
        assert patient.post(f"{house.served.url}{INFER}", json=tiny.infer_body()).status_code == 401
    expected = tuple(start + more for start, more in zip(before, (7, 21, 7, 3), strict=True))
    assert wait_for(lambda: counted() == expected, METRICS_SECONDS), (before, counted())
    assert settled() == expected
    samples = house.served.metrics()
    names = {one.name for one in samples}
    assert names >= {"ray_ingress_in_flight", "ray_ingress_waiting", "ray_ingress_batch_requests_bucket"}
    assert value(samples, "ray_ingress_requests_total", code="429") > 0
    assert not [one for one in samples if any(secret in str(one) for secret in house.secrets)]


def test_no_key_and_no_token_stands_in_a_log_or_in_an_argument_of_a_process(house: House) -> None:
    # The last, so that every secret of this file has been sent. Of a key only what is behind its id is secret.
    secrets = [secret.rpartition("_")[2] if secret.startswith("mtd_") else secret for secret in house.secrets]
    assert len(secrets) > 10
    time.sleep(1.5)
    files = [house.served.log]
    for folder in (house.served.session / "logs", house.served.settings.parent / "logs"):
        files += [file for file in folder.rglob("*") if file.is_file()]
    assert len(files) > 20
    assert [(file.name, secret) for file in files for secret in secrets if secret.encode() in file.read_bytes()] == []
    store = (house.served.settings.parent / "keys.db").read_bytes()
    assert [secret for secret in secrets if secret.encode() in store] == []
    shown = " ".join(" ".join(processes.command(int(pid.name))) for pid in Path("/proc").glob("[0-9]*"))
    assert [secret for secret in secrets if secret in shown] == []
