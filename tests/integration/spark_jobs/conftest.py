from __future__ import annotations

import json
import os
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass
from pathlib import Path

import pandas as pd
import pytest
from pyspark.sql import SparkSession

from spark_jobs.contract import Contract, read_contract
from spark_jobs.job import run_job
from spark_jobs.session import spark_session
from spark_jobs.views.flights import VIEW
from spark_jobs.views.flights.sources import installed_folder
from spark_jobs.views.view import FeatureView


@dataclass(frozen=True)
class Output:
    """What a job has written, read without Spark."""

    folder: Path

    @property
    def contract(self) -> Contract:
        return read_contract(self.folder)

    @property
    def view(self) -> pd.DataFrame:
        return pd.read_parquet(self.folder / "view")

    @property
    def quarantine(self) -> pd.DataFrame:
        return pd.read_parquet(self.folder / "quarantine")

    def quarantined(self, table: str, rule: str) -> list[dict[str, str]]:
        """The rows of ``table`` that ``rule`` has stopped, as the file had them."""
        found = self.quarantine
        return [json.loads(row) for row in found[(found.table == table) & (found.rule == rule)].row]

    def counts(self, table: str) -> dict[str, int]:
        """Rule → the rows it has stopped; the rules that stopped none are left out."""
        source = next(source for source in self.contract.sources if source.table == table)
        return {rule: rows for rule, rows in source.quarantined.items() if rows}


@dataclass(frozen=True)
class RealRun(Output):
    """The command as a user runs it, on all of the real data."""

    stdout: str
    stderr: str
    seconds: float


MakeView = Callable[..., Output]


@pytest.fixture(scope="session")
def spark() -> Iterator[SparkSession]:
    with spark_session("tests", driver_memory="1g", shuffle_partitions=2) as session:
        yield session


@pytest.fixture(scope="session")
def make_view(spark: SparkSession, tmp_path_factory: pytest.TempPathFactory) -> MakeView:
    """Run a job on a source folder, in the tests' own Spark session."""

    def shared(_name: str) -> AbstractContextManager[SparkSession]:
        return nullcontext(spark)

    def make(source: Path, view: FeatureView = VIEW) -> Output:
        out = tmp_path_factory.mktemp("made") / "out"
        run_job(view, source, out, session=shared)
        return Output(out)

    return make


def run_command(*arguments: str, **environment: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "spark_jobs", *arguments],
        env={**os.environ, **environment},
        capture_output=True,
        text=True,
        check=False,
    )


@pytest.fixture(scope="session")
def real(tmp_path_factory: pytest.TempPathFactory) -> RealRun:
    out = tmp_path_factory.mktemp("real") / "flights"
    started = time.monotonic()
    found = run_command("flights", "--out", str(out))
    assert found.returncode == 0, found.stderr
    return RealRun(out, found.stdout, found.stderr, time.monotonic() - started)


@pytest.fixture(scope="session")
def real_view(real: RealRun) -> pd.DataFrame:
    return real.view


def read_real(table: str) -> pd.DataFrame:
    """A table of the wheel as pandas reads it."""
    found = sorted(installed_folder().glob(f"{table}.csv*"))
    return pd.read_csv(found[0], na_values=["NA", ""], keep_default_na=False)


@pytest.fixture(scope="session")
def real_flights() -> pd.DataFrame:
    return read_real("flights")


@pytest.fixture(scope="session")
def real_weather() -> pd.DataFrame:
    return read_real("weather")


@pytest.fixture(scope="session")
def real_planes() -> pd.DataFrame:
    return read_real("planes")


@pytest.fixture(scope="session")
def real_airports() -> pd.DataFrame:
    return read_real("airports")
