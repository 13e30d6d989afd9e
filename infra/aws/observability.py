"""What a stack shows and when it calls somebody: one dashboard, and alarms on what its users would notice.

The function's and the pipeline's own alarms are beside them, in ``function`` and ``pipeline``.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

import pulumi
import pulumi_aws as aws

from infra import settings
from infra.aws.account import Account
from infra.aws.alarms import Alarm, Metric, Missing, alarm, messages
from infra.aws.cluster import Cluster
from infra.aws.dashboard import Line, Widget, body
from infra.aws.function import Function
from infra.aws.ingress import Ingress
from infra.aws.pipeline import Pipeline

MINUTES = 5
"""That a fault must last: one bad minute is a deployment or a client's."""

ERROR_PERCENT = 1
HOUR = 3600
IDLE_PERIOD = 300
IDLE_PERIODS = HOUR // IDLE_PERIOD

MODELS_AN_ALARM = 5
"""An alarm takes ten metrics, and a model has two."""


@dataclass(frozen=True)
class ObservabilityArgs:
    """``tokens_per_hour``: of all language models, in and out. ``None``: the stack does not have it."""

    account: Account
    p99_seconds: float
    tokens_per_hour: int
    alerts_topic_arn: pulumi.Input[str]
    cluster: Cluster | None = None
    ingress: Ingress | None = None
    function: Function | None = None
    pipeline: Pipeline | None = None
    bedrock: settings.Bedrock | None = None


class Observability(pulumi.ComponentResource):
    """The dashboard of the stack's parts, and the alarms that no part makes for itself."""

    dashboard_name: pulumi.Output[str]

    def __init__(self, name: str, args: ObservabilityArgs, opts: pulumi.ResourceOptions | None = None) -> None:
        super().__init__("ml:aws:Observability", name, None, opts)
        account = args.account
        widgets: list[Widget] = []
        alarms: list[Alarm] = []
        if args.ingress is not None:
            widgets += _of_ingress(args.ingress, args.cluster, args.p99_seconds)
            alarms += ingress_alarms(args.ingress, args.p99_seconds)
            if args.ingress.gpus is not None:
                group, target = args.ingress.gpus.auto_scaling_group_name, _target(args.ingress, -1)
                widgets.append(_of_gpus(group, target))
                alarms.append(gpu_idle(group, target))
        if args.function is not None:
            widgets += _of_function(args.function)
        if args.pipeline is not None:
            widgets.append(_of_pipeline(args.pipeline))
        queues = [each.dead_letters_name for each in (args.function, args.pipeline) if each is not None]
        if queues:
            widgets.append(_of_queues(queues))
        if args.bedrock is not None:
            models = [*args.bedrock.models, *args.bedrock.profiles]
            widgets.append(_of_models(models, args.tokens_per_hour))
            alarms += token_alarms(models, args.tokens_per_hour)
        for each in alarms:
            alarm(name, account, each, args.alerts_topic_arn, self)
        self.dashboard_name = aws.cloudwatch.Dashboard(
            name,
            dashboard_name=account.naming.prefix,
            dashboard_body=body(widgets, account.region),
            opts=pulumi.ResourceOptions(parent=self),
        ).dashboard_name
        self.register_outputs({"dashboard_name": self.dashboard_name})


Dimensions = Mapping[str, pulumi.Input[str]]


def _balancer(name: str, on: Dimensions, statistic: str = "Sum", period: int = 60) -> Metric:
    return Metric("AWS/ApplicationELB", name, on, statistic, period)


def _whole(ingress: Ingress) -> Dimensions:
    return {"LoadBalancer": ingress.load_balancer_suffix}


def _target(ingress: Ingress, index: int) -> Dimensions:
    return {"LoadBalancer": ingress.load_balancer_suffix, "TargetGroup": ingress.target_group_suffixes[index]}


def ingress_alarms(ingress: Ingress, p99_seconds: float) -> Iterator[Alarm]:
    """Failures, slowness, and tasks that don't answer."""
    whole = _whole(ingress)
    yield Alarm(
        "5xx",
        f"More than {ERROR_PERCENT} % of requests failed for {MINUTES} minutes: read the ingress's log.",
        ERROR_PERCENT,
        # The load balancer counts as requests those alone that it could hand on.
        expression="100 * (FILL(target, 0) + FILL(own, 0)) / (FILL(requests, 0) + FILL(own, 0))",
        metrics={
            "requests": _balancer("RequestCount", whole),
            "target": _balancer("HTTPCode_Target_5XX_Count", whole),
            "own": _balancer("HTTPCode_ELB_5XX_Count", whole),
        },
        periods=MINUTES,
    )
    yield Alarm(
        "p99",
        f"One answer in a hundred takes more than {p99_seconds} s: too few tasks, or a slower model.",
        p99_seconds,
        # A language model's whole answer takes as long as it is.
        _balancer("TargetResponseTime", _target(ingress, 0) if ingress.openai_on_gpus else whole, "p99"),
        periods=MINUTES,
    )
    # The tasks on Fargate are never none, those on instances with GPUs may be.
    yield Alarm(
        "no-host",
        "No task of the ingress is healthy: nobody is answered.",
        1,
        _balancer("HealthyHostCount", _target(ingress, 0), "Minimum"),
        comparison="LessThanThreshold",
        periods=2,
        missing=Missing.BAD,
    )
    for index in range(len(ingress.target_group_suffixes)):
        yield Alarm(
            f"unhealthy-{index}",
            f"A task has failed its health check for {MINUTES} minutes: see the service's events.",
            0,
            _balancer("UnHealthyHostCount", _target(ingress, index), "Maximum"),
            periods=MINUTES,
            missing=Missing.UNCHANGED,
        )


def gpu_idle(group: pulumi.Input[str], target: Dimensions) -> Alarm:
    """Paid for and not used: instances run, and no request has come to their tasks for an hour.

    EC2 reports each running instance's CPU, so the number of its samples is not nothing while one runs. GPUs' own
    use is known to an agent on the instance alone, and without requests it is none.
    """
    return Alarm(
        "gpu-idle",
        "GPU instances have run for an hour without a request: scale them down, or have them do something.",
        0,
        expression="IF(FILL(running, 0) > 0 AND FILL(requests, 0) < 1, 1, 0)",
        metrics={
            "running": Metric("AWS/EC2", "CPUUtilization", {"AutoScalingGroupName": group}, "SampleCount", IDLE_PERIOD),
            "requests": _balancer("RequestCount", target, period=IDLE_PERIOD),
        },
        periods=IDLE_PERIODS,
    )


def token_alarms(models: Sequence[str], tokens_per_hour: int) -> Iterator[Alarm]:
    """One alarm for five models: with more of them, each five may use ``tokens_per_hour`` before it goes off."""
    for first in range(0, len(models), MODELS_AN_ALARM):
        metrics = {
            f"{way}{index}": _tokens(model, way, HOUR)
            for index, model in enumerate(models[first : first + MODELS_AN_ALARM])
            for way in ("input", "output")
        }
        yield Alarm(
            f"tokens-{first // MODELS_AN_ALARM}",
            f"More than {tokens_per_hour:,} tokens in an hour: see who calls the language models, in the access log.",
            tokens_per_hour,
            expression=" + ".join(f"FILL({id_}, 0)" for id_ in metrics),
            metrics=metrics,
        )


def _tokens(model: str, way: str, period: int) -> Metric:
    return Metric("AWS/Bedrock", f"{way.title()}TokenCount", {"ModelId": model}, "Sum", period)


def _of_ingress(ingress: Ingress, cluster: Cluster | None, p99_seconds: float) -> Iterator[Widget]:
    whole = _whole(ingress)
    yield Widget("Ingress: requests a minute", [Line("requests", _balancer("RequestCount", whole))])
    yield Widget(
        "Ingress: failures a minute",
        [
            Line("5xx of tasks", _balancer("HTTPCode_Target_5XX_Count", whole)),
            Line("5xx of the load balancer", _balancer("HTTPCode_ELB_5XX_Count", whole)),
            Line("4xx", _balancer("HTTPCode_Target_4XX_Count", whole), right=True),
        ],
    )
    yield Widget(
        "Ingress: seconds to an answer",
        [Line(each, _balancer("TargetResponseTime", whole, each)) for each in ("p50", "p99")],
        limit=p99_seconds,
    )
    yield Widget(
        "Ingress: tasks",
        [
            Line(f"{label} {index}", _balancer(metric, _target(ingress, index), "Maximum"))
            for index in range(len(ingress.target_group_suffixes))
            for label, metric in (("healthy", "HealthyHostCount"), ("unhealthy", "UnHealthyHostCount"))
        ],
    )
    if cluster is not None:
        service = {"ClusterName": cluster.name, "ServiceName": ingress.service_name}
        yield Widget(
            "Ingress: percent of its tasks' size",
            [
                Line("CPU", Metric("AWS/ECS", "CPUUtilization", service, "Average")),
                Line("memory", Metric("AWS/ECS", "MemoryUtilization", service, "Average")),
            ],
        )


def _of_gpus(group: pulumi.Input[str], target: Dimensions) -> Widget:
    cpu = Metric("AWS/EC2", "CPUUtilization", {"AutoScalingGroupName": group}, "Average", IDLE_PERIOD)
    return Widget(
        "GPU instances: requests, and percent of their CPUs",
        [Line("requests", _balancer("RequestCount", target, period=IDLE_PERIOD)), Line("CPU", cpu, right=True)],
    )


def _of_function(function: Function) -> Iterator[Widget]:
    on: Dimensions = {"FunctionName": function.name}
    counts = ("Invocations", "Errors", "Throttles")
    yield Widget("Function: invocations", [Line(each, Metric("AWS/Lambda", each, on)) for each in counts])
    yield Widget(
        "Function: milliseconds",
        [Line(each, Metric("AWS/Lambda", "Duration", on, each)) for each in ("p50", "p99")],
    )
    api: Dimensions = {"ApiId": function.api_id}
    yield Widget(
        "Function: its API",
        [Line(each, Metric("AWS/ApiGateway", each, api)) for each in ("Count", "4xx", "5xx")],
    )


def _of_pipeline(pipeline: Pipeline) -> Widget:
    on: Dimensions = {"StateMachineArn": pipeline.state_machine_arn}
    ends = ("Started", "Succeeded", "Failed", "TimedOut", "Aborted")
    lines = [Line(each.lower(), Metric("AWS/States", f"Executions{each}", on, "Sum", HOUR)) for each in ends]
    return Widget("Pipeline: executions an hour", lines)


def _of_queues(names: Sequence[pulumi.Input[str]]) -> Widget:
    return Widget("Dead letters", [Line(queue, messages(queue)) for queue in names], limit=1)


def _of_models(models: Sequence[str], tokens_per_hour: int) -> Widget:
    lines = [Line(f"{model} {way}", _tokens(model, way, HOUR)) for model in models for way in ("input", "output")]
    return Widget("Language models: tokens an hour", lines, limit=tokens_per_hour)
