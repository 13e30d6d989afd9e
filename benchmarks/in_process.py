"""The ceiling: ONNX Runtime in a process of its own, on arrays that are decoded already, without HTTP.

``python -m benchmarks.in_process FOLDER --rows N --threads N --seconds N`` prints one line of JSON,
the fields of :class:`benchmarks.load.Load`. The session is the one that the ingress opens (one
intra-op thread); ``--threads`` callers share it, each in a loop, as its clients do over HTTP.
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
import threading
import time
from dataclasses import asdict, dataclass
from pathlib import Path

import numpy as np

from benchmarks.load import Load, LoadFailed
from benchmarks.requests import sample
from serve.runtimes.onnx import OnnxRuntime
from spark_jobs.contract import FILE_NAME, parse_contract
from training.registry import MODEL_FILE

INTRA_OP_THREADS = 1
WARM_UP_CALLS = 20


@dataclass(frozen=True)
class InProcess:
    """A verified model's folder, and the rows of a call."""

    folder: Path
    rows: int

    def measure(self, clients: int, seconds: int) -> Load:
        """Call the session from ``clients`` threads; ``rate`` is calls a second of all together.

        Raises:
            LoadFailed: the process failed.
        """
        command = [sys.executable, "-m", "benchmarks.in_process", str(self.folder)]
        command += ["--rows", str(self.rows), "--threads", str(clients), "--seconds", str(seconds)]
        # In a session of its own, as the servers are: Linux shares the CPU out by session (autogroup).
        found = subprocess.run(command, capture_output=True, text=True, check=False, start_new_session=True)
        if found.returncode:
            raise LoadFailed(f"ONNX Runtime in process failed: {found.stderr[-300:]}")
        return Load(**json.loads(found.stdout))


def call_in_turns(folder: Path, rows: int, threads: int, seconds: float) -> Load:
    """Run the graph on ``rows`` rows from ``threads`` threads for ``seconds``, in this process."""
    runtime = OnnxRuntime()
    runtime.load(folder / MODEL_FILE, INTRA_OP_THREADS)
    outputs = [tensor.name for tensor in runtime.metadata.outputs]
    columns = sample(parse_contract((folder / FILE_NAME).read_bytes(), str(folder / FILE_NAME)), rows)
    for _ in range(WARM_UP_CALLS):
        runtime.predict(columns, outputs)
    took: list[list[float]] = [[] for _ in range(threads)]
    started = time.perf_counter()
    end = started + seconds

    def caller(mine: list[float]) -> None:
        before = started
        while before < end:
            runtime.predict(columns, outputs)
            after = time.perf_counter()
            mine.append(after - before)
            before = after

    callers = [threading.Thread(target=caller, args=(mine,)) for mine in took]
    for thread in callers:
        thread.start()
    for thread in callers:
        thread.join()
    elapsed = time.perf_counter() - started
    milliseconds = np.array([value for mine in took for value in mine]) * 1e3
    p50, p99 = (float(value) for value in np.percentile(milliseconds, [50, 99]))
    return Load(p50=p50, p99=p99, rate=len(milliseconds) / elapsed)


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.in_process")
    parser.add_argument("folder", type=Path)
    for name in ("--rows", "--threads", "--seconds"):
        parser.add_argument(name, type=int, required=True)
    given = parser.parse_args()
    load = call_in_turns(given.folder, given.rows, given.threads, given.seconds)
    sys.stdout.write(json.dumps(asdict(load)) + "\n")
    return 0


if __name__ == "__main__":
    sys.exit(main())
