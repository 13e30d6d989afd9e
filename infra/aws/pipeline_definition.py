"""The pipeline as a document of Amazon's States Language, from the ARNs of what it calls.

New data is validated, made into a view, trained on and evaluated; a gate on the metric lets the run become a version,
which is deployed while its features are published. The state that goes from one to the next::

    {"execution", "source", "view", "tables", "evaluation": {"run", "metric", "value", "champion"}, "released"}

https://states-language.net/spec.html
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import pulumi

from infra.aws.states import State, array, joined, literal, retry, text_of, then, transient

SECOND_TRY = 1
SPOT_TRIES = 4
"""Of a job on spare capacity: an attempt that AWS ends looks like one that failed.
https://docs.aws.amazon.com/AmazonECS/latest/developerguide/fargate-capacity-providers.html"""

LAMBDA_SECONDS = 330
"""More than the 300 s of the functions themselves, so that theirs is the error that is seen."""

JOB_SECONDS = 1800
"""Of a job that takes minutes: registering, publishing."""

NOTIFY_SECONDS = 60

HEAP_GIB = 3

SOURCE = "source"
PIPELINE = "pipeline"
"""An attribute of each message and its value, by which a subscription can ask for the pipeline's alone."""

PYTHON = "/app/venv/bin/python"
"""In the image ``features``, with our packages."""


FINAL = (
    "AliasLeft",
    "BadData",
    "BadEvent",
    "KeyUnusable",
    "LoadRefused",
    "MetricMissing",
    "Misconfigured",
    "RunNotFound",
    "StepError",
    "TrackingRefused",
    "VersionNotFound",
)
"""``infra.lambdas.steps.StepError`` and those below it, which another try does not mend. AWS knows no families."""

FAILED = "Failed"
NOTIFY_FAILURE = "NotifyFailure"
INVOKE = "arn:aws:states:::lambda:invoke"
RUN_TASK = "arn:aws:states:::ecs:runTask.sync"
RUN_SPARK = "arn:aws:states:::emr-serverless:startJobRun.sync"
PUBLISH = "arn:aws:states:::sns:publish"


@dataclass(frozen=True)
class Functions:
    """ARNs of the zip functions."""

    validate: pulumi.Input[str]
    evaluate: pulumi.Input[str]
    deploy: pulumi.Input[str]


@dataclass(frozen=True)
class Spark:
    """An EMR Serverless application and its job. ``entry_point`` and ``logs`` are ``s3://`` addresses.

    ``vcpus``: of the driver, which is the whole job.
    """

    application_id: pulumi.Input[str]
    role_arn: pulumi.Input[str]
    entry_point: pulumi.Input[str]
    log_group: pulumi.Input[str]
    logs: pulumi.Input[str]
    key_arn: pulumi.Input[str]
    vcpus: int


@dataclass(frozen=True)
class Jobs:
    """Where the containers run: one definition of a task, whose ``container`` gets its command from here.

    Its image starts ``python -m``, which a state can't change: a command begins with the module. ``spot``: training,
    which can be repeated, runs on spare capacity.
    """

    cluster_arn: pulumi.Input[str]
    task_definition_arn: pulumi.Input[str]
    container: str
    subnet_ids: Sequence[pulumi.Input[str]]
    security_group_id: pulumi.Input[str]
    spot: bool = True


@dataclass(frozen=True)
class DefinitionArgs:
    """``at_least``: what the metric must reach. ``table``: the name of the online store's."""

    name: str
    model: str
    view: str
    at_least: float
    timeout_minutes: int
    functions: Functions
    spark: Spark
    jobs: Jobs
    table: pulumi.Input[str]
    topic_arn: pulumi.Input[str]

    @property
    def seconds(self) -> int:
        return self.timeout_minutes * 60


def definition(args: DefinitionArgs) -> State:
    """The whole machine. Its values may still be Outputs: write it with ``pulumi.Output.json_dumps``."""
    return {
        "Comment": f"From new data to a new version of {args.model}",
        "StartAt": "ValidateData",
        "TimeoutSeconds": args.seconds,
        "States": {
            "ValidateData": _guarded(_validate(args, "BuildFeatures")),
            "BuildFeatures": _guarded(_spark(args, "Train")),
            # It leaves nothing half done: another attempt makes another run in MLflow.
            "Train": _guarded(_job(args.jobs, _train(args), args.seconds // 2, "Evaluate", spot=args.jobs.spot)),
            "Evaluate": _guarded(_evaluate(args, "Gate")),
            "Gate": _gate(args.at_least, "Register", "NotifyRejected"),
            "Register": _guarded(_job(args.jobs, _register(args), _job_seconds(args), "Release")),
            "Release": _release(args, "Notify"),
            "Notify": _guarded(_message(args, "new version", _released(args), "Succeeded")),
            "Succeeded": {"Type": "Succeed"},
            "NotifyRejected": _guarded(_message(args, "rejected", _rejected(args), "Rejected")),
            "Rejected": {"Type": "Succeed", "Comment": "The gate did its work: no version was made."},
            NOTIFY_FAILURE: {
                **_message(args, "failed", _failed(args), FAILED),
                "Retry": transient("States.ALL"),
                # Nobody can be told, and the machine's own alarm goes off all the same.
                "Catch": [{"ErrorEquals": ["States.ALL"], "ResultPath": "$.unsaid", "Next": FAILED}],
            },
            FAILED: {"Type": "Fail", "ErrorPath": "$.error.Error", "CausePath": "$.error.Cause"},
        },
    }


def _guarded(state: State) -> State:
    return {**state, "Catch": [{"ErrorEquals": ["States.ALL"], "ResultPath": "$.error", "Next": NOTIFY_FAILURE}]}


def _function(arn: pulumi.Input[str], payload: State, following: str | None) -> State:
    """Invoke; what it returns is the next state's input."""
    state: State = {
        "Type": "Task",
        "Resource": INVOKE,
        "Parameters": {"FunctionName": arn, "Payload": payload},
        "OutputPath": "$.Payload",
        "TimeoutSeconds": LAMBDA_SECONDS,
        "Retry": [
            {"ErrorEquals": list(FINAL), "MaxAttempts": 0},
            # Lambda itself, or no free instance:
            # https://docs.aws.amazon.com/step-functions/latest/dg/sfn-best-practices.html#bp-lambda-serviceexception
            retry(
                "Lambda.ClientExecutionTimeoutException",
                "Lambda.ServiceException",
                "Lambda.AWSLambdaException",
                "Lambda.SdkClientException",
                "Lambda.TooManyRequestsException",
                seconds=2,
                attempts=6,
            ),
            *transient("States.ALL"),
        ],
    }
    return then(state, following)


def _validate(args: DefinitionArgs, following: str) -> State:
    return _function(args.functions.validate, {"event.$": "$", "execution.$": "$$.Execution.Name"}, following)


def _evaluate(args: DefinitionArgs, following: str) -> State:
    state = _function(args.functions.evaluate, {"execution.$": "$.execution"}, following)
    del state["OutputPath"]
    figures = {f"{key}.$": f"$.Payload.{key}" for key in ("run", "metric", "value", "champion")}
    return {**state, "ResultSelector": figures, "ResultPath": "$.evaluation"}


def _deploy(args: DefinitionArgs) -> State:
    payload = {"model": args.model, "run.$": "$.evaluation.run", "execution.$": "$.execution"}
    return _function(args.functions.deploy, payload, None)


def _spark(args: DefinitionArgs, following: str) -> State:
    spark = args.spark
    seconds = args.seconds // 3
    return {
        "Type": "Task",
        "Resource": RUN_SPARK,
        "Parameters": {
            "Name": args.name,
            "ApplicationId": spark.application_id,
            "ExecutionRoleArn": spark.role_arn,
            "ExecutionTimeoutMinutes": max(1, seconds // 60),
            "JobDriver": {
                "SparkSubmit": {
                    "EntryPoint": spark.entry_point,
                    "EntryPointArguments.$": array(
                        literal(args.view), literal("--source"), "$.source", literal("--out"), "$.view"
                    ),
                    "SparkSubmitParameters": spark_parameters(spark.vcpus),
                }
            },
            "ConfigurationOverrides": {
                "MonitoringConfiguration": {
                    "CloudWatchLoggingConfiguration": {
                        "Enabled": True,
                        "LogGroupName": spark.log_group,
                        "LogStreamNamePrefix": "features",
                    },
                    "S3MonitoringConfiguration": {"LogUri": spark.logs, "EncryptionKeyArn": spark.key_arn},
                    # A copy at AWS, under AWS's own key.
                    "ManagedPersistenceMonitoringConfiguration": {"Enabled": False},
                }
            },
        },
        "ResultPath": None,
        "TimeoutSeconds": seconds,
        "Retry": [
            retry("EMRServerless.InternalServerException", "EMRServerless.ThrottlingException", seconds=5, attempts=5),
            retry("States.TaskFailed", seconds=30, attempts=SECOND_TRY),
        ],
        "Next": following,
    }


def spark_parameters(vcpus: int) -> str:
    """Of ``spark-submit``: one driver with every core, 3 GiB of heap a core; the job runs in it alone (``local[*]``).

    EMR adds a tenth of overhead and rounds up, which 4 GB a vCPU of its application's limit hold.
    """
    settings = {
        "spark.emr-serverless.driverEnv.PYSPARK_DRIVER_PYTHON": PYTHON,
        "spark.emr-serverless.driverEnv.PYSPARK_PYTHON": PYTHON,
        "spark.driver.cores": vcpus,
        "spark.driver.memory": f"{vcpus * HEAP_GIB}g",
        "spark.dynamicAllocation.enabled": "false",
    }
    return " ".join(f"--conf {key}={value}" for key, value in settings.items())


def _job(jobs: Jobs, command: pulumi.Input[str], seconds: int, following: str | None, *, spot: bool = False) -> State:
    """A container that ends. What it leaves behind is in MLflow and S3, so the state goes on as it was.

    ``spot``: on spare capacity, for what may be ended and tried again.
    """
    strategy = [{"CapacityProvider": "FARGATE_SPOT", "Weight": 1}]
    capacity: State = {"CapacityProviderStrategy": strategy} if spot else {"LaunchType": "FARGATE"}
    state: State = {
        "Type": "Task",
        "Resource": RUN_TASK,
        "Parameters": {
            **capacity,
            "Cluster": jobs.cluster_arn,
            "TaskDefinition": jobs.task_definition_arn,
            # The budget filters by tags.
            "PropagateTags": "TASK_DEFINITION",
            "NetworkConfiguration": {
                "AwsvpcConfiguration": {
                    "Subnets": list(jobs.subnet_ids),
                    "SecurityGroups": [jobs.security_group_id],
                    "AssignPublicIp": "DISABLED",
                }
            },
            "Overrides": {"ContainerOverrides": [{"Name": jobs.container, "Command.$": command}]},
        },
        "ResultPath": None,
        "TimeoutSeconds": seconds,
        "Retry": [
            retry("ECS.AmazonECSException", "ECS.ServerException", "AmazonECS.Unknown", seconds=10, attempts=5),
            retry("States.TaskFailed", seconds=30, attempts=SPOT_TRIES if spot else SECOND_TRY),
        ],
    }
    return then(state, following)


def _job_seconds(args: DefinitionArgs) -> int:
    return min(JOB_SECONDS, args.seconds // 3)


def _train(args: DefinitionArgs) -> pulumi.Input[str]:
    words = [literal(word) for word in ("training", "train", args.model, "--view")]
    return array(*words, "$.view", literal("--tag"), "States.Format('execution={}', $.execution)")


def _register(args: DefinitionArgs) -> pulumi.Input[str]:
    words = [literal(word) for word in ("training", "register", args.model, "--view")]
    return array(*words, "$.view", literal("--run"), "$.evaluation.run", literal("--alias"), literal("challenger"))


def _publish(args: DefinitionArgs) -> pulumi.Input[str]:
    words = [literal(word) for word in ("spark_jobs", "publish", "--view")]
    return array(*words, "$.view", literal("--to"), literal(joined("dynamodb:", args.table)))


def _gate(at_least: float, passed: str, refused: str) -> State:
    """A Choice has no Catch: what is no number is refused, and told so by the message that then can't be made."""
    value = "$.evaluation.value"
    return {
        "Type": "Choice",
        "Choices": [
            {
                "And": [
                    {"Variable": value, "IsPresent": True},
                    {"Variable": value, "IsNumeric": True},
                    {"Variable": value, "NumericGreaterThanEquals": at_least},
                ],
                "Next": passed,
            }
        ],
        "Default": refused,
    }


def _release(args: DefinitionArgs, following: str) -> State:
    publish = _job(args.jobs, _publish(args), _job_seconds(args), None)
    return _guarded(
        {
            "Type": "Parallel",
            "Branches": [
                {"StartAt": "Deploy", "States": {"Deploy": _deploy(args)}},
                {"StartAt": "PublishOnlineFeatures", "States": {"PublishOnlineFeatures": publish}},
            ],
            "ResultSelector": {"deployment.$": "$[0]"},
            "ResultPath": "$.released",
            "Next": following,
        }
    )


def _message(args: DefinitionArgs, what: str, text: str, following: str) -> State:
    return {
        "Type": "Task",
        "Resource": PUBLISH,
        "Parameters": {
            "TopicArn": args.topic_arn,
            "Subject": f"{args.name}: {what}",
            "Message.$": text,
            "MessageAttributes": {SOURCE: {"DataType": "String", "StringValue": PIPELINE}},
        },
        "ResultPath": None,
        "TimeoutSeconds": NOTIFY_SECONDS,
        "Retry": transient("States.ALL"),
        "Next": following,
    }


def _released(args: DefinitionArgs) -> str:
    text = f"{args.model}: version {{}} is the champion. {_FIGURES}, expected at least {args.at_least}. {_WHERE}"
    return text_of(text, "$.released.deployment.version", *_FIGURE_PATHS, *_WHERE_PATHS)


def _rejected(args: DefinitionArgs) -> str:
    text = f"{args.model}: no new version. {_FIGURES}, expected at least {args.at_least}. {_WHERE}"
    return text_of(text, *_FIGURE_PATHS, *_WHERE_PATHS)


def _failed(args: DefinitionArgs) -> str:
    text = f"{args.model}: the pipeline failed with {{}}: {{}} Execution {{}}."
    return text_of(text, "$.error.Error", "$.error.Cause", "$$.Execution.Name")


_FIGURES = "Run {}: {} is {}"
_FIGURE_PATHS = ("$.evaluation.run", "$.evaluation.metric", "$.evaluation.value")
_WHERE = "View {}. Execution {}."
_WHERE_PATHS = ("$.view", "$$.Execution.Name")
