"""The recorded pipeline, made in the emulator of what the recording says, and its executions.

The recording's ARNs are those that the emulator gives: one account, and the same names.
"""

from __future__ import annotations

import io
import json
import time
import zipfile
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from infra import settings
from infra.__main__ import program
from infra.check.emulator import Emulator
from infra.check.record import Recording, Resource, record
from infra.check.terraform import files_of
from tests.documentation import ROOT
from tests.integration.infra import job
from tests.integration.infra.clients import client
from tests.integration.infra.swapped import SPARK, SWAPPED, swapped

STACK = "dev"
STEPS = ("validate", "evaluate", "deploy")
MACHINE = "aws:sfn/stateMachine:StateMachine"
FUNCTION = "aws:lambda/function:Function"
TABLE = "aws:dynamodb/table:Table"
JOB_SECONDS = 600
START_SECONDS = 60
PATIENCE_SECONDS = 1000


def recorded(at_least: float) -> Recording:
    """The dev stack's program, with this gate."""
    config = settings.config_of(ROOT / f"Pulumi.{STACK}.yaml")
    key = f"{settings.PROJECT}:pipeline"
    config[key] = json.dumps({**json.loads(config[key]), "at_least": at_least})
    return record(program, project=settings.PROJECT, stack=STACK, config=config)


def definition_of(recording: Recording) -> dict[str, Any]:
    return dict(json.loads(recording.named("pipeline", MACHINE).inputs["definition"]))


@dataclass(frozen=True)
class Addresses:
    """What stands where the recording has MLflow's and AWS's own address. ``steps_…`` are the handlers' ways there."""

    mlflow: str
    steps_mlflow: str
    steps_aws: str


class Pipeline:
    """``machine``: the state machine's ARN."""

    def __init__(self, recording: Recording, server: Emulator, addresses: Addresses) -> None:
        self.recording = recording
        self._server = server
        self._addresses = addresses
        self._make_stores()
        self._make_topic()
        steps = [self.recording.named(f"pipeline-{step}", FUNCTION) for step in STEPS]
        self._make_roles({str(each.inputs["role"]) for each in steps})
        for each in steps:
            self._make_step(each)
        self._role = str(steps[0].inputs["role"])
        spark, task = self.make_job("run_spark"), self.make_job("run_task")
        self._jobs = {name: spark if integration == SPARK else task for name, (integration, _) in SWAPPED.items()}
        self.machine = self._make_machine()
        self._make_rule()

    def client(self, service: str) -> Any:
        return client(service, self._server)

    def output(self, name: str) -> str:
        return str(self.recording.outputs[name])

    def change(self, recording: Recording, jobs: Mapping[str, str]) -> None:
        """As ``pulumi up`` with other settings: the machine gets another document; ``jobs``: state → function."""
        document = json.dumps(swapped(definition_of(recording), self._jobs | jobs))
        self.client("stepfunctions").update_state_machine(stateMachineArn=self.machine, definition=document)

    def put(self, folder: str, files: Mapping[str, bytes]) -> None:
        """Write new data, without its mark."""
        s3 = self.client("s3")
        for name, content in files.items():
            s3.put_object(Bucket=self.output("data_bucket"), Key=f"incoming/{folder}/{name}", Body=content)

    def executions(self) -> list[str]:
        """ARNs, the newest first."""
        found = self.client("stepfunctions").list_executions(stateMachineArn=self.machine)["executions"]
        return [each["executionArn"] for each in sorted(found, key=lambda each: each["startDate"], reverse=True)]

    def run(self, folder: str) -> Execution:
        """Write the mark of new data, and wait for the end of the execution that this starts."""
        before = set(self.executions())
        self.put(folder, {"_READY": b""})
        started = time.monotonic()
        while not (new := [arn for arn in self.executions() if arn not in before]):
            assert time.monotonic() - started < START_SECONDS, self._server.log.read_text()
            time.sleep(0.1)
        (arn,) = new
        machines = self.client("stepfunctions")
        while (found := machines.describe_execution(executionArn=arn))["status"] == "RUNNING":
            assert time.monotonic() - started < PATIENCE_SECONDS, self._server.log.read_text()
            time.sleep(0.3)
        history = machines.get_execution_history(executionArn=arn, maxResults=1000)["events"]
        return Execution(found, history, self._server.log)

    def messages(self) -> list[dict[str, Any]]:
        """What the topic has said since it was last asked."""
        sqs = self.client("sqs")
        answer = sqs.receive_message(QueueUrl=self._queue, MaxNumberOfMessages=10)
        for each in answer.get("Messages", []):
            sqs.delete_message(QueueUrl=self._queue, ReceiptHandle=each["ReceiptHandle"])
        return [json.loads(each["Body"]) for each in answer.get("Messages", [])]

    def _make_stores(self) -> None:
        s3, dynamodb = self.client("s3"), self.client("dynamodb")
        for name in ("storage-data", "storage-artifacts"):
            s3.create_bucket(Bucket=self.recording.named(name, "aws:s3/bucket:Bucket").inputs["bucket"])
        notified = self.recording.named("storage-data", "aws:s3/bucketNotification:BucketNotification").inputs
        assert notified["eventbridge"] is True
        s3.put_bucket_notification_configuration(
            Bucket=notified["bucket"], NotificationConfiguration={"EventBridgeConfiguration": {}}
        )
        entry_point = self.recording.named("pipeline-entry-point", "aws:s3/bucketObjectv2:BucketObjectv2").inputs
        ((_, content),) = files_of(entry_point["source"])
        s3.put_object(Bucket=entry_point["bucket"], Key=entry_point["key"], Body=content)
        for name in ("online-store", "pipeline-done"):
            table = self.recording.named(name, TABLE).inputs
            keys = [(table["hashKey"], "HASH")] + [(table[key], "RANGE") for key in ("rangeKey",) if key in table]
            dynamodb.create_table(
                TableName=table["name"],
                BillingMode=table["billingMode"],
                KeySchema=[{"AttributeName": key, "KeyType": kind} for key, kind in keys],
                AttributeDefinitions=[
                    {"AttributeName": each["name"], "AttributeType": each["type"]} for each in table["attributes"]
                ],
            )

    def _make_topic(self) -> None:
        sns, sqs = self.client("sns"), self.client("sqs")
        topic = sns.create_topic(Name=self.recording.named("alerts", "aws:sns/topic:Topic").inputs["name"])["TopicArn"]
        assert topic == self.output("alerts_topic_arn")
        self._queue = sqs.create_queue(QueueName="heard")["QueueUrl"]
        arn = sqs.get_queue_attributes(QueueUrl=self._queue, AttributeNames=["QueueArn"])["Attributes"]["QueueArn"]
        sns.subscribe(TopicArn=topic, Protocol="sqs", Endpoint=arn)

    def _make_roles(self, arns: set[str]) -> None:
        iam = self.client("iam")
        recorded = {each.inputs["name"]: each.inputs for each in self.recording.of_type("aws:iam/role:Role")}
        for name in (arn.rpartition("/")[2] for arn in arns):
            iam.create_role(RoleName=name, AssumeRolePolicyDocument=recorded[name]["assumeRolePolicy"])

    def _make_step(self, function: Resource) -> None:
        given = function.inputs
        variables = {**given["environment"]["variables"], "AWS_ENDPOINT_URL": self._addresses.steps_aws}
        assert variables["MLFLOW_TRACKING_URI"] == self.output("tracking_url")
        variables["MLFLOW_TRACKING_URI"] = self._addresses.steps_mlflow
        self.client("lambda").create_function(
            FunctionName=given["name"],
            Runtime=given["runtime"],
            Handler=given["handler"],
            Role=given["role"],
            Code={"ZipFile": zipped(dict(files_of(given["code"])))},
            Layers=given["layers"],
            Timeout=given["timeout"],
            MemorySize=given["memorySize"],
            Environment={"Variables": variables},
        )

    def make_job(self, handler: str, **more: str) -> str:
        """The ARN of a function that stands in for a job, with the variables of the container and ``more``."""
        task = self.recording.named("pipeline-training", "aws:ecs/taskDefinition:TaskDefinition").inputs
        (container,) = json.loads(task["containerDefinitions"])
        variables = {each["name"]: each["value"] for each in container["environment"]}
        assert variables["MLFLOW_TRACKING_URI"] == self.output("tracking_url")
        variables |= {"MLFLOW_TRACKING_URI": self._addresses.mlflow, **more}
        made = self.client("lambda").create_function(
            FunctionName=handler,
            Runtime="python3.11",
            Handler=f"job.{handler}",
            Role=self._role,
            Code={"ZipFile": zipped({"job.py": Path(job.__file__).read_bytes()})},
            Timeout=JOB_SECONDS,
            Environment={"Variables": variables},
        )
        return str(made["FunctionArn"])

    def _make_machine(self) -> str:
        given = self.recording.named("pipeline", MACHINE).inputs
        made = self.client("stepfunctions").create_state_machine(
            name=given["name"],
            type=given["type"],
            roleArn=given["roleArn"],
            definition=json.dumps(swapped(definition_of(self.recording), self._jobs)),
        )["stateMachineArn"]
        assert made == self.output("pipeline_arn")
        return str(made)

    def _make_rule(self) -> None:
        events = self.client("events")
        rule = self.recording.named("pipeline", "aws:cloudwatch/eventRule:EventRule").inputs
        target = self.recording.named("pipeline", "aws:cloudwatch/eventTarget:EventTarget").inputs
        events.put_rule(Name=rule["name"], EventPattern=rule["eventPattern"])
        named = {"targetId": "Id", "arn": "Arn", "roleArn": "RoleArn", "input": "Input", "inputPath": "InputPath"}
        events.put_targets(
            Rule=target["rule"], Targets=[{to: target[name] for name, to in named.items() if name in target}]
        )


@dataclass(frozen=True)
class Execution:
    """One that has ended. ``log``: what the functions printed."""

    described: Mapping[str, Any]
    history: list[Mapping[str, Any]]
    log: Path

    @property
    def name(self) -> str:
        return str(self.described["name"])

    @property
    def status(self) -> str:
        return str(self.described["status"])

    @property
    def output(self) -> dict[str, Any]:
        return dict(json.loads(self.described["output"]))

    @property
    def states(self) -> list[str]:
        """In the order in which they were entered."""
        return [each["stateEnteredEventDetails"]["name"] for each in self.history if "stateEnteredEventDetails" in each]

    def failures(self, state: str) -> list[str]:
        """The errors of a state's attempts, in order."""
        return [
            each["taskFailedEventDetails"]["error"]
            for each in self.history
            if "taskFailedEventDetails" in each and self._state_of(each) == state
        ]

    def attempts(self, state: str) -> int:
        return sum(each["type"] == "TaskScheduled" and self._state_of(each) == state for each in self.history)

    def _state_of(self, event: Mapping[str, Any]) -> str:
        by_id = {each["id"]: each for each in self.history}
        while "stateEnteredEventDetails" not in event:
            event = by_id[event["previousEventId"]]
        return str(event["stateEnteredEventDetails"]["name"])


def zipped(files: Mapping[str, bytes]) -> bytes:
    packed = io.BytesIO()
    with zipfile.ZipFile(packed, "w") as archive:
        for name, content in files.items():
            archive.writestr(name, content)
    return packed.getvalue()
