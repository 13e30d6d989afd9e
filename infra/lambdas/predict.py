"""The handler of the function that predicts: ``infra.lambdas.predict.handler``, in the image ``lambda``.

Bodies are in no log, no trace and no metric. The service's name is powertools' ``POWERTOOLS_SERVICE_NAME``,
the metrics' namespace ``POWERTOOLS_METRICS_NAMESPACE``.
"""

from __future__ import annotations

import functools
import os
from collections.abc import Callable
from typing import Any

import boto3  # type: ignore[import-untyped]
from aws_lambda_powertools import Logger, Tracer
from aws_lambda_powertools.logging.utils import copy_config_to_registered_loggers
from botocore.config import Config  # type: ignore[import-untyped]

from infra.lambdas.gateway import Function
from infra.lambdas.telemetry import NAMESPACE, EmbeddedMetrics

SERVICE = "predict"
CONNECT_SECONDS = 2
READ_SECONDS = 10


def handler(event: object, context: Any) -> Any:
    """Lambda's entry: one event of API Gateway → its answer.

    Raises:
        NotAnHttpEvent: the function was invoked with something else.
    """
    return _wired()(event, context)


@functools.cache
def _wired() -> Callable[[object, Any], Any]:
    """Made at the first event and kept: a warm start finds its model loaded."""
    service = os.environ.get("POWERTOOLS_SERVICE_NAME", SERVICE)
    logger = Logger(service=service)
    copy_config_to_registered_loggers(logger, include={"ray.serve"})
    metrics = EmbeddedMetrics(service, os.environ.get("POWERTOOLS_METRICS_NAMESPACE", NAMESPACE))
    function = Function(os.environ, _client, logger, metrics)
    # powertools switches the tracer off where there is no Lambda.
    tracer = Tracer(service=service)

    @tracer.capture_lambda_handler(capture_response=False)
    @logger.inject_lambda_context(clear_state=True)
    def answer(event: object, context: Any) -> dict[str, Any]:
        return function(event, context)

    wired: Callable[[object, Any], Any] = answer
    return wired


def _client(service: str) -> Any:
    retries = {"mode": "standard", "total_max_attempts": 2}
    config = Config(connect_timeout=CONNECT_SECONDS, read_timeout=READ_SECONDS, retries=retries)
    return boto3.client(service, config=config)
