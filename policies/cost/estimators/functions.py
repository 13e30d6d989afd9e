"""What is paid by use: functions, the API before them, pipelines and their Spark."""

from __future__ import annotations

from collections.abc import Iterator

from policies.cost.charge import Charge, NotEstimated, Surroundings, number, used
from policies.node import Resource
from policies.reading.states import MACHINE

ROUTE = "aws:apigatewayv2/route:Route"

INCLUDED_DISK_MB = 512.0
ROUTE_METRICS = 5
"""Of an API with detailed metrics: count, 4xx, 5xx, two latencies."""


def function(resource: Resource, around: Surroundings) -> Iterator[Charge]:
    """A step of a pipeline is counted once a run and with its whole timeout; another by the requests."""
    usage = around.usage
    arm = "arm." if "ARM64" in str(resource.get("architectures", "")).upper() else ""
    memory = number(resource, "memorySize", 128.0) / 1024
    if around.stack.linking(resource, "definition", MACHINE):
        calls, seconds = usage.pipeline_runs, number(resource, "timeout", 3.0)
    else:
        calls, seconds = usage.requests, usage.function_ms / 1000
    said = f"{calls:,.10g} calls"
    yield used(f"{said} of {seconds:g} s with {memory:g} GB", f"lambda.{arm}gb-second", calls * seconds * memory)
    yield used(said, "lambda.request", calls)
    if resource.get("tracingConfig.mode") == "Active":
        traces = calls * usage.traced_percent / 100
        yield used(f"{traces:,.10g} traces", "trace", traces)
    if resource.get("environment.variables.POWERTOOLS_METRICS_NAMESPACE"):
        yield used(f"{usage.function_metrics:g} own metrics", "metric", usage.function_metrics)
    if number(resource, "ephemeralStorage.size", INCLUDED_DISK_MB) > INCLUDED_DISK_MB:
        raise NotEstimated("more than 512 MB of disk")


def http_api(resource: Resource, around: Surroundings) -> Iterator[Charge]:
    if resource.get("protocolType") != "HTTP":
        raise NotEstimated(f"an API of the protocol {resource.get('protocolType')}")
    yield used(f"{around.usage.requests:,.10g} requests", "http-api.request", around.usage.requests)


def stage(resource: Resource, around: Surroundings) -> Iterator[Charge]:
    """Its metrics of each route, where they are switched on."""
    if resource.get("defaultRouteSettings.detailedMetricsEnabled", False):
        apis = resource.links.get("apiId", ())
        routes = sum(bool(set(each.links.get("apiId", ())) & set(apis)) for each in around.stack.of_type(ROUTE))
        yield used(f"detailed metrics of {routes} routes", "metric", routes * ROUTE_METRICS)


def state_machine(resource: Resource, around: Surroundings) -> Iterator[Charge]:
    if resource.get("type", "STANDARD") != "STANDARD":
        raise NotEstimated(f"a state machine of the type {resource.get('type')}")
    usage = around.usage
    transitions = usage.pipeline_runs * usage.transitions_per_run
    yield used(f"{usage.pipeline_runs:g} runs", "states.transition", transitions)
    if resource.get("tracingConfiguration.enabled", False):
        yield used(f"{usage.pipeline_runs:g} traces", "trace", usage.pipeline_runs)


def spark(resource: Resource, around: Surroundings) -> Iterator[Charge]:
    """EMR Serverless: all that it may take, while a run lasts."""
    if resource.get("architecture", "X86_64") != "X86_64":
        raise NotEstimated(f"the architecture {resource.get('architecture')}")
    if resource.get("initialCapacities"):
        raise NotEstimated("workers that are kept ready")
    hours = around.usage.pipeline_runs * around.usage.pipeline_hours
    vcpus, memory = number(resource, "maximumCapacity.cpu"), number(resource, "maximumCapacity.memory")
    yield used(f"{hours:g} h of {vcpus:g} vCPU", "emr-serverless.vcpu", hours * vcpus)
    yield used(f"{hours:g} h of {memory:g} GB", "emr-serverless.gb", hours * memory)
