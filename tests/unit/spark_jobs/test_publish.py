"""``python -m spark_jobs publish``: the latest row of each entity, and what becomes of the rows that can't be one."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Iterator
from contextlib import closing
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path

import boto3  # type: ignore[import-untyped]
import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from console import UserError
from spark_jobs import publish as publishing
from spark_jobs.__main__ import main
from spark_jobs.contract import FILE_NAME, Contract
from spark_jobs.online import Features, Schema, read
from spark_jobs.stores import open_store
from spark_jobs.views import PUBLISH, VIEWS
from tests import synthetic
from tests.unit.spark_jobs import aws

ROWS = 100


@dataclass(frozen=True)
class Place:
    """A view of orders beside the place where it is published, in a folder of its own."""

    folder: Path

    @property
    def view(self) -> Path:
        return self.folder / "orders"

    @property
    def to(self) -> str:
        return f"sqlite:///{self.folder / 'online.db'}"

    @property
    def rejected(self) -> list[dict[str, object]]:
        file = self.folder / "rejected" / "rejected.jsonl"
        return [json.loads(line) for line in file.read_text().splitlines()] if file.exists() else []

    def write(self, *parts: pa.Table) -> Contract:
        contract = synthetic.contract_for(synthetic.table(ROWS))
        (self.view / "view").mkdir(parents=True, exist_ok=True)
        for number, part in enumerate(parts):
            pq.write_table(part, self.view / "view" / f"part-{number}.parquet")
        (self.view / FILE_NAME).write_text(contract.to_json())
        return contract

    def publish(self, *more: str) -> int:
        return main(
            [PUBLISH, "--view", str(self.view), "--to", self.to, "--rejected", str(self.folder / "rejected"), *more]
        )

    def features(self, contract: Contract, *orders: str) -> list[Features | None]:
        with closing(open_store(self.to)) as store:
            return read(store, Schema.of(contract), [[order] for order in orders])


@pytest.fixture
def place(tmp_path: Path) -> Place:
    return Place(tmp_path)


def changed(table: pa.Table, **columns: list[object]) -> pa.Table:
    for name, values in columns.items():
        index = table.schema.get_field_index(name)
        table = table.set_column(index, table.schema.field(name), pa.array(values, table.schema.field(name).type))
    return table


def test_each_entity_has_its_latest_values_whatever_the_order_of_the_rows(
    place: Place, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(publishing, "BATCH_ROWS", 7)
    table = synthetic.table(ROWS)
    orders = [f"order-{number % 30}" for number in range(ROWS)]
    table = changed(table, order_id=orders)
    shuffled = table.take(np.random.default_rng(0).permutation(ROWS))
    contract = place.write(shuffled.slice(0, 40), shuffled.slice(40))
    assert place.publish() == 0

    found = place.features(contract, *orders[:30])
    for number, features in enumerate(found):
        last = max(row for row in range(ROWS) if row % 30 == number)
        expected = table.slice(last, 1).to_pylist()[0]
        assert features is not None
        assert features.event_time == expected["ordered_at"]
        assert dict(features.values) == {name: expected[name] for name in ("size", "age", "shop")}
    assert place.rejected == []


def test_the_command_says_what_it_did_and_that_a_second_time_changes_nothing(
    place: Place, capsys: pytest.CaptureFixture[str]
) -> None:
    contract = place.write(synthetic.table(ROWS))
    assert place.publish() == 0
    said = capsys.readouterr().out
    assert "100 rows, 100 entities" in said
    assert "100 written, 0 unchanged, 0 older than what is there, 0 rows rejected; " in said
    assert said.splitlines()[-1] == f"{place.to}: orders, 100 entities; contract {contract.digest[:12]}"
    assert place.publish() == 0
    assert "0 written, 100 unchanged" in capsys.readouterr().out


def test_an_older_view_does_not_take_the_place_of_a_newer_one(place: Place, capsys: pytest.CaptureFixture[str]) -> None:
    table = synthetic.table(ROWS)
    times = [time + timedelta(days=1) for time in table["ordered_at"].to_pylist()]
    place.write(changed(table, ordered_at=times, size=[7.0] * ROWS))
    assert place.publish() == 0
    contract = place.write(table)
    capsys.readouterr()
    assert place.publish() == 0
    assert "0 written, 0 unchanged, 100 older than what is there" in capsys.readouterr().out
    [features] = place.features(contract, "order-3")
    assert features is not None
    assert features.values["size"] == 7.0


def test_rows_that_cannot_be_published_are_counted_and_kept_with_the_reason(
    place: Place, capsys: pytest.CaptureFixture[str]
) -> None:
    table = synthetic.table(ROWS)
    orders, times, sizes = (table[name].to_pylist() for name in ("order_id", "ordered_at", "size"))
    orders[2] = None
    orders[3] = "x" * 2048
    times[5] = None
    sizes[7] = float("inf")
    orders[9], times[9] = orders[8], times[8]
    contract = place.write(changed(table, order_id=orders, ordered_at=times, size=sizes))
    assert place.publish() == 0
    assert {(line["row"], line["reason"]) for line in place.rejected} == {
        (2, "order_id, a key, is missing"),
        (3, "its keys have more than 2,048 bytes"),
        (5, "its event time is missing"),
        (7, "size: it is infinite"),
        (9, "another row has its keys and its event time"),
    }
    assert {line["view"] for line in place.rejected} == {"orders"}
    said = capsys.readouterr().out
    assert "95 written" in said
    assert "5 rows rejected" in said
    assert "  1 rows rejected: size: it is infinite" in said
    assert f"  they are in {place.folder / 'rejected'}/rejected.jsonl" in said
    assert place.features(contract, "order-7", "order-5", "order-9") == [None, None, None]

    place.write(table)
    assert place.publish() == 0
    assert place.rejected == []


def test_the_latest_row_is_rejected_rather_than_an_earlier_one_taken_for_it(place: Place) -> None:
    table = changed(synthetic.table(ROWS), order_id=["same"] * ROWS, size=[1.0] * (ROWS - 1) + [float("-inf")])
    contract = place.write(table)
    assert place.publish() == 0
    assert place.features(contract, "same") == [None]
    assert [line["row"] for line in place.rejected] == [ROWS - 1]


def test_an_item_that_no_store_could_hold_is_rejected(place: Place) -> None:
    contract = place.write(changed(synthetic.table(ROWS), shop=["x" * 400_000] + ["north"] * (ROWS - 1)))
    assert place.publish() == 0
    assert place.features(contract, "order-0")[0] is not None
    place.write(changed(synthetic.table(ROWS), order_id=[f"o{i}" for i in range(ROWS)], shop=["x" * 410_000] * ROWS))
    assert place.publish() == 0
    assert {line["reason"] for line in place.rejected} == {"its features have more than 409,600 bytes"}


def test_a_disk_that_is_full_when_the_last_rejected_rows_are_written_is_said(tmp_path: Path) -> None:
    file = tmp_path / "rejected.jsonl"

    def reject(rejections: publishing.Rejections) -> None:
        file.symlink_to("/dev/full")
        rejections.add("its event time is missing", 0, {})

    says = r"can't write .*: name another folder by --rejected"
    with pytest.raises(UserError, match=says), publishing.Rejections(file, "orders") as rejections:
        reject(rejections)


def test_nan_is_read_as_missing(place: Place) -> None:
    contract = place.write(changed(synthetic.table(ROWS), age=[float("nan")] * ROWS))
    assert place.publish() == 0
    [features] = place.features(contract, "order-0")
    assert features is not None
    assert features.values["age"] is None


def test_items_end_when_they_were_told_to(place: Place) -> None:
    contract = place.write(synthetic.table(ROWS))
    assert place.publish("--expires", "12h") == 0
    key, now = [["order-0"]], datetime.now(UTC)
    with closing(open_store(place.to)) as store:
        assert read(store, Schema.of(contract), key, now + timedelta(hours=11)) != [None]
        assert read(store, Schema.of(contract), key, now + timedelta(hours=13)) == [None]


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        (["--view", "nowhere", "--to", "sqlite:///a.db"], "no contract at nowhere"),
        (["--view", "VIEW", "--to", "redis:a"], "online store 'redis:a': expected one of sqlite:…, dynamodb:…"),
        (
            ["--view", "VIEW", "--to", "sqlite:///a.db", "--expires", "soon"],
            "--expires 'soon': expected a time such as",
        ),
        (["--view", "VIEW", "--to", "sqlite:///VIEW"], "can't be used as an online store"),
        (["--view", "EMPTY", "--to", "sqlite:///a.db"], "no Parquet files in"),
        (["--view", "OTHER", "--to", "sqlite:///a.db"], "does not keep to the contract of view 'orders': missing size"),
        (["--view", "BROKEN", "--to", "sqlite:///a.db"], "can't read"),
        (["--view", "VIEW"], "the following arguments are required: --to"),
    ],
)
def test_a_mistake_is_one_line_and_exit_code_2(
    arguments: list[str],
    says: str,
    place: Place,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.chdir(tmp_path)
    for name in ("VIEW", "EMPTY", "OTHER", "BROKEN"):
        synthetic.write_view(tmp_path / name, ROWS)
    part = Path("view", "part-0.parquet")
    (tmp_path / "EMPTY" / part).unlink()
    pq.write_table(synthetic.table(ROWS).drop_columns(["size"]), tmp_path / "OTHER" / part)
    (tmp_path / "BROKEN" / part).write_bytes(b"PAR1 and no more")
    assert main([PUBLISH, *arguments]) == 2
    [line] = capsys.readouterr().err.splitlines()
    assert line.startswith("error: ")
    assert says in line
    assert not (tmp_path / "a.db").exists()


def test_no_view_has_the_name_of_the_command() -> None:
    assert PUBLISH not in VIEWS


def test_publishing_needs_no_spark(place: Place) -> None:
    place.write(synthetic.table(ROWS))
    program = "import sys; sys.modules['pyspark'] = None; from spark_jobs.__main__ import main; sys.exit(main())"
    found = subprocess.run(
        [sys.executable, "-c", program, PUBLISH, "--view", str(place.view), "--to", place.to],
        cwd=place.folder,
        capture_output=True,
        text=True,
        check=False,
    )
    assert found.returncode == 0, found.stderr


@pytest.fixture
def account() -> Iterator[None]:
    with aws.running():
        yield


def test_a_view_in_s3_is_published_to_dynamodb_and_its_bad_rows_kept_in_s3(account: None, place: Place) -> None:
    contract = place.write(changed(synthetic.table(ROWS), size=[float("inf")] + [1.5] * (ROWS - 1)))
    s3 = boto3.client("s3")
    for file in place.view.rglob("*"):
        if file.is_file():
            s3.upload_file(str(file), aws.BUCKET, f"views/orders/{file.relative_to(place.view)}")
    view, rejected = f"s3://{aws.BUCKET}/views/orders", f"s3://{aws.BUCKET}/rejected/orders"
    assert main([PUBLISH, "--view", view, "--to", f"dynamodb:{aws.TABLE}", "--rejected", rejected]) == 0
    with closing(open_store(f"dynamodb:{aws.TABLE}")) as store:
        none, features = read(store, Schema.of(contract), [["order-0"], ["order-1"]])
    assert none is None
    assert features is not None
    assert features.values["size"] == 1.5
    kept = s3.get_object(Bucket=aws.BUCKET, Key="rejected/orders/rejected.jsonl")["Body"].read()
    assert json.loads(kept)["reason"] == "size: it is infinite"


def test_an_error_names_the_view_in_s3_and_not_its_copy(account: None, capsys: pytest.CaptureFixture[str]) -> None:
    boto3.client("s3").put_object(Bucket=aws.BUCKET, Key="views/orders/contract.json", Body=b"{}")
    view = f"s3://{aws.BUCKET}/views/orders"
    assert main([PUBLISH, "--view", view, "--to", f"dynamodb:{aws.TABLE}"]) == 2
    assert capsys.readouterr().err.startswith(f"error: {view}/contract.json is not a contract")
