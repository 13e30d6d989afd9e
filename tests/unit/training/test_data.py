from __future__ import annotations

from datetime import timedelta
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import given
from hypothesis import strategies as st

from spark_jobs.contract import FILE_NAME, ContractBroken, ContractTampered, ContractUnreadable
from tests import synthetic
from training.data import UNKNOWN, Examples, View, Vocabularies
from training.errors import ViewUnreadable

ROWS = 400


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    synthetic.write_view(tmp_path / "view", ROWS)
    return tmp_path / "view"


def rewrite(folder: Path, data: pa.Table) -> None:
    pq.write_table(data, folder / "view" / "part-0.parquet")


def vocabularies(folder: Path, min_rows: int = 1) -> Vocabularies:
    return Vocabularies.of(View.open(folder).contract, min_rows)


def test_the_splits_hold_every_row_once_and_in_order_of_time(folder: Path) -> None:
    view = View.open(folder)
    times = [view.examples(split, vocabularies(folder)).event_time for split in ("train", "validation", "test")]
    assert [len(time) for time in times] == [280, 60, 60]
    joined = np.concatenate(times)
    assert (np.diff(joined) > np.timedelta64(0)).all()


def test_a_split_begins_at_its_start_and_ends_before_its_end(folder: Path) -> None:
    view = View.open(folder)
    validation = view.examples("validation", vocabularies(folder)).event_time
    split = view.contract.splits["validation"]
    assert validation[0] == np.datetime64(split.start.replace(tzinfo=None))
    assert validation[-1] == np.datetime64((split.end - timedelta(hours=1)).replace(tzinfo=None))


def test_rows_come_in_the_same_order_whatever_the_order_of_the_files(folder: Path) -> None:
    before = View.open(folder).rows("train")
    shuffled = np.random.default_rng(0).permutation(ROWS)
    rewrite(folder, synthetic.table(ROWS).take(shuffled))
    assert View.open(folder).rows("train").equals(before)


def test_a_missing_number_is_nan(folder: Path) -> None:
    view = View.open(folder)
    age = view.rows("train")["age"]
    numeric = view.examples("train", vocabularies(folder)).numeric
    assert age.null_count > 0
    assert np.isnan(numeric[:, 1]).sum() == age.null_count


def test_missing_and_rare_categories_are_unknown_and_the_others_are_numbered_from_one(folder: Path) -> None:
    view = View.open(folder)
    known = vocabularies(folder, min_rows=50)
    assert known.categories == (("north", "south"),)
    assert known.sizes == (3,)
    shops = view.rows("train")["shop"].to_pylist()
    expected = [{"north": 1, "south": 2}.get(shop, UNKNOWN) for shop in shops]
    assert view.examples("train", known).categories[:, 0].tolist() == expected
    assert None in shops
    assert "east" in shops


@given(rows=st.integers(0, 50), workers=st.integers(1, 7))
def test_shards_are_disjoint_and_cover_every_row(rows: int, workers: int) -> None:
    index = np.arange(rows)
    whole = Examples(index[:, None], index[:, None], index, index)
    shards = [whole.shard(rank, workers).label for rank in range(workers)]
    assert sorted(np.concatenate(shards).tolist()) == index.tolist()
    assert max(map(len, shards)) - min(map(len, shards)) <= 1


def test_a_missing_an_unexpected_and_a_wrongly_typed_column_are_all_named(folder: Path) -> None:
    data = synthetic.table(ROWS).drop_columns(["age"]).append_column("colour", pa.array(["red"] * ROWS))
    size = data.schema.get_field_index("size")
    rewrite(folder, data.set_column(size, "size", data["size"].cast(pa.float64())))
    with pytest.raises(
        ContractBroken, match="missing age; not in the contract: colour; size is float64, expected float32"
    ):
        View.open(folder)


def test_an_instant_without_utc_is_not_a_timestamp_of_the_contract(folder: Path) -> None:
    data = synthetic.table(ROWS)
    at = data.schema.get_field_index("ordered_at")
    rewrite(folder, data.set_column(at, "ordered_at", data["ordered_at"].cast(pa.timestamp("us"))))
    with pytest.raises(ContractBroken, match=r"ordered_at is timestamp\[us\], expected timestamp"):
        View.open(folder)


def test_rows_that_got_lost_are_noticed(folder: Path) -> None:
    rewrite(folder, synthetic.table(ROWS).slice(1))
    with pytest.raises(ContractBroken, match="the split train has 279 rows, its contract says 280"):
        View.open(folder).rows("train")


def test_a_label_that_is_neither_0_nor_1_is_refused(folder: Path) -> None:
    data = synthetic.table(ROWS)
    label = data.schema.get_field_index("returned")
    rewrite(folder, data.set_column(label, "returned", pa.array([2] * ROWS, pa.int32())))
    with pytest.raises(ContractBroken, match="returned must be 0 or 1"):
        View.open(folder).examples("train", vocabularies(folder))


def test_a_folder_without_a_contract_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ContractUnreadable, match="no contract at"):
        View.open(tmp_path)


def test_a_changed_contract_is_refused(folder: Path) -> None:
    file = folder / FILE_NAME
    file.write_text(file.read_text().replace('"unit": null', '"unit": "cm"', 1))
    with pytest.raises(ContractTampered, match="was changed after it was written"):
        View.open(folder)


def test_a_view_without_a_table_is_refused(folder: Path) -> None:
    (folder / "view" / "part-0.parquet").unlink()
    (folder / "view").rmdir()
    with pytest.raises(ViewUnreadable, match="no Parquet table at"):
        View.open(folder)


def test_a_file_that_is_not_parquet_is_refused(folder: Path) -> None:
    (folder / "view" / "part-0.parquet").write_bytes(b"not parquet")
    with pytest.raises(ViewUnreadable, match="no Parquet table at"):
        View.open(folder)
