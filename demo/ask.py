"""Ask the running ingress about real flights, and put what happened beside the answers."""

from __future__ import annotations

import time
from dataclasses import dataclass
from pathlib import Path
from zoneinfo import ZoneInfo

import httpx
import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from console import say
from demo.processes import DemoError
from serve.releases.verify import fetch
from serve.settings import client_key
from training.data import View
from training.export import OUTPUT, TOLERANCE, feed
from training.registry import CHAMPION, ModelVersion, Registry

MONTH = 12
FLIGHTS = 10
DATATYPES = {"string": "BYTES", "float32": "FP32"}


@dataclass(frozen=True)
class Answered:
    """The probabilities [N] of one request, the version that made them, and how long it took."""

    probability: np.ndarray
    version: str
    milliseconds: float


class Ingress:
    """A client of the Open Inference Protocol for the rows of a view, with the key in ``SERVE_KEY``."""

    def __init__(self, url: str, model: str, view: View) -> None:
        key = client_key()
        headers = {"authorization": f"Bearer {key}"} if key else {}
        self.client = httpx.Client(base_url=url, timeout=60, headers=headers)
        self.path = f"/v2/models/{model}/infer"
        self.contract = view.contract

    def infer(self, rows: pa.Table) -> Answered:
        """Send rows in one request.

        Raises:
            DemoError: the ingress answers with an error.
        """
        inputs = [
            {
                "name": column.name,
                "datatype": DATATYPES[column.dtype],
                "shape": [rows.num_rows],
                "data": rows[column.name].to_pylist(),
            }
            for column in self.contract.features
        ]
        started = time.perf_counter()
        response = self.client.post(self.path, json={"inputs": inputs})
        milliseconds = (time.perf_counter() - started) * 1000
        if response.status_code != httpx.codes.OK:
            raise DemoError(f"POST {self.path} answered {response.status_code}: {response.text[:200]}")
        answer = response.json()
        output = next(output for output in answer["outputs"] if output["name"] == OUTPUT)
        return Answered(np.asarray(output["data"], np.float32), answer["model_version"], milliseconds)


def ask(url: str, model: str, view_folder: Path, registry: Registry, cache: Path) -> None:
    """Send ten flights of December, one a request, and print the table.

    Raises:
        DemoError: an answer is an error, comes from another version than the champion, or differs from
            what its graph gives in this process.
    """
    view = View.open(view_folder)
    rows = december_flights(view)
    champion = registry.resolve(model, CHAMPION)
    expected = graph_answers(view, rows, registry, champion, cache)
    ingress = Ingress(url, model, view)
    ingress.infer(rows.slice(0, 1))  # opens the connection, so that each latency below is a request's own
    answers = [ingress.infer(rows.slice(i, 1)) for i in range(rows.num_rows)]

    say("ten flights of December 2013: five that were late and five that were not, spread over the month")
    say(f"{'flight':<12} {'scheduled (New York)':<20} {'P(late)':>8}  {'what happened':<20} {'version':<8} latency")
    zone = ZoneInfo(view.contract.reporting_timezone)
    for row, answer in zip(rows.to_pylist(), answers, strict=True):
        local = row["scheduled_departure"].astimezone(zone)
        say(
            f"{row['flight_id']:<12} {local:%a %d %b %Y %H:%M}  {answer.probability[0]:>8.3f}  "
            f"{_happened(row['arrival_delay'], row['late']):<20} {answer.version:<8} {answer.milliseconds:.1f} ms"
        )
    versions = {answer.version for answer in answers}
    if versions != {champion.version}:
        raise DemoError(f"versions {', '.join(sorted(versions))} answered, the champion is {champion.version}")
    difference = float(np.abs(np.concatenate([answer.probability for answer in answers]) - expected).max())
    if not difference <= TOLERANCE:
        raise DemoError(f"an answer differs from version {champion.version}'s graph by {difference:.1e}")
    say(f"all {rows.num_rows} answered by version {champion.version} (@{CHAMPION}), as its verified graph does here")


def december_flights(view: View) -> pa.Table:
    """Five flights that were late and five that were not, each spread evenly over December, in order of departure."""
    rows = view.rows("test")
    zone = view.contract.reporting_timezone
    local = pc.assume_timezone(
        pc.local_timestamp(rows[view.contract.event_time].cast(pa.timestamp("us", tz=zone))), zone
    )
    december = rows.filter(pc.equal(pc.month(local), MONTH))
    chosen = []
    for late in (0, 1):
        outcome = december.filter(pc.equal(december[view.contract.label], late))
        step = outcome.num_rows // (FLIGHTS // 2)
        chosen.append(outcome.take([step // 2 + i * step for i in range(FLIGHTS // 2)]))
    return pa.concat_tables(chosen).sort_by(view.contract.event_time)


def graph_answers(view: View, rows: pa.Table, registry: Registry, version: ModelVersion, cache: Path) -> np.ndarray:
    """Probabilities [N] of a verified version's graph, run in this process."""
    import onnxruntime

    verified = fetch(registry, version, cache)
    session = onnxruntime.InferenceSession(str(verified.model), providers=["CPUExecutionProvider"])
    answers: np.ndarray = session.run([OUTPUT], feed(view.contract, rows))[0]
    return answers


def _happened(delay: int, late: int) -> str:
    if late:
        return f"late by {delay} min"
    return f"on time ({delay:+d} min)"
