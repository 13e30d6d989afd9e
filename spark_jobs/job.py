"""The feature job: source tables → checked rows → view → profile → one folder."""

from __future__ import annotations

import tempfile
from collections.abc import Callable, Mapping, Sequence
from contextlib import AbstractContextManager, ExitStack
from pathlib import Path

from pyspark.sql import DataFrame, SparkSession

from console import stage
from spark_jobs.contract import CategoricalProfile, Contract, NumericProfile, SourceCount, Split
from spark_jobs.errors import SourceMissing
from spark_jobs.inspection import RowCounts, check_rows, check_schema, in_split
from spark_jobs.profile import categorical_profiles, numeric_profiles
from spark_jobs.progress import spark_stage
from spark_jobs.quality import QUARANTINE_COLUMNS, Checked, check, quarantine, readable
from spark_jobs.session import spark_session
from spark_jobs.tables import Table, header, locate, parse, read_text
from spark_jobs.views.view import FeatureView
from spark_jobs.write import QUARANTINE, VIEW, replacing, size_of, write_contract, write_parquet

Session = Callable[[str], AbstractContextManager[SparkSession]]


def run_job(view: FeatureView, source: Path, out: Path, session: Session = spark_session) -> Contract:
    """Build ``view`` from the tables in the folder ``source`` into the folder ``out``.

    ``session`` gives the Spark session, under the name of the job, for as long as the job runs.

    Raises:
        SourceUnusable: a table is missing, or has not the columns expected.
        OutputRefused: ``out`` can't be made, or holds somebody else's files.
        SparkUnavailable: Spark does not start.
        ViewBroken: the rows built are not what the view declares.
    """
    if not source.is_dir():
        raise SourceMissing(f"no source folder {source}")
    with ExitStack() as stack:
        scratch = Path(stack.enter_context(tempfile.TemporaryDirectory()))
        made = stack.enter_context(replacing(out))
        # Before Spark starts, so that a wrong file is known at once.
        files = {table.name: locate(table, source, scratch) for table in view.sources}
        columns = {table.name: header(table, files[table.name]) for table in view.sources}
        with stage("start Spark") as starting:
            spark = stack.enter_context(session(f"view {view.name}"))
            starting.detail = str(spark.sparkContext.master)
        tables: dict[str, Checked] = {}
        counts = []
        for table in view.sources:
            with spark_stage(f"check {table.name}", spark.sparkContext) as checking:
                text = read_text(spark, files[table.name], columns[table.name])
                tables[table.name] = check_table(text, table, tables)
                counts.append(tables[table.name].count(read=text.count()))
                checking.detail = in_words(counts[-1])
        with spark_stage("write the view", spark.sparkContext) as writing:
            built = view.build(tables)
            check_schema(built, view)
            write_parquet(built, made / VIEW, order=view.identity)
            write_parquet(quarantine(list(tables.values())), made / QUARANTINE, order=QUARANTINE_COLUMNS)
            writing.detail = f"{size_of(made) / 1e6:.1f} MB"
        rows = spark.read.parquet(str(made / VIEW))
        with spark_stage("check the view", spark.sparkContext) as checking:
            found = check_rows(rows, view)
            checking.detail = f"{found.total:,} rows"
        with spark_stage("profile the training split", spark.sparkContext) as profiling:
            contract = contract_of(view, rows, found, counts)
            profiling.detail = f"{found.splits['train']:,} rows, {len(contract.features)} features"
        write_contract(contract, made)
    return contract


def check_table(text: DataFrame, table: Table, earlier: Mapping[str, Checked]) -> Checked:
    """Parse the rows of ``table`` and hold them against its rules, one row for each, cached."""
    parsed = parse(text, table)
    derived = table.derive(parsed, {name: checked.kept for name, checked in earlier.items()})
    return check(derived, table.name, (*readable(), *table.rules())).cached()


def contract_of(view: FeatureView, rows: DataFrame, found: RowCounts, sources: Sequence[SourceCount]) -> Contract:
    """The contract of ``rows``, the view as written, with a profile of each feature over the training split."""
    train = rows.where(in_split(view, "train"))
    numeric = [column.name for column in view.columns if column.is_numeric]
    categorical = [column.name for column in view.columns if column.is_categorical]
    profiles: dict[str, NumericProfile | CategoricalProfile] = {
        **numeric_profiles(train, numeric, found.splits["train"]),
        **categorical_profiles(train, categorical, found.splits["train"]),
    }
    return Contract(
        view=view.name,
        grain=view.grain,
        prediction_lead_minutes=view.prediction_lead_minutes,
        reporting_timezone=view.reporting_timezone,
        columns=tuple(column.with_profile(profiles.get(column.name)) for column in view.columns),
        splits={
            name: Split(start=start, end=end, rows=found.splits[name]) for name, (start, end) in view.splits.items()
        },
        sources=tuple(sources),
    )


def in_words(count: SourceCount) -> str:
    """``336,776 read = 327,346 kept + 8,255 departed + 1,175 arrival-recorded``."""
    broken = [f"{rows:,} {rule}" for rule, rows in count.quarantined.items() if rows]
    return f"{count.read:,} read = " + " + ".join([f"{count.kept:,} kept", *broken])
