"""``python -m serve usage`` as a user types it, and the page that shows it."""

from __future__ import annotations

import contextlib
import csv
import json
import os
import shlex
import sqlite3
import subprocess
import sys
from collections.abc import Callable, Iterator
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import get_args

import pytest
from hypothesis import given
from hypothesis import strategies as st

from console import Arguments
from serve.__main__ import main
from serve.llm import emf, usage_command
from serve.llm.backend import Tokens
from serve.llm.ledger.entries import Began, Entry, entry_of
from serve.llm.ledger.journal import Journal
from serve.llm.ledger.sqlite import SqliteLedger
from serve.llm.ledger.store import By, Sums, open_store
from serve.llm.settings import UsageSettings
from tests.documentation import ROOT, examples
from tests.postgresql import Server
from tests.unit.serve.llm.uses import use

PAGE = ROOT / "docs" / "usage.md"
NOW = datetime(2026, 3, 16, 10, 20, tzinfo=UTC)
"""The time at which the page's commands are run."""

Usage = Callable[..., list[str]]


def entries() -> Iterator[Entry]:
    """A small ledger: two keys, three models, one of them of unknown price, one request lost."""
    numbers = iter(range(1000))

    def began(days: float, key: str, model: str) -> Began:
        return Began(f"p-{next(numbers)}", NOW - timedelta(days=days), key, model, 0.0125, "")

    for days, key, tokens in ((2, "reports", 900), (1, "reports", 1200), (1, "mobile", 300), (0.05, "mobile", 450)):
        own = use(backend="own", tokens=Tokens(tokens, tokens // 3, tokens // 2), dollars=tokens / 2_000_000)
        prompt = {"prompt": "greeting", "prompt_version": "3" if days < 1 else "2"} if key == "mobile" else {}
        yield entry_of(replace(began(days, key, "assistant"), **prompt), own)
    for days in (9, 1, 0.04):
        bought = use(backend="bought", tokens=Tokens(4000, 500), dollars=0.0195)
        yield entry_of(began(days, "reports", "summary"), bought)
    for days in (1, 0.06):
        yield entry_of(began(days, "mobile", "trial"), use(backend="new", tokens=Tokens(80, 20), dollars=None))
    yield began(1, "reports", "summary").lost()


@pytest.fixture(autouse=True)
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("SERVE_SETTINGS", raising=False)
    (tmp_path / "serve.yaml").write_text("models:\n  parcels: {}\n")
    store = SqliteLedger(tmp_path / "build" / "usage.db")
    store.write(list(entries()))
    store.close()
    return tmp_path


@pytest.fixture
def usage(capsys: pytest.CaptureFixture[str]) -> Usage:
    """Run ``usage`` with these arguments at the page's time and give the lines of its output."""

    def run(*arguments: str, now: datetime = NOW) -> list[str]:
        parser = Arguments()
        usage_command.add_parser(parser.add_subparsers())
        assert usage_command.run(parser.parse_args(["usage", *arguments]), UsageSettings(), now) == 0
        return capsys.readouterr().out.splitlines()

    return run


@pytest.fixture
def mistake(capsys: pytest.CaptureFixture[str]) -> Callable[..., str]:
    def run(*arguments: str) -> str:
        assert main(["usage", *arguments]) == 2
        captured = capsys.readouterr()
        assert captured.err.startswith("error: ")
        assert captured.err.count("\n") == 1
        return captured.err

    return run


def test_a_price_that_is_not_known_is_never_shown_as_zero(usage: Usage) -> None:
    rows = {row.split()[0]: row.split()[1:] for row in usage()}
    assert rows["trial"] == ["2", "160", "0", "40", "unknown", "2"]
    assert rows["assistant"] == ["4", "2,850", "1,425", "950", "0.001425", "0"]
    assert rows["summary"] == ["4", "12,000", "0", "1,500", "0.071000", "0"]
    assert rows["all"] == ["10", "15,010", "1,425", "2,490", "0.072425", "2"]


@pytest.mark.parametrize(
    ("by", "names"),
    [
        ("key", ["mobile", "reports", "all"]),
        # What was lost has no backend.
        ("backend", ["-", "bought", "new", "own", "all"]),
        ("prompt", ["-", "greeting/2", "greeting/3", "all"]),
        ("day", ["2026-03-07", "2026-03-14", "2026-03-15", "2026-03-16", "all"]),
    ],
)
def test_sums_are_by_what_is_asked_and_come_to_the_same(usage: Usage, by: str, names: list[str]) -> None:
    heading, *rows = usage("--by", by)
    assert heading.split()[0] == by.upper()
    assert [row.split()[0] for row in rows] == names
    assert rows[-1].split() == usage()[-1].split()


def test_since_leaves_out_what_was_before(usage: Usage) -> None:
    rows = {row.split()[0]: row.split()[1] for row in usage("--since", "2h")}
    assert rows == {"MODEL": "REQUESTS", "assistant": "1", "summary": "1", "trial": "1", "all": "3"}
    assert usage("--since", "5m") == ["no request is in the ledger for this time"]


def test_the_csv_has_every_day_and_its_sums_are_the_table_s(usage: Usage, folder: Path) -> None:
    *_, last, told = usage("--csv", "usage.csv")
    assert told == "✓ usage.csv"
    rows = list(csv.DictReader((folder / "usage.csv").open()))
    assert sum(int(row["requests"]) for row in rows) == 10
    assert sum(float(row["dollars"] or 0) for row in rows) == pytest.approx(float(last.split()[5]))
    assert [row["dollars"] for row in rows if row["model"] == "trial"] == ["", ""]
    assert {row["day"] for row in rows} == {"2026-03-07", "2026-03-14", "2026-03-15", "2026-03-16"}
    usage("--csv", "days.csv", "--by", "day")
    assert (folder / "days.csv").read_text().startswith("day,requests,")
    usage("--csv", "prompts.csv", "--by", "prompt", "--since", "2h")
    rows = list(csv.DictReader((folder / "prompts.csv").open()))
    assert [(row["prompt"], row["prompt_version"], row["requests"]) for row in rows] == [
        ("", "", "2"),
        ("greeting", "3", "1"),
    ]


def test_a_spreadsheet_computes_no_name_of_the_csv(usage: Usage, folder: Path) -> None:
    computed = ["=1+1", "+cmd", "-x", "@SUM(A1)", "\tx", "\rx", "\nx", "＝1"]
    shown = ["a=1", "'a"]
    store = SqliteLedger(folder / "other.db")
    for name in (*computed, *shown):
        began = Began(f"p-{name}", NOW, name, "assistant", 0.0125, "", prompt=name, prompt_version="-1")
        store.write([entry_of(began, use(dollars=0.5))])
    store.close()
    for by in ("key", "prompt"):
        usage("--ledger", "sqlite:///other.db", "--by", by, "--csv", "names.csv")
        with (folder / "names.csv").open(newline="") as file:
            rows = list(csv.DictReader(file))
        assert sorted(row[by] for row in rows) == sorted([*(f"'{name}" for name in computed), *shown])
        assert {row.get("prompt_version", "'-1") for row in rows} == {"'-1"}
        assert {row["dollars"] for row in rows} == {"0.500000000"}


def test_the_files_are_written_though_nobody_reads_the_table(folder: Path) -> None:
    reader, writer = os.pipe()
    os.close(reader)
    command = [sys.executable, "-m", "serve", "usage", "--csv", "usage.csv", "--plot", "usage.png"]
    environment = {**os.environ, "PYTHONPATH": str(ROOT)}
    ran = subprocess.run(command, env=environment, stdout=writer, stderr=subprocess.PIPE, text=True, check=False)
    os.close(writer)
    assert (ran.returncode, ran.stderr) == (141, "")
    assert (folder / "usage.csv").read_text().startswith("day,model,")
    assert (folder / "usage.png").read_bytes().startswith(b"\x89PNG")


@pytest.mark.parametrize("arguments", ["--by model", "--by day", "--since 5m"])
def test_the_plot_is_a_picture(usage: Usage, folder: Path, arguments: str) -> None:
    assert usage(*arguments.split(), "--plot", "usage.png")[-1] == "✓ usage.png"
    assert (folder / "usage.png").read_bytes().startswith(b"\x89PNG")


def test_metrics_are_of_whole_hours_as_the_format_says(usage: Usage) -> None:
    lines = [json.loads(line) for line in usage("--emf", "--by", "key")]
    assert sum(line["Requests"] for line in lines) == 10
    for line in lines:
        (directive,) = line["_aws"]["CloudWatchMetrics"]
        assert directive["Namespace"] == "LanguageModels"
        assert directive["Dimensions"] == [["Key"]]
        assert line["Key"] in ("reports", "mobile")
        assert {metric["Name"] for metric in directive["Metrics"]} == line.keys() - {"_aws", "Key"}
        assert {metric["Unit"] for metric in directive["Metrics"]} <= {"Count", "None"}
        assert line["_aws"]["Timestamp"] % 3_600_000 == 0
    assert [line for line in lines if "Dollars" not in line and line["RequestsOfUnknownPrice"] < line["Requests"]] == []
    assert {json.loads(line)["Prompt"] for line in usage("--emf", "--by", "prompt")} == {
        "-",
        "greeting/2",
        "greeting/3",
    }
    unknown = [line for line in map(json.loads, usage("--emf")) if line["Model"] == "trial"]
    assert unknown
    assert all("Dollars" not in line for line in unknown)


def test_an_hour_s_metrics_are_told_once_by_a_run_each_hour(usage: Usage) -> None:
    found = []
    for number in range(5):
        # Not at the same second each time.
        now = NOW + timedelta(hours=number - 1, seconds=10 * number)
        found += [json.loads(line) for line in usage("--emf", "--since", "1h", now=now)]
    assert sum(line["Requests"] for line in found) == 3
    assert len({(line["Model"], line["_aws"]["Timestamp"]) for line in found}) == len(found) == 3


def test_an_hour_is_told_when_what_began_in_it_has_had_time_to_end(usage: Usage) -> None:
    hour = round(datetime(2026, 3, 16, 9, tzinfo=UTC).timestamp() * 1000)

    def hours(minute: int) -> set[int]:
        lines = usage("--emf", now=datetime(2026, 3, 16, 10, minute, tzinfo=UTC))
        return {json.loads(line)["_aws"]["Timestamp"] for line in lines}

    assert hour not in hours(14)
    assert hour in hours(15)


@pytest.mark.usefixtures("impatient")
def test_metrics_that_may_lack_uses_are_told_apart_by_the_exit_code_and_on_standard_error(
    folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    store = SqliteLedger(folder / "build" / "usage.db")
    journal = Journal(store.journals, "p2", lambda problem: None)
    journal.open()
    journal.ended(entry_of(Began("p2-1", NOW, "reports", "assistant", 1.0, ""), use()))
    assert journal._file is not None
    os.close(journal._file)
    with contextlib.closing(sqlite3.connect(folder / "build" / "usage.db", isolation_level=None)) as other:
        other.execute("BEGIN IMMEDIATE")
        assert main(["usage", "--emf"]) == 2
    captured = capsys.readouterr()
    assert captured.err.startswith("error: --emf: some uses may be missing from these metrics: ")
    assert "locked" in captured.err
    assert captured.err.count("\n") == 1
    assert sum(json.loads(line)["Requests"] for line in captured.out.splitlines()) == 10
    assert main(["usage", "--emf"]) == 0


@given(st.text(max_size=2000))
def test_any_name_is_a_dimension_that_cloudwatch_takes(name: str) -> None:
    sums = Sums(NOW, name, 1, 1, 1, 1, 0.5, 0)
    value = json.loads(emf.line("key", sums))["Key"]
    assert 1 <= len(value) <= 1024
    assert value.isascii()
    assert value.isprintable()
    assert value.strip()
    assert not value.startswith(":")


def test_what_a_killed_process_left_is_counted(usage: Usage, folder: Path) -> None:
    store = SqliteLedger(folder / "build" / "usage.db")
    journal = Journal(store.journals, "p2", lambda problem: None)
    journal.open()
    journal.ended(entry_of(Began("p2-1", NOW, "reports", "assistant", 1.0, ""), use()))
    assert usage()[-1].split()[1] == "10"
    assert journal._file is not None
    os.close(journal._file)
    assert usage()[-1].split()[1] == "11"
    assert usage()[-1].split()[1] == "11"


@pytest.mark.parametrize(
    ("arguments", "part"),
    [
        ("--by week", "invalid choice: 'week'"),
        ("--since soon", "--since: expected a time such as 7d, 12h or 30m, got 'soon'"),
        ("--emf --by day", "--emf: expected --by key, model, backend or prompt"),
        ("--emf --csv usage.csv", "--emf: expected no --csv and no --plot beside it"),
        ("--emf --plot usage.png", "--emf: expected no --csv and no --plot beside it"),
        ("--ledger sqlite:///nowhere.db", "nowhere.db: there is no ledger yet"),
        ("--ledger postgresql://u:p@h/d", "there is a password in it: leave it out"),
        ("--ledger postgresql://u@%2Fnowhere/d", "postgresql:///nowhere/d: can't be read"),
        ("--ledger sqlite:///a --settings b", "not allowed with"),
        ("--settings null.yaml", "usage.ledger is null"),
        ("--settings nowhere.yaml", "nowhere.yaml"),
        ("--csv nowhere/usage.csv", "--csv nowhere/usage.csv: cannot be written"),
        ("--plot nowhere/usage.png", "--plot nowhere/usage.png: cannot be written"),
    ],
)
def test_a_mistake_is_one_line(mistake: Callable[..., str], folder: Path, arguments: str, part: str) -> None:
    (folder / "null.yaml").write_text("models:\n  parcels: {}\nusage: {ledger: null}\n")
    assert part in mistake(*shlex.split(arguments))
    assert not (folder / "nowhere.db").exists()


def test_the_ledger_is_that_of_the_settings_or_the_one_that_is_named(
    folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["usage"]) == 0
    of_settings = capsys.readouterr().out
    (folder / "build" / "usage.db").rename(folder / "other.db")
    (folder / "other.yaml").write_text("models:\n  parcels: {}\nusage: {ledger: 'sqlite:///other.db'}\n")
    assert main(["usage", "--settings", "other.yaml"]) == 0
    assert capsys.readouterr().out == of_settings
    (folder / "serve.yaml").unlink()
    assert main(["usage", "--ledger", f"sqlite:///{folder}/other.db"]) == 0
    assert capsys.readouterr().out == of_settings


@pytest.mark.parametrize("by", get_args(By))
def test_a_ledger_in_postgresql_shows_the_same(usage: Usage, folder: Path, postgresql_server: Server, by: str) -> None:
    url = postgresql_server.url(postgresql_server.create())
    with contextlib.closing(open_store(url)) as store:
        store.write(list(entries()))
    own, other = folder / "own.csv", folder / "other.csv"
    shown = usage("--by", by, "--csv", str(own))
    assert usage("--by", by, "--csv", str(other), "--ledger", url)[:-1] == shown[:-1]
    assert other.read_text() == own.read_text()
    if by != "day":
        assert usage("--by", by, "--emf", "--ledger", url) == usage("--by", by, "--emf")


def test_the_page_about_use_shows_what_the_command_prints(usage: Usage) -> None:
    shown = examples(PAGE)
    assert len(shown) >= 4
    for example in shown:
        words = shlex.split(example.program)
        assert words[:4] == ["python", "-m", "serve", "usage"]
        assert "\n".join(usage(*words[4:])) == example.output
