"""From source tables in S3 to a view in S3 and features in DynamoDB, with the commands of the page."""

from __future__ import annotations

import re
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import pytest

from spark_jobs.contract import parse_contract
from spark_jobs.online import Schema, read
from spark_jobs.stores import open_store
from tests.documentation import ROOT, examples
from tests.integration.spark_jobs import rows
from tests.integration.spark_jobs.conftest import run_command
from tests.unit.spark_jobs import aws

pytestmark = pytest.mark.integration

COMMANDS = [
    example.program.split()[3:]
    for example in examples(ROOT / "docs" / "feature-views.md")
    if "s3://" in example.program
]
BUCKET = "our-data"


@pytest.fixture
def environment() -> Iterator[dict[str, str]]:
    with aws.served() as found:
        yield found


def test_the_commands_of_the_page_go_from_s3_to_s3_and_on_to_dynamodb(
    environment: dict[str, str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    make, publish = COMMANDS
    s3 = aws.client("s3", environment)
    s3.create_bucket(Bucket=BUCKET, CreateBucketConfiguration={"LocationConstraint": aws.REGION})
    flights = [rows.flight(), rows.flight("2013-03-05 10:30", arr_delay="60"), rows.flight(flight="7")]
    source = rows.write_source(tmp_path / "source", flights, [rows.weather()], [rows.plane()], [rows.airport()])
    for file in source.iterdir():
        s3.upload_file(str(file), BUCKET, f"nycflights13/{file.name}")
    made = run_command(*make, **environment)
    assert made.returncode == 0, made.stderr
    assert re.search(r"^✓ send s3://our-data/views/flights  [\d.]+ s  3 objects, [\d.]+ MB$", made.stdout, re.MULTILINE)
    kept = {entry["Key"].split("/")[2] for entry in s3.list_objects_v2(Bucket=BUCKET, Prefix="views/")["Contents"]}
    assert kept == {"contract.json", "view", "quarantine"}

    aws.make_table(aws.client("dynamodb", environment))
    published = run_command(*publish, **environment)
    assert published.returncode == 0, published.stderr
    assert "3 rows, 2 entities" in published.stdout

    text = s3.get_object(Bucket=BUCKET, Key="views/flights/contract.json")["Body"].read()
    schema = Schema.of(parse_contract(text, "s3"))
    for name, value in environment.items():
        monkeypatch.setenv(name, value)
    with closing(open_store(f"dynamodb:{aws.TABLE}")) as store:
        found = read(store, schema, [["UA1545-EWR"], ["UA7-EWR"], ["UA9-EWR"]])
    assert [features and f"{features.event_time:%d}" for features in found] == ["05", "04", None]
    assert found[1] is not None
    assert found[1].values["carrier"] == "UA"
    assert found[1].values["distance"] == 1400.0
