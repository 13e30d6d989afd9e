"""Reads a feature view, through its contract, as the arrays that the network takes."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.dataset as ds

from spark_jobs.contract import CategoricalProfile, Contract, ContractBroken, SplitName, dtype_of, read_contract
from training.errors import ViewUnreadable

VIEW_FOLDER = "view"
UNKNOWN = 0
"""The index of a category that is missing or not in the vocabulary."""


@dataclass(frozen=True)
class Vocabularies:
    """For each categorical feature, in the contract's order, the categories that have an index.

    The category at position ``i`` has the index ``i + 1``; every other value has :data:`UNKNOWN`.
    """

    names: tuple[str, ...]
    categories: tuple[tuple[str, ...], ...]

    @classmethod
    def of(cls, contract: Contract, min_rows: int) -> Vocabularies:
        """The categories that had at least ``min_rows`` rows in the training split."""
        columns = contract.categorical
        profiles = [column.profile for column in columns if isinstance(column.profile, CategoricalProfile)]
        return cls(
            names=tuple(column.name for column in columns),
            categories=tuple(profile.vocabulary(min_rows) for profile in profiles),
        )

    @property
    def sizes(self) -> tuple[int, ...]:
        """The number of indices of each feature, the unknown one included."""
        return tuple(len(categories) + 1 for categories in self.categories)


@dataclass(frozen=True)
class Examples:
    """Rows of a view, sorted by event time and key.

    ``numeric`` [N, F] float32, NaN where missing; ``categories`` [N, C] int64 indices;
    ``label`` [N] float32, 0 or 1; ``event_time`` [N] datetime64[us], UTC.
    F and C follow the contract's order of numeric and categorical features.
    """

    numeric: np.ndarray
    categories: np.ndarray
    label: np.ndarray
    event_time: np.ndarray

    def __len__(self) -> int:
        return len(self.label)

    def shard(self, rank: int, world_size: int) -> Examples:
        """Every ``world_size``-th row from ``rank`` on: shards are disjoint and cover all rows."""
        rows = slice(rank, None, world_size)
        return Examples(self.numeric[rows], self.categories[rows], self.label[rows], self.event_time[rows])


@dataclass(frozen=True)
class View:
    """A folder made by a feature job: ``contract.json`` beside the table ``view/``."""

    folder: Path
    contract: Contract

    @classmethod
    def open(cls, folder: Path) -> View:
        """Open a view and hold its table's columns against its contract.

        Raises:
            ContractError: the contract is missing, tampered with, or the table breaks it.
            ViewUnreadable: the table is not there or is not Parquet.
        """
        view = cls(folder, read_contract(folder))
        schema = view._dataset().schema
        view.contract.check_columns({field.name: dtype_of(field.type) for field in schema}, str(folder / VIEW_FOLDER))
        return view

    def rows(self, split: SplitName) -> pa.Table:
        """The rows of a split as they stand in the view, sorted by event time and key.

        Raises:
            ContractBroken: the split has another number of rows than the contract says.
            ViewUnreadable: the files can't be read.
        """
        interval = self.contract.splits[split]
        time = pc.field(self.contract.event_time)
        stamp = pa.timestamp("us", tz="UTC")
        try:
            table = self._dataset().to_table(
                filter=(time >= pa.scalar(interval.start, stamp)) & (time < pa.scalar(interval.end, stamp))
            )
        except (OSError, pa.ArrowException) as error:
            raise ViewUnreadable(f"can't read {self.folder / VIEW_FOLDER}: {error}") from error
        if table.num_rows != interval.rows:
            raise ContractBroken(
                f"{self.folder}: the split {split} has {table.num_rows} rows, its contract says {interval.rows}"
            )
        keys = (self.contract.event_time, *self.contract.entity_keys)
        return table.sort_by([(name, "ascending") for name in keys])

    def examples(self, split: SplitName, vocabularies: Vocabularies) -> Examples:
        """The rows of a split as arrays.

        Raises:
            ContractBroken: a label is neither 0 nor 1, or the number of rows is wrong.
            ViewUnreadable: the files can't be read.
        """
        table = self.rows(split)
        contract = self.contract
        label = table[contract.label].to_numpy()
        if not np.isin(label, (0, 1)).all():
            raise ContractBroken(f"{self.folder}: the label {contract.label} must be 0 or 1 on every row")
        numeric = [table[column.name].to_numpy().astype(np.float32) for column in contract.numeric]
        categories = [
            _indices(table[name], known)
            for name, known in zip(vocabularies.names, vocabularies.categories, strict=True)
        ]
        return Examples(
            numeric=_columns(numeric, len(label), np.float32),
            categories=_columns(categories, len(label), np.int64),
            label=label.astype(np.float32),
            event_time=table[contract.event_time].to_numpy(),
        )

    def _dataset(self) -> ds.Dataset:
        path = self.folder / VIEW_FOLDER
        try:
            return ds.dataset(path, format="parquet")
        except (OSError, pa.ArrowException) as error:
            raise ViewUnreadable(f"no Parquet table at {path}: make it with `python -m spark_jobs`") from error


def _indices(column: pa.ChunkedArray, known: tuple[str, ...]) -> np.ndarray:
    found = pc.index_in(column, value_set=pa.array(known, pa.string()))
    return np.asarray(pc.fill_null(found, -1).to_numpy(), np.int64) + 1


def _columns(arrays: list[np.ndarray], rows: int, dtype: type[np.generic]) -> np.ndarray:
    return np.stack(arrays, axis=1) if arrays else np.zeros((rows, 0), dtype)
