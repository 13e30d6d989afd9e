"""``python -m spark_jobs publish``: a view's latest row of each entity → the online store.

The view is read twice, a batch of rows at a time: first its keys, to find the latest row of each entity
(kept on disk, so that memory does not grow with the view), then those rows' features. Needs no pyspark.
"""

from __future__ import annotations

import json
import sqlite3
import tempfile
import time
from collections import Counter
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, closing, contextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Any, Self, TextIO

from console import Stage, UserError, duration, stage
from spark_jobs.contract import dtype_of, read_contract
from spark_jobs.online import (
    LARGEST_ITEM,
    Field,
    Item,
    OnlineStore,
    Schema,
    Unpublishable,
    Value,
    ViewUnreadable,
    Written,
    encode,
    entity_of,
    instant_of,
    instant_text,
)

if TYPE_CHECKING:
    from types import TracebackType

VIEW_FOLDER = "view"
REJECTED = "rejected.jsonl"
BATCH_ROWS = 16_384
ITEMS_PER_WRITE = 500
EVERY_SECONDS = 10.0


@dataclass(frozen=True)
class Published:
    """``rows`` read, of so many ``entities``; what became of their items; the rows rejected, by reason."""

    schema: Schema
    rows: int
    entities: int
    written: Written
    rejected: dict[str, int]


@dataclass
class Rejections:
    """Rows that can't be published: counted, and kept as lines of JSON with the reason of each.

    The file is made at the first of them; one that an earlier run has left goes.
    """

    file: Path
    view: str
    counts: Counter[str] = field(default_factory=Counter)
    _open: TextIO | None = None

    def __enter__(self) -> Self:
        try:
            self.file.unlink(missing_ok=True)
        except OSError as error:
            raise self._unwritable(error) from error
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        if self._open is not None:
            try:
                self._open.close()
            except OSError as unwritten:
                raise self._unwritable(unwritten) from unwritten

    def add(self, reason: str, row: int, keys: dict[str, str]) -> None:
        """Keep that row number ``row`` of the view (from 0, over its files by name) is rejected."""
        try:
            if self._open is None:
                self.file.parent.mkdir(parents=True, exist_ok=True)
                self._open = self.file.open("w", encoding="utf-8")
            self._open.write(
                json.dumps({"reason": reason, "view": self.view, "row": row, **keys}, ensure_ascii=False) + "\n"
            )
        except OSError as error:
            raise self._unwritable(error) from error
        self.counts[reason] += 1

    def _unwritable(self, error: OSError) -> UserError:
        return UserError(f"can't write {self.file} ({error.strerror}): name another folder by --rejected")


def lifetime(text: str) -> timedelta:
    """How long items are read, of ``--expires``: ``90d``, ``12h`` or ``30m``.

    Raises:
        UserError: it is something else.
    """
    found = duration(text)
    if found is None:
        raise UserError(f"--expires {text!r}: expected a time such as 90d, 12h or 30m")
    return found


def publish_view(
    folder: Path, store: OnlineStore, where: str, *, rejected: Path, expires: timedelta | None = None
) -> Published:
    """Write the latest values of each entity of the view in ``folder`` to ``store``, which errors call ``where``.

    ``rejected``: the folder for the rows that can't be published. ``expires``: how long from now on the
    items are read.

    Raises:
        ContractError: the view is not what its contract says.
        OnlineError, AwsError: it can't be read, or the store does not take it.
        UserError: the rejected rows can't be written.
    """
    schema = Schema.of(contract := read_contract(folder))
    files = sorted((folder / VIEW_FOLDER).glob("*.parquet"))
    if not files:
        raise ViewUnreadable(f"no Parquet files in {folder / VIEW_FOLDER}: make the view with `python -m spark_jobs`")
    with _unreadable(folder / VIEW_FOLDER):
        import pyarrow.parquet as pq

        for file in files:
            found = {column.name: dtype_of(column.type) for column in pq.read_schema(file)}
            contract.check_columns(found, str(file))
    with ExitStack() as stack:
        scratch = Path(stack.enter_context(tempfile.TemporaryDirectory()))
        rejections = stack.enter_context(Rejections(rejected / REJECTED, schema.view))
        latest = stack.enter_context(closing(sqlite3.connect(scratch / "latest.db", isolation_level=None)))
        with stage(f"find the latest row of each {', '.join(key.name for key in schema.keys)}") as step:
            rows = _find_latest(files, schema, latest, rejections)
            [entities] = latest.execute("SELECT count(*) FROM latest").fetchone()
            step.detail = f"{rows:,} rows, {entities:,} entities"
        with stage(f"publish to {where}") as step:
            written = _write(files, schema, latest, rejections, store, step, entities, expires)
    return Published(schema, rows, entities, written, dict(rejections.counts))


def _find_latest(files: Sequence[Path], schema: Schema, latest: sqlite3.Connection, rejections: Rejections) -> int:
    """Fill the table ``latest`` (entity, its last event time in microseconds, the row's number); give the rows read."""
    latest.execute("PRAGMA journal_mode = OFF")
    latest.execute("PRAGMA synchronous = OFF")
    latest.execute("CREATE TABLE latest (entity TEXT PRIMARY KEY, time INTEGER, row INTEGER) WITHOUT ROWID")
    rows = 0
    for first, batch in _batches(files, [*schema.keys, Field(schema.event_time, "timestamp")]):
        rows = first + batch.num_rows
        *keys, times = (column.to_pylist() for column in batch.columns)
        seen: dict[str, tuple[int, int]] = {}
        for offset, at in enumerate(times):
            row, key = first + offset, [values[offset] for values in keys]
            try:
                entity = entity_of(schema, _values(key, schema.keys))
                if at is None:
                    raise Unpublishable("its event time is missing")
                instant_of(at)
                known = (
                    seen.get(entity)
                    or latest.execute("SELECT time, row FROM latest WHERE entity = ?", (entity,)).fetchone()
                )
                if known and known[0] == at:
                    raise Unpublishable("another row has its keys and its event time")
            except Unpublishable as refused:
                rejections.add(str(refused), row, _told(schema, key, at))
                continue
            if known is None or at > known[0]:
                seen[entity] = (at, row)
        latest.execute("BEGIN")
        latest.executemany(
            "INSERT OR REPLACE INTO latest VALUES (?, ?, ?)", ((entity, *found) for entity, found in seen.items())
        )
        latest.execute("COMMIT")
    latest.execute("CREATE INDEX rows ON latest (row)")
    return rows


def _write(
    files: Sequence[Path],
    schema: Schema,
    latest: sqlite3.Connection,
    rejections: Rejections,
    store: OnlineStore,
    step: Stage,
    entities: int,
    expires: timedelta | None,
) -> Written:
    now = datetime.now(UTC)
    published, expires_at = instant_text(now), int((now + expires).timestamp()) if expires else None
    started = told = time.monotonic()
    done, items = Written(), 0
    for first, batch in _batches(files, schema.features):
        wanted = latest.execute(
            "SELECT row, entity, time FROM latest WHERE row >= ? AND row < ? ORDER BY row",
            (first, first + batch.num_rows),
        ).fetchall()
        for start in range(0, len(wanted), ITEMS_PER_WRITE):
            some = wanted[start : start + ITEMS_PER_WRITE]
            columns = [column.to_pylist() for column in batch.take([row - first for row, _, _ in some]).columns]
            made = []
            for offset, (row, entity, at) in enumerate(some):
                try:
                    features = _encoded(schema, [values[offset] for values in columns])
                    item = Item(
                        entity,
                        schema.view,
                        instant_text(instant_of(at)),
                        schema.contract,
                        features,
                        published,
                        expires_at,
                    )
                    if item.size > LARGEST_ITEM:
                        raise Unpublishable(f"its features have more than {LARGEST_ITEM:,} bytes")
                    made.append(item)
                except Unpublishable as refused:
                    rejections.add(str(refused), row, {"entity": entity, "event_time": instant_text(instant_of(at))})
            done += store.write(made)
            items += len(some)
            if time.monotonic() - told >= EVERY_SECONDS:
                told = time.monotonic()
                step.note(f"{items:,} of {entities:,} entities, {items / (told - started):,.0f} a second")
    seconds = max(time.monotonic() - started, 1e-6)
    step.detail = (
        f"{done.written:,} written, {done.unchanged:,} unchanged, {done.older:,} older than what is there, "
        f"{rejections.counts.total():,} rows rejected; {items / seconds:,.0f} entities a second"
    )
    return done


def _encoded(schema: Schema, values: Sequence[Any]) -> dict[str, Any]:
    features = {}
    for feature, value in zip(schema.features, _values(values, schema.features), strict=True):
        try:
            features[feature.name] = encode(value, feature.dtype)
        except Unpublishable as refused:
            raise Unpublishable(f"{feature.name}: {refused}") from refused
    return features


def _values(values: Sequence[Any], fields: Sequence[Field]) -> list[Value]:
    """Instants come as microseconds, because Arrow's own are not of every year."""
    return [
        instant_of(value) if field_.dtype == "timestamp" and value is not None else value
        for value, field_ in zip(values, fields, strict=True)
    ]


def _told(schema: Schema, key: Sequence[Any], at: int | None) -> dict[str, str]:
    names = [key_.name for key_ in schema.keys]
    return {name: str(value) for name, value in [*zip(names, key, strict=True), (schema.event_time, at)]}


def _batches(files: Sequence[Path], fields: Sequence[Field]) -> Iterator[tuple[int, Any]]:
    """These columns of the view, in this order, as record batches, each with the number of its first row."""
    import pyarrow as pa
    import pyarrow.parquet as pq

    names = [field_.name for field_ in fields]
    first = 0
    for file in files:
        with _unreadable(file), pq.ParquetFile(file) as parquet:
            for batch in parquet.iter_batches(BATCH_ROWS, columns=names):
                columns = [
                    batch[field_.name].cast(pa.timestamp("us", "UTC")).cast(pa.int64())
                    if field_.dtype == "timestamp"
                    else batch[field_.name]
                    for field_ in fields
                ]
                made = pa.record_batch(columns, names)
                made.validate(full=True)
                yield first, made
                first += batch.num_rows


@contextmanager
def _unreadable(where: Path) -> Iterator[None]:
    try:
        import pyarrow as pa
    except ImportError as error:
        raise ViewUnreadable("pyarrow is not installed: pip install 'ml-training-deployment[spark]'") from error
    try:
        yield
    except (OSError, pa.ArrowException) as error:
        raise ViewUnreadable(f"can't read {where}: {error}") from error
