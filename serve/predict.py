"""A client of a running ingress, for ``python -m serve predict``.

Errors::

    UserError
    ├── RowsUnreadable      the rows are not a JSON array of objects
    └── PredictionFailed    nothing answers at this address, or it answers with an error
"""

from __future__ import annotations

import http.client
import json
import time
import urllib.error
import urllib.request
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from console import UserError, one_line

TIMEOUT_SECONDS = 60


class RowsUnreadable(UserError):
    """The rows are not a JSON array of objects."""


class PredictionFailed(UserError):
    """Nothing answers at this address, or it answers with an error."""


@dataclass(frozen=True)
class Prediction:
    """An answer: ``outputs`` maps a name to its ``N`` values; ``milliseconds`` is the whole round trip."""

    model: str
    version: str
    outputs: dict[str, list[object]]
    milliseconds: float


def read_rows(file: Path, text: str | None = None) -> dict[str, list[object]]:
    """Columns of the rows in ``text``, or in ``file`` where that is ``None``.

    Raises:
        RowsUnreadable: no such file, not JSON, or not an array of objects.
    """
    try:
        document = json.loads(file.read_text(encoding="utf-8") if text is None else text)
    except (OSError, ValueError) as error:
        raise RowsUnreadable(f"{file}: can't be read as JSON: {one_line(str(error))}") from error
    rows = [document] if isinstance(document, dict) else document
    if not isinstance(rows, list) or not rows or any(not isinstance(row, dict) for row in rows):
        raise RowsUnreadable(f"{file}: expected an array of objects, one a row")
    names = dict.fromkeys(name for row in rows for name in row)
    return {name: [row.get(name) for row in rows] for name in names}


def predict_rows(url: str, model: str, columns: dict[str, list[object]], key: str | None = None) -> Prediction:
    """Ask for predictions by the Open Inference Protocol, with an API key where one is given.

    Raises:
        PredictionFailed: with the server's own message where it gave one.
    """
    body = {"inputs": [_tensor(name, values) for name, values in columns.items()]}
    started = time.perf_counter()
    answer = _post(f"{url.rstrip('/')}/v2/models/{model}/infer", json.dumps(body).encode(), key)
    milliseconds = 1000 * (time.perf_counter() - started)
    try:
        return Prediction(
            answer["model_name"],
            answer["model_version"],
            {output["name"]: output["data"] for output in answer["outputs"]},
            milliseconds,
        )
    except (KeyError, TypeError) as error:
        raise PredictionFailed(f"{url} does not answer as the Open Inference Protocol asks") from error


def table(prediction: Prediction) -> list[str]:
    """Lines to print: a heading and one per row."""
    names = list(prediction.outputs)
    rows = list(zip(*prediction.outputs.values(), strict=True))
    lines = [
        f"{prediction.model} version {prediction.version}  {len(rows)} rows  {prediction.milliseconds:.1f} ms",
        "  ".join(["row".rjust(6), *(name.rjust(12) for name in names)]),
    ]
    for index, row in enumerate(rows):
        lines.append("  ".join([str(index).rjust(6), *(_cell(value).rjust(12) for value in row)]))
    return lines


def _tensor(name: str, values: list[object]) -> dict[str, object]:
    text = any(isinstance(value, str) for value in values)
    return {"name": name, "shape": [len(values)], "datatype": "BYTES" if text else "FP32", "data": values}


def _cell(value: object) -> str:
    return f"{value:.6f}" if isinstance(value, float) else str(value)


def _post(url: str, body: bytes, key: str | None) -> Any:
    try:
        headers = {"content-type": "application/json"}
        if key is not None:
            headers["authorization"] = f"Bearer {key}"
        request = urllib.request.Request(url, body, headers)  # noqa: S310 - its scheme is checked next
        if request.type not in ("http", "https"):
            raise PredictionFailed(f"{url}: expected a http:// or https:// address")
        with urllib.request.urlopen(request, timeout=TIMEOUT_SECONDS) as response:  # noqa: S310 - just checked
            return json.load(response)
    except urllib.error.HTTPError as error:
        raise PredictionFailed(f"{url} answers {error.code}: {_message(error.read())}") from error
    except (OSError, http.client.HTTPException, ValueError) as error:
        reason = getattr(error, "reason", None) or error
        raise PredictionFailed(f"{url} does not answer: {one_line(str(reason))}") from error


def _message(body: bytes) -> str:
    try:
        return one_line(str(json.loads(body)["error"]))
    except (ValueError, KeyError, TypeError):
        return one_line(body[:200].decode("utf-8", "replace"))
