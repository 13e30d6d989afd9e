"""What the state machine may do, and who may start it."""

from __future__ import annotations

from collections.abc import Sequence

import pulumi
import pulumi_aws as aws

from infra.aws.account import Account
from infra.aws.alerts import publishes
from infra.aws.cluster import Cluster
from infra.aws.function import traces
from infra.aws.iam import Statement, role, trust
from infra.aws.pipeline_jobs import PipelineJobs

LOG_DELIVERY = (
    "logs:CreateLogDelivery",
    "logs:DeleteLogDelivery",
    "logs:DescribeLogGroups",
    "logs:DescribeResourcePolicies",
    "logs:GetLogDelivery",
    "logs:ListLogDeliveries",
    "logs:PutResourcePolicy",
    "logs:UpdateLogDelivery",
)
"""https://docs.aws.amazon.com/step-functions/latest/dg/cw-logs.html#cloudwatch-iam-policy"""

JOB_RULES = ("StepFunctionsGetEventsForECSTaskRule", "StepFunctionsGetEventsForEMRServerlessJobRule")
"""Rules of EventBridge that Step Functions makes by itself, to hear that a job has ended."""


def machine_role(
    name: str,
    account: Account,
    functions: Sequence[pulumi.Output[str]],
    jobs: PipelineJobs,
    cluster: Cluster,
    topic_arn: pulumi.Input[str],
    topic_key_arn: pulumi.Input[str],
    parent: pulumi.Resource,
) -> aws.iam.Role:
    """The state machine's: it invokes the steps, runs and stops the jobs with their roles, and publishes messages.

    Its log and its traces are deliveries of AWS's own, which know no resource.
    """
    statements = [
        Statement(("lambda:InvokeFunction",), list(functions)),
        *_tasks(account, jobs, cluster),
        *_spark(jobs),
        Statement(
            ("events:DescribeRule", "events:PutRule", "events:PutTargets"),
            [account.arn("events", f"rule/{rule}") for rule in JOB_RULES],
        ),
        *publishes(topic_arn, topic_key_arn),
        Statement(LOG_DELIVERY, ["*"]),
        traces(),
        Statement(("xray:GetSamplingRules", "xray:GetSamplingTargets"), ["*"]),
    ]
    trusted = trust("states.amazonaws.com", account.id)
    return role(name, account.naming.name("pipeline"), trusted, statements, parent)


def _tasks(account: Account, jobs: PipelineJobs, cluster: Cluster) -> list[Statement]:
    """https://docs.aws.amazon.com/step-functions/latest/dg/connect-ecs.html"""
    tasks = pulumi.Output.concat(account.arn("ecs", "task/"), cluster.name, "/*")
    return [
        Statement(("ecs:RunTask",), [jobs.task.arn], conditions={"ArnEquals": {"ecs:cluster": cluster.arn}}),
        Statement(("ecs:DescribeTasks", "ecs:StopTask"), [tasks]),
        Statement(("ecs:TagResource",), [tasks], conditions={"StringEquals": {"ecs:CreateAction": "RunTask"}}),
        _passes(jobs.task_roles, "ecs-tasks.amazonaws.com"),
    ]


def _spark(jobs: PipelineJobs) -> list[Statement]:
    """https://docs.aws.amazon.com/step-functions/latest/dg/emr-serverless-iam.html"""
    application = jobs.application.arn
    return [
        Statement(("emr-serverless:StartJobRun",), [application]),
        Statement(
            ("emr-serverless:CancelJobRun", "emr-serverless:GetJobRun"),
            [pulumi.Output.concat(application, "/jobruns/*")],
        ),
        _passes([jobs.spark_role.arn], "emr-serverless.amazonaws.com"),
    ]


def _passes(roles: Sequence[pulumi.Input[str]], service: str) -> Statement:
    return Statement(("iam:PassRole",), roles, conditions={"StringEquals": {"iam:PassedToService": service}})


def starter_role(name: str, account: Account, machine_arn: pulumi.Input[str], parent: pulumi.Resource) -> aws.iam.Role:
    """EventBridge's: it starts the state machine when data has come."""
    statements = [Statement(("states:StartExecution",), [machine_arn])]
    trusted = trust("events.amazonaws.com", account.id)
    return role(f"{name}-starter", account.naming.name("pipeline", "starter"), trusted, statements, parent)
