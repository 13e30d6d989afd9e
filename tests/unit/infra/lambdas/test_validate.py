"""Whether a drop is whole: looked at in a bucket, by ranges."""

from __future__ import annotations

import gzip
import io
import json
import random
import zipfile
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import boto3
import pytest
from botocore.exceptions import ClientError
from moto import mock_aws

from infra.lambdas import validate
from infra.lambdas.drops import SAMPLE_BYTES, SUFFIXES, BadData
from infra.lambdas.steps import Misconfigured
from spark_jobs.tables import Field, Table, header, locate
from tests.unit.infra.lambdas.conftest import REGION, Context, event

EXECUTION = "17793124-05d4-b198-2fde-7ededc63b103_5ae0"
SOURCES = {"parcels": ["zone", "weight"], "depots": ["depot"]}
PARCELS = b"zone,depot,weight\nsouth,north,1.5\nnorth,,20\n"
DEPOTS = b'depot,"city, country"\nnorth,"Oslo, NO"\n'


def came(key: str = "incoming/2013-11/_READY") -> dict[str, Any]:
    found = event("s3_object_created")
    found["detail"]["object"]["key"] = key
    return {"event": found, "execution": EXECUTION}


@pytest.fixture
def s3(aws: None) -> Iterator[Any]:
    with mock_aws():
        client = boto3.client("s3")
        client.create_bucket(Bucket="drops", CreateBucketConfiguration={"LocationConstraint": REGION})
        yield client


def drop(s3: Any, files: Mapping[str, bytes | None] | None = None) -> None:
    """A whole drop but for ``files``, of which ``None`` is not there."""
    for name, body in {"parcels.csv": PARCELS, "depots.csv": DEPOTS, "_READY": b"", **(files or {})}.items():
        if body is not None:
            s3.put_object(Bucket="drops", Key=f"incoming/2013-11/{name}", Body=body)


def found_by(s3: Any, sources: dict[str, list[str]] | None = None, most: int = 10**9) -> dict[str, Any]:
    return validate.validate(s3, validate.arrival(came()), sources or SOURCES, "artifacts", most)


def zipped(name: str, body: bytes) -> bytes:
    file = io.BytesIO()
    with zipfile.ZipFile(file, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("readme.txt", "look elsewhere")
        archive.writestr(name, body)
    return file.getvalue()


def test_a_whole_drop_is_described(s3: Any) -> None:
    drop(s3)
    assert found_by(s3) == {
        "execution": EXECUTION,
        "source": "s3://drops/incoming/2013-11/",
        "view": f"s3://artifacts/views/{EXECUTION}/",
        "tables": {
            "parcels": {
                "file": "parcels.csv",
                "bytes": len(PARCELS),
                "columns": ["zone", "depot", "weight"],
                "rows": 2,
                "counted": True,
            },
            "depots": {
                "file": "depots.csv",
                "bytes": len(DEPOTS),
                "columns": ["depot", "city, country"],
                "rows": 1,
                "counted": True,
            },
        },
    }


def test_a_compressed_table_is_looked_into(s3: Any) -> None:
    drop(s3, {"parcels.csv": None, "parcels.csv.zip": zipped("parcels.csv", PARCELS)})
    table = found_by(s3)["tables"]["parcels"]
    assert (table["columns"], table["rows"], table["counted"]) == (["zone", "depot", "weight"], 2, True)


@pytest.mark.parametrize("suffix", SUFFIXES)
def test_the_feature_job_reads_every_file_that_is_good(suffix: str, s3: Any, tmp_path: Path) -> None:
    body = zipped("parcels.csv", PARCELS) if suffix.endswith(".zip") else PARCELS
    drop(s3, {"parcels.csv": None, f"parcels{suffix}": body})
    found = found_by(s3, {"parcels": ["zone"]})["tables"]["parcels"]
    source, scratch = tmp_path / "source", tmp_path / "scratch"
    source.mkdir()
    scratch.mkdir()
    (source / found["file"]).write_bytes(body)
    table = Table("parcels", (Field("zone", "string"),), tuple)
    assert list(header(table, locate(table, source, scratch))) == found["columns"]


def test_a_byte_order_mark_is_no_part_of_the_first_column(s3: Any) -> None:
    drop(s3, {"parcels.csv": b"\xef\xbb\xbf" + PARCELS})
    assert found_by(s3)["tables"]["parcels"]["columns"][0] == "zone"


@pytest.mark.parametrize("suffix", SUFFIXES)
def test_a_large_table_is_read_by_its_beginning_alone_and_its_rows_estimated(suffix: str, s3: Any) -> None:
    chance = random.Random(7)
    lines = [f"south,{chance.random()},{chance.random():.3f}\n" for _ in range(300_000)]
    text = b"zone,depot,weight\n" + "".join(lines).encode()
    assert len(text) > 5 * SAMPLE_BYTES
    body = zipped("parcels.csv", text) if suffix.endswith(".zip") else text
    drop(s3, {"parcels.csv": None, f"parcels{suffix}": body})
    read = 0

    def count(http_response: Any = None, **_: Any) -> None:
        nonlocal read
        read += int(http_response.headers.get("content-length", 0)) if http_response is not None else 0

    s3.meta.events.register("needs-retry.s3.GetObject", lambda response, **_: count(response[0] if response else None))
    table = found_by(s3, {"parcels": ["zone"]})["tables"]["parcels"]
    assert table["counted"] is False
    assert abs(table["rows"] - 300_000) < 30_000
    assert 0 < read < 2 * SAMPLE_BYTES + 2**19


@pytest.mark.parametrize(
    ("files", "said"),
    [
        ({"parcels.csv": None}, "table parcels: expected one of parcels.csv, parcels.csv.zip"),
        ({"parcels.csv": None, "parcels.csv.gz": gzip.compress(PARCELS)}, "_READY, depots.csv, parcels.csv.gz"),
        ({"parcels.csv": b""}, "table parcels: parcels.csv has 0 bytes, expected 1 to"),
        ({"parcels.csv": PARCELS * 100}, "expected 1 to 1,000"),
        (
            {"parcels.csv": b"zone,depot\na,b\n"},
            "table parcels: column weight: expected in the first line of parcels.csv",
        ),
        ({"parcels.csv": b"zone,zone,weight\na,b,1\n"}, "table parcels: column zone: expected once"),
        ({"parcels.csv": b"zone,weight,x,x\na,1,b,c\n"}, "table parcels: column x: expected once"),
        ({"parcels.csv": b"zone,depot,weight\n"}, "table parcels: expected rows after the first line"),
        ({"parcels.csv": b"\n\n\n"}, "column zone: expected in the first line of parcels.csv, found nothing"),
        (
            {"parcels.csv": "zone,weight\nM\u00fcnchen,1\n".encode("latin-1")},
            "line 2 of parcels.csv: expected UTF-8, found the byte 0xfc",
        ),
        ({"parcels.csv": None, "parcels.csv.zip": PARCELS}, "is not a whole compressed parcels.csv"),
        (
            {"parcels.csv": None, "parcels.csv.zip": zipped("parcels.csv", PARCELS)[:-9]},
            "is not a whole compressed parcels.csv",
        ),
        ({"parcels.csv": None, "parcels.csv.zip": b"PK"}, "is not a whole compressed parcels.csv"),
        ({"parcels.csv": None, "parcels.csv.zip": zipped("x.csv", PARCELS)}, "is not a whole compressed parcels.csv"),
        ({"depots.csv": b"city\nOslo\n"}, "table depots: column depot"),
    ],
)
def test_what_is_wrong_with_a_drop_is_said_by_table_and_column(
    files: dict[str, bytes | None], said: str, s3: Any
) -> None:
    drop(s3, files)
    with pytest.raises(BadData) as raised:
        found_by(s3, most=1000)
    assert said in str(raised.value)
    assert "\n" not in str(raised.value)


def test_s3_s_own_errors_pass_through(s3: Any) -> None:
    s3.delete_bucket(Bucket="drops")
    with pytest.raises(ClientError):
        found_by(s3)


@pytest.mark.parametrize("key", ["incoming/2013-11/parcels.csv", "_READY", "incoming/_READY/x"])
def test_another_object_than_the_mark_is_no_drop(key: str) -> None:
    with pytest.raises(BadData, match="expected FOLDER/_READY"):
        validate.arrival(came(key))


def test_a_key_is_taken_as_it_is() -> None:
    assert validate.arrival(came("in%20coming/a+b/_READY")).folder == "in%20coming/a+b/"


@pytest.mark.parametrize(
    "happened",
    [{}, {"execution": EXECUTION}, {"execution": "../x", "event": event("s3_object_created")}, {**came(), "event": {}}],
)
def test_what_is_no_arrival_is_refused(happened: dict[str, Any]) -> None:
    with pytest.raises(validate.BadEvent):
        validate.arrival(happened)


@pytest.mark.parametrize("text", ["", "[]", "{}", '{"a": []}', '{"a": [1]}', '{"a": "b"}'])
def test_sources_that_name_no_columns_are_a_mistake_of_the_function(text: str) -> None:
    with pytest.raises(Misconfigured, match="SOURCES"):
        validate.sources_in(text)


def environment(monkeypatch: pytest.MonkeyPatch, **more: str) -> None:
    for name, value in {"SOURCES": json.dumps(SOURCES), "ARTIFACTS": "artifacts", **more}.items():
        monkeypatch.setenv(name, value)


def test_the_handler_looks_at_the_bucket_of_its_event(s3: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    environment(monkeypatch)
    drop(s3)
    assert validate.handler(came(), Context())["source"] == "s3://drops/incoming/2013-11/"


def test_an_execution_is_validated_once_and_again_after_a_failure(s3: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    table = boto3.client("dynamodb")
    key = [{"AttributeName": "id", "KeyType": "HASH"}]
    types = [{"AttributeName": "id", "AttributeType": "S"}]
    table.create_table(TableName="once", KeySchema=key, AttributeDefinitions=types, BillingMode="PAY_PER_REQUEST")
    environment(monkeypatch, IDEMPOTENCY_TABLE="once")
    drop(s3, {"parcels.csv": None})
    with pytest.raises(BadData):
        validate.handler(came(), Context())
    drop(s3)
    found = validate.handler(came(), Context())
    s3.delete_object(Bucket="drops", Key="incoming/2013-11/parcels.csv")
    assert validate.handler(came(), Context()) == found
    with pytest.raises(BadData):
        validate.handler({**came(), "execution": "another"}, Context())
