"""The online stores: SQLite as it is, and DynamoDB as moto keeps it. What one does, the other does."""

from __future__ import annotations

import sqlite3
from collections.abc import Iterator
from contextlib import closing
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import boto3  # type: ignore[import-untyped]
import pytest
from botocore.exceptions import ClientError  # type: ignore[import-untyped]
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from console.aws import AwsDenied, AwsNotFound, AwsUnreachable
from spark_jobs.contract import Dtype
from spark_jobs.online import (
    BadStoreAddress,
    Features,
    Field,
    Item,
    OnlineStore,
    OtherContract,
    Schema,
    StoreUnusable,
    Value,
    Written,
    encode,
    instant_text,
    read,
)
from spark_jobs.stores import dynamodb, open_store, sqlite
from tests.unit.spark_jobs import aws
from tests.unit.spark_jobs.test_online import EXTREMES, VALUES, bits

NOON = datetime(2024, 5, 6, 12, tzinfo=UTC)
FEATURES = tuple(Field(f"of_{dtype}", dtype) for dtype in VALUES)
SCHEMA = Schema("orders", "c" * 64, "at", (Field("id", "string"),), FEATURES)


@pytest.fixture(scope="module")
def account() -> Iterator[None]:
    with aws.running():
        yield


@pytest.fixture(scope="module", params=["sqlite", "dynamodb"])
def shared(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory, account: None
) -> Iterator[OnlineStore]:
    """A store that every test of the module writes to: each has an entity of its own."""
    folder = tmp_path_factory.mktemp("stores")
    uri = f"sqlite:///{folder / 'made' / 'online.db'}" if request.param == "sqlite" else f"dynamodb:{aws.TABLE}"
    with closing(open_store(uri)) as store:
        yield store


@pytest.fixture
def entity(request: pytest.FixtureRequest) -> str:
    return f'["{request.node.name}"]'


def item(entity: str, size: float = 1.5, at: datetime = NOON, **changes: Any) -> Item:
    features = {field.name: encode(None, field.dtype) for field in FEATURES} | {"of_float32": encode(size, "float32")}
    made = Item(entity, SCHEMA.view, instant_text(at), SCHEMA.contract, features, instant_text(NOON))
    return replace(made, **changes)


def kept(store: OnlineStore, entity: str) -> Item:
    return store.read([entity], SCHEMA.view)[entity]


def test_what_was_written_is_read(shared: OnlineStore, entity: str) -> None:
    written = item(entity, expires_at=2_000_000_000)
    assert shared.write([written]) == Written(written=1)
    assert kept(shared, entity) == written


def test_the_same_again_changes_nothing(shared: OnlineStore, entity: str) -> None:
    shared.write([item(entity)])
    assert shared.write([item(entity, published_at=instant_text(NOON + timedelta(days=1)))]) == Written(unchanged=1)
    assert kept(shared, entity).published_at == instant_text(NOON)


def test_a_later_value_takes_the_place_of_an_earlier_one(shared: OnlineStore, entity: str) -> None:
    shared.write([item(entity)])
    later = item(entity, 2.5, NOON + timedelta(microseconds=1))
    assert shared.write([later]) == Written(written=1)
    assert kept(shared, entity) == later


def test_an_earlier_value_never_takes_the_place_of_a_later_one(shared: OnlineStore, entity: str) -> None:
    shared.write([item(entity)])
    assert shared.write([item(entity, 2.5, NOON - timedelta(microseconds=1))]) == Written(older=1)
    assert kept(shared, entity) == item(entity)


@pytest.mark.parametrize(
    "changes",
    [{"contract": "d" * 64}, {"features": {}}, {"expires_at": 2_000_000_000}],
    ids=lambda changes: min(changes),
)
def test_a_corrected_value_of_the_same_time_is_written(
    shared: OnlineStore, entity: str, changes: dict[str, Any]
) -> None:
    shared.write([item(entity)])
    assert shared.write([item(entity, **changes)]) == Written(written=1)
    assert kept(shared, entity) == item(entity, **changes)
    assert shared.write([item(entity, **changes)]) == Written(unchanged=1)
    assert shared.write([item(entity)]) == Written(written=1)


def test_two_views_of_one_entity_do_not_meet(shared: OnlineStore, entity: str) -> None:
    shared.write([item(entity), item(entity, 2.5, view="returns")])
    assert kept(shared, entity) == item(entity)
    assert shared.read([entity], "returns")[entity].features["of_float32"] == encode(2.5, "float32")


def test_many_entities_are_read_at_once_and_those_that_are_not_there_left_out(shared: OnlineStore) -> None:
    items = [item(f"[{number}]", number / 8) for number in range(250)]
    assert shared.write(items) == Written(written=250)
    found = shared.read([f"[{number}]" for number in range(260)], SCHEMA.view)
    assert found == {made.entity: made for made in items}


# The store is the module's on purpose: each example writes all that it reads.
@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], max_examples=40)
@given(values=st.fixed_dictionaries({field.name: VALUES[field.dtype] | st.none() for field in FEATURES}))
def test_features_of_every_dtype_are_read_exactly_as_they_were_published(
    shared: OnlineStore, values: dict[str, Value]
) -> None:
    assert read_back(shared, values) == {name: (type(value), bits(value)) for name, value in values.items()}


@pytest.mark.parametrize(("dtype", "value"), EXTREMES)
def test_so_are_the_extremes(shared: OnlineStore, dtype: Dtype, value: Value) -> None:
    values: dict[str, Value] = {field.name: None for field in FEATURES} | {f"of_{dtype}": value}
    assert read_back(shared, values)[f"of_{dtype}"] == (type(value), bits(value))


def read_back(store: OnlineStore, values: dict[str, Value]) -> dict[str, tuple[type, Value | bytes]]:
    features = {field.name: encode(values[field.name], field.dtype) for field in FEATURES}
    key = f"{hash(str(values)):x}"
    store.write([item(f'["{key}"]', features=features)])
    [found] = read(store, SCHEMA, [[key]])
    assert found is not None
    assert list(found.values) == [field.name for field in FEATURES]
    return {name: (type(value), bits(value)) for name, value in found.values.items()}


def test_reading_gives_the_features_of_each_key_in_the_order_asked_for(shared: OnlineStore) -> None:
    shared.write([item('["one"]', 1), item('["two"]', 2)])
    one, none, two, again = read(shared, SCHEMA, [["one"], ["none"], ["two"], ["one"]])
    assert isinstance(one, Features)
    assert isinstance(two, Features)
    assert (one.values["of_float32"], none, two.values["of_float32"], again) == (1.0, None, 2.0, one)
    assert one.event_time == one.published_at == NOON


def test_an_item_is_not_read_from_its_expiry_on(shared: OnlineStore) -> None:
    ends = NOON + timedelta(days=36_500)
    shared.write([item('["expiring"]', expires_at=int(ends.timestamp()))])
    assert read(shared, SCHEMA, [["expiring"]], now=ends) == [None]
    assert read(shared, SCHEMA, [["expiring"]], now=ends - timedelta(seconds=1)) != [None]


def test_features_of_another_contract_are_not_taken_for_those_of_the_model(shared: OnlineStore) -> None:
    shared.write([item('["other"]', contract="d" * 64)])
    with pytest.raises(OtherContract, match="published by the contract dddddddddddd, and cccccccccccc is expected"):
        read(shared, SCHEMA, [["other"]])


def test_an_item_that_lacks_a_feature_is_named(shared: OnlineStore) -> None:
    shared.write([item('["short"]', features={})])
    with pytest.raises(StoreUnusable, match=r'entity \["short"\]: what is stored does not keep to the contract'):
        read(shared, SCHEMA, [["short"]])


@pytest.mark.parametrize(
    ("uri", "says"),
    [
        ("redis:features", "expected one of sqlite:…, dynamodb:…"),
        ("features", "expected one of"),
        ("sqlite:online.db", "expected sqlite:///PATH"),
        ("dynamodb:", "expected dynamodb:TABLE"),
        ("dynamodb:a table", "expected dynamodb:TABLE"),
    ],
)
def test_an_address_of_no_store_is_refused(uri: str, says: str) -> None:
    with pytest.raises(BadStoreAddress, match=says):
        open_store(uri)


def test_a_database_that_is_not_there_is_not_made_by_reading(tmp_path: Path) -> None:
    store = open_store(f"sqlite:///{tmp_path / 'online.db'}")
    with pytest.raises(StoreUnusable, match="nothing is published there yet"):
        store.read(["[1]"], "orders")
    assert list(tmp_path.iterdir()) == []


def test_a_file_that_is_no_database_is_left_alone(tmp_path: Path) -> None:
    file = tmp_path / "online.db"
    file.write_text("notes of mine, and not of anybody's database")
    with closing(open_store(f"sqlite:///{file}")) as store, pytest.raises(StoreUnusable, match="not a database"):
        store.write([item("[1]")])
    assert file.read_text().startswith("notes of mine")


def test_a_database_that_is_full_says_so_and_is_used_again_when_there_is_room(tmp_path: Path) -> None:
    with closing(open_store(f"sqlite:///{tmp_path / 'online.db'}")) as store:
        store.write([item("[1]")])
        assert isinstance(store, sqlite.SqliteStore)
        assert store._connection is not None
        store._connection.execute("PRAGMA max_page_count = 4")
        many = [item(f"[{number}]") for number in range(1000)]
        with pytest.raises(StoreUnusable, match="database or disk is full"):
            store.write(many)
        store._connection.execute("PRAGMA max_page_count = 10000")
        assert store.write(many) == Written(written=999, unchanged=1)


def test_sqlite_forgets_what_has_expired(tmp_path: Path) -> None:
    with closing(open_store(f"sqlite:///{tmp_path / 'online.db'}")) as store:
        store.write([item("[1]", expires_at=1)])
        store.write([item("[2]")])
    with closing(sqlite3.connect(tmp_path / "online.db")) as database:
        assert database.execute("SELECT entity FROM online").fetchall() == [("[2]",)]


def test_a_dynamodb_item_is_typed_as_other_readers_expect_it(account: None) -> None:
    with closing(open_store(f"dynamodb:{aws.TABLE}")) as store:
        store.write([item('["typed"]', 0.1, expires_at=2_000_000_000)])
    key = {"entity": {"S": '["typed"]'}, "view": {"S": "orders"}}
    found = boto3.client("dynamodb").get_item(TableName=aws.TABLE, Key=key)["Item"]
    assert found["features"]["M"]["of_float32"] == {"N": "0.1"}
    assert found["features"]["M"]["of_string"] == {"NULL": True}
    assert found["event_time"] == {"S": "2024-05-06T12:00:00.000000Z"}
    assert found["expires_at"] == {"N": "2000000000"}


def bytes_in_dynamodb(stored: dict[str, Any]) -> int:
    """As AWS counts: https://docs.aws.amazon.com/amazondynamodb/latest/developerguide/CapacityUnitCalculations.html"""
    [(kind, content)] = stored.items()
    if kind == "M":
        return 3 + sum(1 + len(name.encode()) + bytes_in_dynamodb(value) for name, value in content.items())
    return {"S": len(str(content).encode()), "N": len(str(content)) // 2 + 2, "NULL": 1}[kind]


@pytest.mark.parametrize(
    "features",
    [{}, {"of_string": {"S": "señal" * 1000}}, {name: {"N": "1"} for name in "abcdefgh"}, {"a": {"NULL": True}}],
    ids=len,
)
def test_an_item_is_no_larger_in_dynamodb_than_its_size(features: dict[str, Any]) -> None:
    made = item("[1]", features=features, expires_at=2_000_000_000)
    stored = dynamodb._stored(made)
    assert sum(len(name) + bytes_in_dynamodb(value) for name, value in stored.items()) <= made.size


def refuse(store: OnlineStore, times: int, code: str) -> None:
    """Let DynamoDB refuse the first writes of this store, before they come to moto."""
    left = iter(range(times))

    def answer(**_: Any) -> None:
        if next(left, None) is not None:
            raise ClientError({"Error": {"Code": code, "Message": "no"}}, "PutItem")

    assert isinstance(store, dynamodb.DynamoDbStore)
    store._client.meta.events.register("before-call.dynamodb.PutItem", answer)


@pytest.fixture
def impatient(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(dynamodb, "TRIES", 1)
    monkeypatch.setattr(dynamodb, "FIRST_PAUSE_SECONDS", 0.001)
    monkeypatch.setattr(dynamodb, "LONGEST_PAUSE_SECONDS", 0.002)


def test_items_that_dynamodb_did_not_process_are_tried_again(account: None, impatient: None) -> None:
    items = [item(f'["throttled {number}"]') for number in range(40)]
    with closing(open_store(f"dynamodb:{aws.TABLE}")) as store:
        refuse(store, 60, "ProvisionedThroughputExceededException")
        assert store.write(items) == Written(written=40)
        assert len(store.read([made.entity for made in items], SCHEMA.view)) == 40


def test_a_table_that_stays_at_its_limit_is_an_error_and_not_a_loss(account: None, impatient: None) -> None:
    with closing(open_store(f"dynamodb:{aws.TABLE}")) as store:
        refuse(store, 1000, "ThrottlingException")
        with pytest.raises(StoreUnusable, match="3 of 3 items were not processed in 8 rounds"):
            store.write([item(f'["never {number}"]') for number in range(3)])


def test_a_table_that_is_not_there_is_named(account: None) -> None:
    with (
        closing(open_store("dynamodb:nowhere")) as store,
        pytest.raises(AwsNotFound, match="dynamodb:nowhere: can't write"),
    ):
        store.write([item("[1]")])


def test_access_that_is_denied_is_said_with_what_to_do(account: None, impatient: None) -> None:
    with closing(open_store(f"dynamodb:{aws.TABLE}")) as store:
        refuse(store, 1000, "AccessDeniedException")
        with pytest.raises(AwsDenied, match=r"access is denied .*: see this role's policy"):
            store.write([item("[1]")])


def test_an_endpoint_that_does_not_answer_is_named(impatient: None, monkeypatch: pytest.MonkeyPatch) -> None:
    for name, value in {**aws.SETTINGS, "AWS_ENDPOINT_URL": "http://127.0.0.1:9"}.items():
        monkeypatch.setenv(name, value)
    with (
        closing(open_store(f"dynamodb:{aws.TABLE}")) as store,
        pytest.raises(AwsUnreachable, match="AWS is not reached"),
    ):
        store.write([item("[1]")])
