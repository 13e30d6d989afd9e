"""What a month is assumed to bring beside capacity: nobody knows it before the bill."""

from __future__ import annotations

import functools
from collections.abc import Mapping
from datetime import date
from pathlib import Path

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from policies.cost.prices import PricesError, problem

FILE = Path(__file__).with_name("usage.json")


class Usage(BaseModel):
    """Of a month, and in it of each resource that has it. Idle, there is none of it but the looks for changed keys."""

    model_config = ConfigDict(extra="forbid", frozen=True, allow_inf_nan=False)

    as_of: date
    requests: float = Field(ge=0, description="requests to each load balancer, HTTP API and container app")
    request_kib: float = Field(ge=0, description="KiB of a request and its answer")
    function_ms: float = Field(ge=0, description="billed ms of a request to a function")
    traced_percent: float = Field(ge=0, le=100, description="% of requests that are traced")
    log_gb: float = Field(ge=0, description="GB in each log group and workspace")
    nat_gb: float = Field(ge=0, description="GB through each NAT gateway")
    endpoint_gb: float = Field(ge=0, description="GB through each interface endpoint")
    bucket_gb: float = Field(ge=0, description="GB in each bucket")
    bucket_puts: float = Field(ge=0, description="writes to each bucket")
    bucket_gets: float = Field(ge=0, description="reads from each bucket")
    image_gb: float = Field(ge=0, description="GB in each image repository")
    table_gb: float = Field(ge=0, description="GB in each table")
    table_reads: float = Field(ge=0, description="read units of each table")
    table_writes: float = Field(ge=0, description="write units of each table")
    key_requests: float = Field(ge=0, description="requests to each KMS key and vault")
    key_looks_per_second: float = Field(ge=0, description="looks a second for changed API keys, of each task")
    messages: float = Field(ge=0, description="messages of each topic, queue and event rule")
    pipeline_runs: float = Field(ge=0, description="runs of each pipeline")
    pipeline_hours: float = Field(ge=0, description="hours of each of a run's jobs")
    transitions_per_run: float = Field(ge=0, description="transitions of a run")
    function_metrics: float = Field(ge=0, description="own metrics of each function")
    insights_metrics: float = Field(ge=0, description="metrics of Container Insights for each cluster, service, task")

    def with_changes(self, changes: Mapping[str, float]) -> Usage:
        """Raises:
        ValidationError: there is no such assumption, or it can't be so.
        """
        return Usage.model_validate({**self.model_dump(), **changes})

    def told(self) -> str:
        """All of it in one line, by the names of the assumptions."""
        names = (name for name, field in Usage.model_fields.items() if field.description)
        return ", ".join(f"{name} {getattr(self, name):,.10g}" for name in names)


def read_usage(file: Path) -> Usage:
    """Raises:
    PricesError: it can't be read, or is no such file.
    """
    try:
        return Usage.model_validate_json(file.read_bytes())
    except OSError as error:
        raise PricesError(f"{file}: cannot be read: {error.strerror}") from error
    except ValidationError as error:
        raise PricesError(problem(file, error)) from error


@functools.cache
def assumed() -> Usage:
    """The assumptions of this repository."""
    return read_usage(FILE)
