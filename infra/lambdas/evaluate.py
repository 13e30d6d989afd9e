"""``Evaluate``: what the run of this execution has reached, and what the champion had.

Variables: ``MLFLOW_TRACKING_URI`` (http), ``MODEL``, ``METRIC``, and ``EXPERIMENT`` where it is not the model's name.

Errors::

    StepError
    ├── RunNotFound      no finished run has the tag ``execution`` with this execution's name
    └── MetricMissing    the run has no such metric, or it is not a number
"""

from __future__ import annotations

import os
import sys
from typing import Any

from infra.lambdas.steps import EXECUTION, Input, Misconfigured, StepError, given, logger_for, variable
from infra.lambdas.tracking import CHAMPION, Tracking

STEP = "evaluate"
TAG = "execution"


class RunNotFound(StepError):
    """No finished run belongs to this execution."""


class MetricMissing(StepError):
    """The run has no such metric, or it is not a number."""


def evaluate(tracking: Tracking, experiment: str, model: str, metric: str, execution: str) -> dict[str, Any]:
    """``{"run", "metric", "value", "champion": {"version", "value"} | None}``.

    The champion's value is ``None`` where its run is gone or has no such metric.

    Raises:
        RunNotFound, MetricMissing, Misconfigured, TrackingRefused, TrackingUnavailable
    """
    if not EXECUTION.fullmatch(execution):
        raise Misconfigured(f"execution: expected the name of an execution, got {execution!r:.60}")
    found = tracking.experiment_id(experiment)
    if found is None:
        raise RunNotFound(f"MLflow has no experiment {experiment}: the training did not record a run")
    runs = tracking.runs_tagged(found, TAG, execution)
    if not runs:
        raise RunNotFound(
            f"experiment {experiment} has no finished run with the tag {TAG}={execution}: "
            "the training failed, or was not told its execution"
        )
    run = runs[0]
    run_id = str(run["info"]["run_id"])
    value = _metric(run, metric)
    if value is None:
        known = ", ".join(sorted(_metrics(run))[:20]) or "none"
        raise MetricMissing(f"run {run_id} has no number as metric {metric}; it has {known}")
    return {"run": run_id, "metric": metric, "value": value, "champion": _champion(tracking, model, metric)}


def handler(event: Input, context: Any) -> dict[str, Any]:
    """Lambda's entry. ``event``: ``{"execution"}``, and whatever else the state machine hands over."""
    logger = logger_for(STEP, event, context)
    model = variable(os.environ, "MODEL")
    found = evaluate(
        Tracking(variable(os.environ, "MLFLOW_TRACKING_URI")),
        os.environ.get("EXPERIMENT") or model,
        model,
        variable(os.environ, "METRIC"),
        given(event, "execution"),
    )
    logger.info("evaluated", extra={"result": found})
    return found


def _champion(tracking: Tracking, model: str, metric: str) -> dict[str, Any] | None:
    version = tracking.alias(model, CHAMPION)
    if version is None:
        return None
    run_id = version.get("run_id")
    value = None
    if run_id:
        run = tracking.find_run(str(run_id))
        value = _metric(run, metric) if run is not None else None
    return {"version": str(version["version"]), "value": value}


def _metrics(run: dict[str, Any]) -> dict[str, Any]:
    return {entry["key"]: entry.get("value") for entry in run.get("data", {}).get("metrics", [])}


def _metric(run: dict[str, Any], name: str) -> float | None:
    try:
        # MLflow's JSON has NaN and Infinity as texts.
        value = float(_metrics(run)[name])
    except (KeyError, TypeError, ValueError):
        return None
    # Its SQL store keeps an infinity as the largest number there is; NaN is less than nothing.
    return value if abs(value) < sys.float_info.max else None
