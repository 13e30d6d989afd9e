"""``ValidateData``: whether a drop of source tables is whole, before a job is paid for that would find it is not.

Variables: ``SOURCES`` (JSON: table → its required columns), ``ARTIFACTS`` (the bucket of what is made),
``IDEMPOTENCY_TABLE`` where a second call must do nothing.

Errors::

    StepError
    ├── BadData      the drop is not as it must be: table, column, what was expected and what came
    └── BadEvent     what the state machine hands over is not an object's creation

S3's own errors pass through, for the state machine to try again.
"""

from __future__ import annotations

import json
import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from infra.lambdas.drops import BadData, Drop
from infra.lambdas.steps import EXECUTION, Input, Misconfigured, StepError, aws, logger_for, once, variable

STEP = "validate"
MARK = "_READY"
MOST_BYTES = 5 * 2**30
"""Of one file."""

Sources = Mapping[str, Sequence[str]]


class BadEvent(StepError):
    """What came is not an object's creation in S3, with the execution's name."""


@dataclass(frozen=True)
class Arrival:
    """A drop's mark has come. ``folder`` ends with a slash."""

    execution: str
    bucket: str
    folder: str


def arrival(event: Input) -> Arrival:
    """``{"event": EventBridge's event, "execution": name}`` → what came.

    Raises:
        BadEvent: it is something else.
        BadData: the object is not the mark of a drop.
    """
    execution = event.get("execution")
    if not isinstance(execution, str) or not EXECUTION.fullmatch(execution):
        raise BadEvent(f"execution: expected the name of an execution, got {execution!r:.60}")
    try:
        detail = event["event"]["detail"]
        # EventBridge has keys as they are, and not as in a URL, as S3's older notifications have them.
        bucket, key = detail["bucket"]["name"], detail["object"]["key"]
    except (KeyError, TypeError) as error:
        raise BadEvent(f"event: expected EventBridge's event of a new object in S3, and {error!r} in it") from error
    folder, _, name = str(key).rpartition("/")
    if name != MARK or not folder:
        raise BadData(f"s3://{bucket}/{key}: expected FOLDER/{MARK}, which is written after the folder's tables")
    return Arrival(execution, str(bucket), f"{folder}/")


def sources_in(text: str) -> Sources:
    """``SOURCES``. Raises: Misconfigured."""
    try:
        found = json.loads(text)
    except ValueError as error:
        raise Misconfigured(f"the variable SOURCES is not JSON: {error}") from error
    good = isinstance(found, dict) and all(
        isinstance(columns, list) and columns and all(isinstance(name, str) for name in columns)
        for columns in found.values()
    )
    if not good or not found:
        raise Misconfigured('the variable SOURCES: expected {"TABLE": ["COLUMN", …], …}')
    return dict(found)


def validate(s3: Any, came: Arrival, sources: Sources, artifacts: str, most_bytes: int = MOST_BYTES) -> dict[str, Any]:
    """``{"execution", "source", "view", "tables": {name: {"file", "bytes", "columns", "rows", "counted"}}}``.

    ``rows`` is estimated from the file's beginning where ``counted`` is false.

    Raises:
        BadData: the first thing that is not as it must be.
    """
    drop = Drop(s3, came.bucket, came.folder)
    tables = {table: drop.table(table, columns, most_bytes) for table, columns in sources.items()}
    return {
        "execution": came.execution,
        "source": f"s3://{came.bucket}/{came.folder}",
        "view": f"s3://{artifacts}/views/{came.execution}/",
        "tables": tables,
    }


def handler(event: dict[str, Any], context: Any) -> dict[str, Any]:
    """Lambda's entry."""
    logger = logger_for(STEP, event, context)
    sources = sources_in(variable(os.environ, "SOURCES"))
    artifacts = variable(os.environ, "ARTIFACTS")
    found = once(
        STEP, lambda given: validate(aws("s3"), arrival(given), sources, artifacts), event, context, os.environ
    )
    logger.info("the drop is whole", extra={"result": found})
    return found
