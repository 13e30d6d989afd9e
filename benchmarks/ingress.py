"""The ingress beside real peers: MLServer, BentoML, bare FastAPI, and ONNX Runtime in process.

All serve the same verified graph on this machine, on loopback, with one ONNX Runtime thread a session.
Before anything is measured each answers one request, and its probabilities are held against those of
ONNX Runtime in this process. Then all are measured in turns, so that what else the machine does falls
on all alike; each figure is the median of the rounds.

Errors::

    UserError
    ├── AnswerWrong         a contestant answers something else than ONNX Runtime does
    ├── LoadFailed          wrk is missing, or an answer under load was wrong or refused
    ├── PeerUnusable        a peer can't be installed
    └── AnswerUnreadable    a contestant's answer is no inference response
"""

from __future__ import annotations

import contextlib
import json
import os
import tempfile
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import httpx
import numpy as np

from benchmarks import cases, load, peers, report, serves
from benchmarks.cases import CASES, INLINE, REPLICA, Case, Contestant, Round
from benchmarks.in_process import INTRA_OP_THREADS, InProcess
from benchmarks.requests import HEADER_LENGTH, Array, Body, binary_body, json_body, read_answer, sample, typical
from console import UserError, say, stage
from demo.processes import Processes
from serve.releases.verify import VerifiedModel, fetch
from serve.runtimes.onnx import OnnxRuntime
from serve.settings import read_settings, settings_file
from training.registry import Registry

WARM_UP_SECONDS = 2
ANSWER_SECONDS = 30
QUIET_LOAD = 0.5
OUTPUT_FOLDER = Path("build/benchmarks")


class AnswerWrong(UserError):
    """A contestant answers something else than ONNX Runtime does."""


@dataclass(frozen=True)
class Options:
    """``only``: keys of ``CASES``, none for all; ``seconds`` a measurement; ``write``: the page to make, if any."""

    model: str
    rounds: int = 5
    seconds: int = 3
    only: tuple[str, ...] = ()
    write: Path | None = None

    @property
    def command(self) -> str:
        """The command that measures the same."""
        words = ["python -m benchmarks ingress", f"--model {self.model}"]
        words += [f"--rounds {self.rounds}", f"--seconds {self.seconds}", *(f"--only {key}" for key in self.only)]
        return " ".join([*words, *([f"--write {self.write}"] if self.write else [])])


def run(options: Options) -> None:
    """Measure the champion of ``options.model``, print the tables, keep the rounds, write the page.

    Raises:
        UserError: one of the errors above, of ``serve.settings``, or of the registry.
    """
    load.require_wrk()
    settings = read_settings(settings_file({}))
    if options.model not in settings.models:
        raise UserError(f"{settings_file({})} serves no {options.model}, but {', '.join(settings.models)}")
    registry = Registry(settings.registry.uri)
    version = registry.resolve(options.model, settings.models[options.model].alias)
    verified = fetch(registry, version, settings.registry.cache_folder)
    chosen = [case for case in CASES.values() if not options.only or case.key in options.only]
    needed = {server for case in chosen for server in case.servers}
    used = [peer for key, peer in peers.PEERS.items() if key in needed]
    for peer in used:
        peers.install(peer)
    before = os.getloadavg()[0]
    if before > QUIET_LOAD:
        say(f"the load average is {before:.1f}: something else runs here, and the figures will show it")
    rounds = [entry for case in chosen for entry in _measure(case, options, verified)]
    versions = {peer.package: peers.version(peer) for peer in used}
    result = report.Result(
        report.this_machine(versions, before), options.command, options.rounds, options.seconds, tuple(rounds)
    )
    for line in report.terminal(result):
        say(line)
    OUTPUT_FOLDER.mkdir(parents=True, exist_ok=True)
    kept = OUTPUT_FOLDER / "rounds.json"
    kept.write_text(json.dumps(report.document(result), indent=1) + "\n", encoding="utf-8")
    say(f"\nthe rounds: {kept}")
    if options.write is not None:
        options.write.write_text(report.page(result), encoding="utf-8")
        say(f"the page: {options.write}")


def _measure(case: Case, options: Options, model: VerifiedModel) -> list[Round]:
    columns = typical(model.contract) if case.rows == 1 else sample(model.contract, case.rows)
    expected = _expected(model, columns)
    say(f"\n{case.title}")
    started: list[Processes] = []
    with tempfile.TemporaryDirectory() as temporary, contextlib.ExitStack() as running:
        folder = Path(temporary)
        launches = {key: _start(key, folder, model, running, started) for key in case.servers}
        targets: dict[str, load.Target | InProcess] = {}
        for number, contestant in enumerate(case.contestants):
            if contestant.server is None:
                targets[contestant.label] = InProcess(model.folder, case.rows)
            else:
                at = folder / f"request-{number}"
                at.mkdir()
                targets[contestant.label] = _target(contestant, launches[contestant.server], columns, expected, at)
        rounds = _in_turns(case, targets, options)
    for processes in started:
        processes.require_none_left()
    return rounds


def _start(
    key: str, folder: Path, model: VerifiedModel, running: contextlib.ExitStack, started: list[Processes]
) -> peers.Launch:
    """Start a server and wait for it; it stops when ``running`` closes."""
    site = peers.Site(model.version.name, model.model.resolve(), folder / key)
    site.folder.mkdir()
    launch = serves.launch(site, key) if key in (INLINE, REPLICA) else peers.PEERS[key].launch(site)
    # Its own Processes for each: the log of a command is named after its program.
    processes = Processes(OUTPUT_FOLDER / "logs" / key, {})
    started.append(processes)
    background = running.enter_context(processes.background(*launch.command, environment=launch.environment))
    with stage(f"start {key}"):
        background.wait_until_ready(launch.ready)
    return launch


def _target(
    contestant: Contestant, launch: peers.Launch, columns: Mapping[str, Array], expected: Array, folder: Path
) -> load.Target:
    """The contestant under load, once one answer of it was found right.

    Raises:
        AnswerWrong: it was not.
    """
    made = binary_body(columns) if contestant.encoding == "binary" else json_body(columns)
    body = Body(made.content, {**made.headers, **launch.headers})
    try:
        answer = httpx.post(launch.infer, content=body.content, headers=dict(body.headers), timeout=ANSWER_SECONDS)
    except httpx.HTTPError as error:
        raise AnswerWrong(f"{contestant.label} does not answer: {error}") from error
    require_right(contestant.label, answer, expected)
    return load.target(launch.infer, body, expected, folder)


def require_right(label: str, answer: httpx.Response, expected: Array) -> None:
    """Hold an answer against the probabilities [N] of ONNX Runtime in process.

    Raises:
        AnswerWrong: another status than 200, another number of rows, or a probability more than
            ``load.TOLERANCE`` off.
        AnswerUnreadable: it is no inference response.
    """
    if answer.status_code != httpx.codes.OK:
        raise AnswerWrong(f"{label} answers {answer.status_code}: {answer.text[:300]}")
    found = read_answer(answer.content, answer.headers.get(HEADER_LENGTH))
    if found.shape != expected.shape:
        raise AnswerWrong(f"{label} answers {found.size} probabilities, expected {expected.size}")
    # Not `off > TOLERANCE`, which NaN passes.
    if not (off := float(np.abs(found - expected).max())) <= load.TOLERANCE:
        raise AnswerWrong(f"{label} answers probabilities that are {off:g} off those of ONNX Runtime in process")


def _in_turns(case: Case, targets: Mapping[str, load.Target | InProcess], options: Options) -> list[Round]:
    for target in targets.values():
        target.measure(max(case.clients), WARM_UP_SECONDS)
    rounds = []
    clients_of = " and ".join(map(str, case.clients))
    with stage(f"{options.rounds} rounds of {options.seconds} s, clients: {clients_of}, in turns"):
        for number in range(options.rounds):
            for clients in case.clients:
                for contestant in cases.order(case.contestants, number):
                    measured = targets[contestant.label].measure(clients, options.seconds)
                    rounds.append(Round(case.key, number, contestant.label, clients, measured))
    return rounds


def _expected(model: VerifiedModel, columns: Mapping[str, Array]) -> Array:
    runtime = OnnxRuntime()
    runtime.load(model.model, INTRA_OP_THREADS)
    (output,) = runtime.metadata.outputs
    return runtime.predict(columns, [output.name])[output.name]
