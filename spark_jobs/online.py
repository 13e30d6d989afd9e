"""The online store: a view's latest values per entity, for whoever answers requests.

An entity is what the contract's key columns name; in the view it has a row for each event time, in the
store the latest of them. This module is what writing and reading share: the item and the codec of its
values. It imports no pyspark; a store is a file in ``spark_jobs/stores``.

Errors::

    UserError
    ├── AwsError (console.aws)
    └── OnlineError
        ├── BadStoreAddress      the URI is not one of a store
        ├── StoreUnusable        it is not there, can't be written, or what it holds are not items
        ├── ViewUnreadable       no such view, or its files can't be read
        └── OtherContract        the item was published by another contract than the reader has
"""

from __future__ import annotations

import json
import math
import re
import struct
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Protocol, Self

from console import UserError
from spark_jobs.contract import Contract, Dtype

Value = str | int | float | datetime | None
"""By dtype: ``string`` str, ``int32`` and ``int64`` int, ``float32`` and ``float64`` float, ``timestamp`` an
aware datetime in UTC. Missing is ``None``, of every dtype."""

Attribute = Mapping[str, str | bool]
"""A value as DynamoDB types it: ``{"S": text}``, ``{"N": decimal}`` or ``{"NULL": True}``. Every store keeps this."""

LONGEST_ENTITY = 2048
LARGEST_ITEM = 400 * 1024
"""Bytes: DynamoDB's bounds of a partition key and of an item. They hold for each store, so that none takes more."""

FIXED_BYTES = 192
"""Of an item's names, instants, digest and expiry: DynamoDB counts 185."""

_INTEGERS: dict[Dtype, tuple[int, int]] = {"int32": (-(2**31), 2**31 - 1), "int64": (-(2**63), 2**63 - 1)}
_KINDS: dict[Dtype, tuple[str, ...]] = {
    "string": ("S",),
    "timestamp": ("S",),
    "int32": ("N",),
    "int64": ("N",),
    "float32": ("N", "S"),
    "float64": ("N", "S"),
}
_JSON = json.JSONEncoder(ensure_ascii=False, separators=(",", ":"), allow_nan=False)
_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_INSTANT = re.compile(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{6}Z")
_LEAST_NUMBER, _GREATEST_NUMBER = 1e-129, 9e125
"""Between these magnitudes DynamoDB keeps each float."""


class OnlineError(UserError):
    """Features can't be published, or read back."""


class BadStoreAddress(OnlineError):
    """The URI is not one of a store."""


class StoreUnusable(OnlineError):
    """The store is not there, can't be written, or what it holds are not items."""


class ViewUnreadable(OnlineError):
    """No such view, or its files can't be read."""


class OtherContract(OnlineError):
    """The item was published by another contract than the reader has."""


class Unpublishable(Exception):
    """A row that can't be an item; its text is the reason, in a few words. Caught where rows are counted."""


@dataclass(frozen=True)
class Field:
    name: str
    dtype: Dtype


@dataclass(frozen=True)
class Schema:
    """What of a view is kept online: its keys and features, in the contract's order."""

    view: str
    contract: str
    event_time: str
    keys: tuple[Field, ...]
    features: tuple[Field, ...]

    @classmethod
    def of(cls, contract: Contract) -> Self:
        """The schema of a contract.

        Raises:
            OnlineError: it has no key, so that its rows are not of any entity.
        """
        keys = tuple(Field(column.name, column.dtype) for column in contract.columns if column.role == "key")
        if not keys:
            raise OnlineError(f"view {contract.view!r} has no column with the role key: its rows are of no entity")
        features = tuple(Field(column.name, column.dtype) for column in contract.features)
        return cls(contract.view, contract.digest, contract.event_time, keys, features)


@dataclass(frozen=True)
class Item:
    """What a store keeps of one entity of one view.

    ``event_time`` is of the row, as :func:`instant_text` writes it, so that its order is that of time;
    ``published_at`` likewise. ``expires_at``: seconds since 1970, from which on it is not read any more.
    """

    entity: str
    view: str
    event_time: str
    contract: str
    features: Mapping[str, Attribute]
    published_at: str
    expires_at: int | None = None

    @property
    def size(self) -> int:
        """Bytes, as DynamoDB counts an item's names and values, rounded up."""
        features = sum(len(name.encode()) + 1 + _bytes_of(value) for name, value in self.features.items())
        return FIXED_BYTES + len(self.entity.encode()) + len(self.view.encode()) + features


@dataclass(frozen=True)
class Written:
    """What became of items: ``unchanged`` were there as they are, ``older`` met a later event time."""

    written: int = 0
    unchanged: int = 0
    older: int = 0

    def __add__(self, other: Written) -> Written:
        return Written(self.written + other.written, self.unchanged + other.unchanged, self.older + other.older)


class OnlineStore(Protocol):
    """Items that several processes read and write at once."""

    def write(self, items: Sequence[Item]) -> Written:
        """Keep each item, unless the store has one of its entity and view with a later event time, or the same one.

        Raises:
            StoreUnusable, AwsError: not all of them were taken. Those that were stay.
        """

    def read(self, entities: Sequence[str], view: str) -> dict[str, Item]:
        """Entity → its item, for those that have one, expired or not.

        Raises:
            StoreUnusable, AwsError: the store can't be read.
        """

    def close(self) -> None:
        """Let go of what is open."""


@dataclass(frozen=True)
class Features:
    """The latest values of an entity. ``values``: by feature, in the contract's order."""

    event_time: datetime
    published_at: datetime
    values: Mapping[str, Value]


def read(
    store: OnlineStore, schema: Schema, keys: Sequence[Sequence[Value]], now: datetime | None = None
) -> list[Features | None]:
    """The features of entities, each given by the values of its key columns; ``None`` for one that has none.

    Raises:
        OtherContract: an entity's were published by another contract than the schema's.
        StoreUnusable, AwsError: the store can't be read, or holds what is not an item of this schema.
    """
    entities = [entity_of(schema, key) for key in keys]
    found = store.read(list(dict.fromkeys(entities)), schema.view)
    at = (now or datetime.now(UTC)).timestamp()
    return [_features(schema, found.get(entity), at) for entity in entities]


def _features(schema: Schema, item: Item | None, at: float) -> Features | None:
    if item is None or (item.expires_at is not None and item.expires_at <= at):
        return None
    if item.contract != schema.contract:
        raise OtherContract(
            f"view {schema.view}, entity {item.entity}: it was published by the contract {item.contract[:12]}, and "
            f"{schema.contract[:12]} is expected: publish the view that the model was trained on"
        )
    try:
        values = {field.name: decode(item.features[field.name], field.dtype) for field in schema.features}
        return Features(instant(item.event_time), instant(item.published_at), values)
    except (KeyError, ValueError, OverflowError) as error:
        raise StoreUnusable(
            f"view {schema.view}, entity {item.entity}: what is stored does not keep to the contract "
            f"({type(error).__name__}: {error}): publish it again"
        ) from error


def entity_of(schema: Schema, key: Sequence[Value]) -> str:
    """The partition key: canonical JSON of the values of the key columns, in the contract's order.

    Raises:
        Unpublishable: a value is missing or not finite, or the text is too long.
        ValueError: there are more or fewer values than key columns.
    """
    parts = [_key_part(field, value) for field, value in zip(schema.keys, key, strict=True)]
    entity = _JSON.encode(parts)
    if len(entity.encode()) > LONGEST_ENTITY:
        raise Unpublishable(f"its keys have more than {LONGEST_ENTITY:,} bytes")
    return entity


def _key_part(field: Field, value: Value) -> str | int | float:
    if value is None or is_missing(value):
        raise Unpublishable(f"{field.name}, a key, is missing")
    if isinstance(value, datetime):
        return instant_text(value)
    if not field.dtype.startswith("float") or isinstance(value, str):
        return value
    number = _float32(value) if field.dtype == "float32" else float(value)
    if math.isinf(number):
        raise Unpublishable(f"{field.name}, a key, is infinite")
    # Zero has two signs, and is one entity.
    return number or 0.0


def is_missing(value: Value) -> bool:
    """NULL, or NaN, which is how a float is missing in a view."""
    return value is None or (isinstance(value, float) and math.isnan(value))


def encode(value: Value, dtype: Dtype) -> Attribute:
    """A value as it is stored. Numbers are decimals, the shortest that give a float back.

    DynamoDB's numbers have no negative zero and end at 10^126: such a float is a string of the same form.

    Raises:
        Unpublishable: it is infinite, or a timestamp of no year that has four digits.
    """
    if value is None or is_missing(value):
        return {"NULL": True}
    if dtype == "string":
        return {"S": str(value)}
    if isinstance(value, datetime):
        return {"S": instant_text(value)}
    if not isinstance(value, float):
        return {"N": str(value)}
    if math.isinf(value):
        raise Unpublishable("it is infinite")
    text = shortest(value) if dtype == "float32" else repr(value)
    is_number = _LEAST_NUMBER < abs(value) < _GREATEST_NUMBER or text == "0.0"
    return {"N" if is_number else "S": text}


def decode(stored: Attribute, dtype: Dtype) -> Value:
    """The value of what :func:`encode` made.

    Raises:
        ValueError, OverflowError: it is not a value of this dtype.
    """
    if "NULL" in stored:
        return None
    [(kind, content)] = stored.items()
    text = str(content)
    if kind not in _KINDS[dtype]:
        raise ValueError(f"{kind} is not how {dtype} is stored")
    if dtype == "string":
        return text
    if dtype == "timestamp":
        return instant(text)
    if dtype in _INTEGERS:
        least, greatest = _INTEGERS[dtype]
        number = int(text)
        if not least <= number <= greatest:
            raise ValueError(f"{number} is not {dtype}")
        return number
    value = _float32(float(text)) if dtype == "float32" else float(text)
    if not math.isfinite(value):
        raise ValueError(f"{text} is not {dtype}")
    return value


def shortest(value: float) -> str:
    """The shortest decimal that is read back as this float32, by way of a float64."""
    for digits in range(1, 10):
        text = f"{value:.{digits}g}"
        if _float32(float(text)) == value:
            return repr(float(text))
    return repr(value)


def instant_text(value: datetime) -> str:
    """``2013-01-31T09:05:00.000000Z``: always as long, so that texts sort as instants do."""
    # strftime would not fill a year before 1000 up to four digits.
    return f"{value.astimezone(UTC).replace(tzinfo=None).isoformat(timespec='microseconds')}Z"


def instant(text: str) -> datetime:
    """The instant that :func:`instant_text` wrote.

    Raises:
        ValueError: it is another text.
    """
    if not _INSTANT.fullmatch(text):
        raise ValueError(f"{text!r} is not an instant")
    return datetime.fromisoformat(text)


def instant_of(microseconds: int) -> datetime:
    """The instant so many microseconds after 1970.

    Raises:
        Unpublishable: its year has not four digits.
    """
    try:
        return _EPOCH + timedelta(microseconds=microseconds)
    except OverflowError as error:
        raise Unpublishable("an instant of no year from 1 to 9999") from error


def _float32(value: float) -> float:
    try:
        return float(struct.unpack("<f", struct.pack("<f", value))[0])
    except OverflowError:
        return math.copysign(math.inf, value)


def _bytes_of(stored: Attribute) -> int:
    return max((len(str(content).encode()) for content in stored.values()), default=0) + 1
