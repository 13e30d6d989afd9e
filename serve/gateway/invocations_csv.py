"""A scoring request's CSV, read by pandas as MLflow's server has it read: by the model's types."""

from __future__ import annotations

import csv
import io
from codecs import BOM_UTF8
from collections.abc import Hashable, Mapping, Sequence
from typing import TYPE_CHECKING

from serve.dataplane import ServedModel
from serve.gateway.errors import InputRejected, MalformedRequest, UnsupportedMediaType, shown
from serve.validation import Values

if TYPE_CHECKING:
    import pandas as pd

LONGEST_HEADER = 1_000_000
"""Characters among which the header and the first row are looked for."""


def decode_csv(body: bytes, model: ServedModel) -> dict[str, Values]:
    """The columns of a CSV body.

    What pandas takes for missing (an empty field, ``NA``, ``null`` …) is ``None``. A first column
    without a name is a frame's index, as ``DataFrame.to_csv`` writes it, and left out. No more rows
    are read than the model takes.

    Raises:
        UnsupportedMediaType: pandas is not installed, as in an image for one model without it.
        MalformedRequest: it is not CSV in UTF-8; it names the line.
        InputRejected: a number is none (it names the column and the row), or there are too many rows.
    """
    try:
        import pandas  # noqa: F401
    except ModuleNotFoundError as error:
        raise UnsupportedMediaType("content-type", "text/csv", "application/json") from error
    try:
        text = body.removeprefix(BOM_UTF8).decode()
        names = _header(text)
    except (UnicodeDecodeError, csv.Error) as error:
        raise MalformedRequest(f"the body is not CSV in UTF-8: {error}") from error
    features = names[1:] if names[0] == "" else names
    if len(set(features)) != len(features):
        raise MalformedRequest(f"the header: expected each column once, got {shown(features)}")
    if set(features) != model.schema.columns.keys():
        # The contract says which column is wrong; the rows need no reading for that.
        return {name: [] for name in features}
    frame = _typed(text, model, features)
    if len(frame) > model.schema.max_rows:
        raise InputRejected(model.name, None, None, f"1 to {model.schema.max_rows} rows", "more")
    missing = frame.isna()
    return {
        name: [None if gone else value for value, gone in zip(frame[name].tolist(), missing[name], strict=True)]
        for name in features
    }


def _header(text: str) -> list[str]:
    """The first line that is not blank; the first row below it may have no more values.

    pandas would make an index of what a longer one has more, and shift the other values; with a
    million commas it would take minutes for that.
    """
    start = io.StringIO(text[:LONGEST_HEADER], newline="")
    lines = (line for line in csv.reader(start) if line and (len(line) > 1 or line[0].strip(" \t")))
    names = next(lines, None)
    if names is None:
        raise MalformedRequest("the body has no header: the first line of CSV names its columns")
    first = next(lines, [])
    if len(first) > len(names):
        raise MalformedRequest(f"row 0: expected {len(names)} values, as in the header, got {len(first)}")
    if start.tell() >= LONGEST_HEADER:
        raise MalformedRequest(f"the header and the first row have more than {LONGEST_HEADER} characters")
    return names


def _typed(text: str, model: ServedModel, features: Sequence[str]) -> pd.DataFrame:
    numbers = [name for name in features if not model.schema.columns[name].is_categorical]
    types: dict[Hashable, type[object]] = dict.fromkeys(features, object)
    rows = model.schema.max_rows + 1
    try:
        return _frame(text, types | dict.fromkeys(numbers, float), rows)
    except (ValueError, OverflowError) as error:
        untyped = _frame(text, types, rows)
        for name in numbers:
            _require_numbers(untyped[name], model.name)
        raise MalformedRequest(f"the body is not CSV: {error}") from error


def _frame(text: str, types: Mapping[Hashable, type[object]], rows: int) -> pd.DataFrame:
    import pandas as pd

    try:
        frame = pd.read_csv(io.StringIO(text), dtype=types, nrows=rows)
    except pd.errors.ParserError as error:
        reason = str(error).strip().removeprefix("Error tokenizing data. C error: ")
        raise MalformedRequest(f"the body is not CSV: {reason}") from error
    if len(frame) and not isinstance(frame.index, pd.RangeIndex):
        raise MalformedRequest("row 0: expected as many values as the header has names, got more")
    return frame


def _require_numbers(column: pd.Series[str], model: str) -> None:
    """Raises: InputRejected, at the first text that pandas does not read as a finite number."""
    import numpy as np
    import pandas as pd

    finite = np.isfinite(pd.to_numeric(column, errors="coerce").to_numpy(np.float64))
    wrong = ~finite & column.notna().to_numpy(np.bool_)
    if wrong.any():
        row = int(np.argmax(wrong))
        raise InputRejected(model, str(column.name), row, "a number", f"string {shown(column.iloc[row])}")
