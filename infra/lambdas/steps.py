"""What the pipeline's states share: their settings, the log, and doing a thing once.

Imports nothing of ours: the states run as zip files beside powertools' layer.

Errors::

    StepError           Step Functions sees the class's name as ``Error``, the text as ``Cause``
    └── Misconfigured   a variable of the function, or an input of the state, is missing or wrong
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from typing import Any

import boto3  # type: ignore[import-untyped]
from aws_lambda_powertools import Logger
from aws_lambda_powertools.utilities.idempotency import (
    DynamoDBPersistenceLayer,
    IdempotencyConfig,
    idempotent_function,
)
from botocore.config import Config  # type: ignore[import-untyped]

TABLE_VARIABLE = "IDEMPOTENCY_TABLE"
KEPT_SECONDS = 24 * 3600
CONNECT_SECONDS = 3
READ_SECONDS = 20

EXECUTION = re.compile(r"[A-Za-z0-9_-]{1,80}")
"""The name of one: Step Functions' own rule, without the characters that mean something in a path or a filter."""

Input = Mapping[str, Any]


class StepError(Exception):
    """A state failed for a reason that trying again does not mend."""


class Misconfigured(StepError):
    """A variable of the function, or an input of the state, is missing or wrong."""


def variable(environment: Mapping[str, str], name: str) -> str:
    """Raises: Misconfigured."""
    if not (value := environment.get(name)):
        raise Misconfigured(f"the function's variable {name} is not set")
    return value


def given(event: Input, name: str) -> str:
    """A text that the state machine hands over.

    Raises:
        Misconfigured: it does not.
    """
    value = event.get(name)
    if not isinstance(value, str) or not value:
        raise Misconfigured(f"the state's input: expected a text {name}, got {value!r:.60}")
    return value


def aws(service: str) -> Any:
    """boto3's client, with time limits and one retry: the state machine has more."""
    retries = {"mode": "standard", "total_max_attempts": 2}
    return boto3.client(
        service, config=Config(connect_timeout=CONNECT_SECONDS, read_timeout=READ_SECONDS, retries=retries)
    )


def logger_for(step: str, event: Any, context: Any) -> Logger:
    """A log in JSON whose lines name the execution. It never has what a state was given or gave."""
    logger = Logger(service=step)
    logger.append_keys(
        execution=event.get("execution") if isinstance(event, dict) else None,
        function_request_id=getattr(context, "aws_request_id", None),
    )
    return logger


def once(
    name: str,
    step: Callable[[Input], dict[str, Any]],
    event: dict[str, Any],
    context: Any,
    environment: Mapping[str, str],
    client: Callable[[str], Any] = aws,
) -> dict[str, Any]:
    """Do a step for an execution once: a second call is given the first one's result. ``name`` is the step's.

    With no table in the environment it is done each time. A step that fails is forgotten, so that the
    state machine may try again.
    """
    if not (table := environment.get(TABLE_VARIABLE)):
        return step(event)
    config = IdempotencyConfig(
        event_key_jmespath="execution", raise_on_no_idempotency_key=True, expires_after_seconds=KEPT_SECONDS
    )
    if context is not None:
        config.register_lambda_context(context)
    store = DynamoDBPersistenceLayer(table_name=table, boto3_client=client("dynamodb"))

    @idempotent_function(  # type: ignore[untyped-decorator]
        data_keyword_argument="event", persistence_store=store, config=config, key_prefix=name
    )
    def done(*, event: dict[str, Any]) -> dict[str, Any]:
        return step(event)

    result: dict[str, Any] = done(event=event)
    return result
