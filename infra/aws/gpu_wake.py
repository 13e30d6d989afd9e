"""From no task to one and back: what scaling by requests can't do, for without a task there are no figures."""

from __future__ import annotations

from dataclasses import dataclass

import pulumi
import pulumi_aws as aws

from infra.aws.account import Account

IDLE_MINUTES = 30
MINUTE = 60
INSTANCE_SECONDS = 600
"""Until an instance has started and a task answers on it."""


@dataclass(frozen=True)
class GpuWakeArgs:
    account: Account
    balancer_suffix: pulumi.Input[str]
    target_group_suffix: pulumi.Input[str]
    scalable: aws.appautoscaling.Target


class GpuWake(pulumi.ComponentResource):
    """A request that no task answers (503) starts one; half an hour without requests ends the last.

    The first clients get 503 with a task some minutes away: whoever can't have that sets ``least: 1``.
    """

    def __init__(self, name: str, args: GpuWakeArgs, opts: pulumi.ResourceOptions | None = None) -> None:
        super().__init__("ml:aws:GpuWake", name, None, opts)
        self._name = name
        self._args = args
        self._opts = pulumi.ResourceOptions(parent=self)
        balancer = {"LoadBalancer": args.balancer_suffix}
        # The load balancer counts its own 503 over all target groups: a task for another's fault is soon gone again.
        self._alarm(
            "wake",
            self._step("wake", "ChangeInCapacity", 1, cooldown=INSTANCE_SECONDS, lower_bound=0),
            metric="HTTPCode_ELB_503_Count",
            dimensions=balancer,
            minutes=1,
            comparison="GreaterThanOrEqualToThreshold",
            missing="notBreaching",
        )
        self._alarm(
            "sleep",
            self._step("sleep", "ExactCapacity", 0, cooldown=MINUTE, upper_bound=0),
            metric="RequestCount",
            dimensions={**balancer, "TargetGroup": args.target_group_suffix},
            minutes=IDLE_MINUTES,
            comparison="LessThanThreshold",
            missing="breaching",
        )
        self.register_outputs({})

    def _step(
        self,
        part: str,
        adjustment: str,
        tasks: int,
        *,
        cooldown: int,
        lower_bound: int | None = None,
        upper_bound: int | None = None,
    ) -> pulumi.Output[str]:
        """``tasks``: more of them, or so many, as ``adjustment`` says. Bounds: from the alarm's threshold."""
        scalable = self._args.scalable
        step = aws.appautoscaling.PolicyStepScalingPolicyConfigurationStepAdjustmentArgs(
            scaling_adjustment=tasks,
            metric_interval_lower_bound=None if lower_bound is None else str(lower_bound),
            metric_interval_upper_bound=None if upper_bound is None else str(upper_bound),
        )
        return aws.appautoscaling.Policy(
            f"{self._name}-{part}",
            name=self._args.account.naming.name("ingress-gpu", part),
            policy_type="StepScaling",
            service_namespace=scalable.service_namespace,
            scalable_dimension=scalable.scalable_dimension,
            resource_id=scalable.resource_id,
            step_scaling_policy_configuration=aws.appautoscaling.PolicyStepScalingPolicyConfigurationArgs(
                adjustment_type=adjustment,
                metric_aggregation_type="Maximum",
                cooldown=cooldown,
                step_adjustments=[step],
            ),
            opts=self._opts,
        ).arn

    def _alarm(
        self,
        part: str,
        action: pulumi.Output[str],
        *,
        metric: str,
        dimensions: dict[str, pulumi.Input[str]],
        minutes: int,
        comparison: str,
        missing: str,
    ) -> None:
        aws.cloudwatch.MetricAlarm(
            f"{self._name}-{part}",
            name=self._args.account.naming.name("ingress-gpu", part),
            alarm_description=f"Not a fault: scales the GPU tasks of the ingress ({part})",
            namespace="AWS/ApplicationELB",
            metric_name=metric,
            dimensions=dimensions,
            statistic="Sum",
            period=MINUTE,
            evaluation_periods=minutes,
            threshold=1,
            comparison_operator=comparison,
            treat_missing_data=missing,
            alarm_actions=[action],
            opts=self._opts,
        )
