"""The pipeline's resources, as a small program registers them."""

import json
import subprocess
import sys
import zipfile
from pathlib import Path
from typing import Any

import pulumi
import pytest
from moto.stepfunctions.parser.asl.static_analyser.static_analyser import StaticAnalyser

from infra.aws.pipeline_functions import archive
from infra.check.record import Recording
from infra.check.rules import findings
from tests.unit.infra.aws.operations import PIPELINE, SOURCES, Wanted, everything, recorded

FUNCTION = "aws:lambda/function:Function"
KEY = "arn:aws:secretsmanager:eu-west-1:123456789012:secret:ingress-key-AbCdEf"
Json = dict[str, Any]


@pytest.fixture(scope="module")
def made() -> Recording:
    return everything()


@pytest.fixture(scope="module")
def told() -> Recording:
    return recorded(Wanted(ingress_key=KEY, pipeline=PIPELINE.model_copy(update={"notify": None})))


def allowed(recording: Recording, role: str) -> dict[str, set[str]]:
    """Action → resources."""
    found: dict[str, set[str]] = {}
    for each in json.loads(recording.named(role, "aws:iam/rolePolicy:RolePolicy").inputs["policy"])["Statement"]:
        for action in each["Action"]:
            found.setdefault(action, set()).update(each["Resource"])
    return found


def variables(recording: Recording, step: str) -> Json:
    return dict(recording.named(f"pipeline-{step}", FUNCTION).inputs["environment"]["variables"])


def test_no_rule_finds_anything_in_it(made: Recording) -> None:
    below = {each.label for each in made.below(made.named("pipeline", "ml:aws:Pipeline"))}
    assert len(below) > 40
    assert [found for found in findings(made) if found.resource in below] == []


class TestTheStateMachine:
    def test_is_the_document_with_the_arns_of_what_was_made(self, made: Recording) -> None:
        machine = made.named("pipeline", "aws:sfn/stateMachine:StateMachine").inputs
        StaticAnalyser().analyse(machine["definition"])
        states = json.loads(machine["definition"])["States"]
        assert states["ValidateData"]["Parameters"]["FunctionName"].endswith(":function:mtd-dev-validate")
        assert states["BuildFeatures"]["Parameters"]["JobDriver"]["SparkSubmit"]["EntryPoint"] == (
            "s3://mtd-dev-artifacts-123456789012/jobs/features.py"
        )

    def test_is_traced_and_logged_without_the_data(self, made: Recording) -> None:
        machine = made.named("pipeline", "aws:sfn/stateMachine:StateMachine").inputs
        assert machine["tracingConfiguration"] == {"enabled": True}
        assert machine["loggingConfiguration"]["includeExecutionData"] is False
        log = made.named("pipeline", "aws:cloudwatch/logGroup:LogGroup").inputs
        assert log["name"] == "/aws/vendedlogs/states/mtd-dev-pipeline"
        assert log["kmsKeyId"]

    def test_an_end_that_no_message_tells_of_sets_off_an_alarm(self, made: Recording) -> None:
        alarms = [each.inputs for each in made.of_type("aws:cloudwatch/metricAlarm:MetricAlarm")]
        assert {each["metricName"] for each in alarms if each.get("namespace") == "AWS/States"} == {
            # Of which those count here whose message could not be sent, or made.
            "ExecutionsFailed",
            "ExecutionsTimedOut",
            "ExecutionsAborted",
        }

    def test_may_run_this_task_in_this_cluster_alone(self, made: Recording) -> None:
        statements = json.loads(made.named("pipeline", "aws:iam/rolePolicy:RolePolicy").inputs["policy"])["Statement"]
        (run,) = [each for each in statements if each["Action"] == ["ecs:RunTask"]]
        assert [each.rpartition("/")[2] for each in run["Resource"]] == ["mtd-dev-training:1"]
        assert run["Condition"]["ArnEquals"]["ecs:cluster"].endswith(":cluster/mtd-dev")
        passes = [each["Condition"]["StringEquals"] for each in statements if each["Action"] == ["iam:PassRole"]]
        assert {each["iam:PassedToService"] for each in passes} == {
            "ecs-tasks.amazonaws.com",
            "emr-serverless.amazonaws.com",
        }


class TestTheStart:
    def test_is_the_mark_of_new_data_alone(self, made: Recording) -> None:
        pattern = json.loads(made.named("pipeline", "aws:cloudwatch/eventRule:EventRule").inputs["eventPattern"])
        assert pattern["detail"] == {
            "bucket": {"name": ["mtd-dev-data-123456789012"]},
            "object": {"key": [{"wildcard": "incoming/*/_READY"}]},
        }

    def test_keeps_events_that_started_nothing(self, made: Recording) -> None:
        target = made.named("pipeline", "aws:cloudwatch/eventTarget:EventTarget").inputs
        queue = target["deadLetterConfig"]["arn"]
        assert queue.endswith(":mtd-dev-pipeline-events-dead-letters")
        rules = json.loads(
            made.named("pipeline-events-dead-letters", "aws:sqs/queuePolicy:QueuePolicy").inputs["policy"]
        )
        (writer,) = [each for each in rules["Statement"] if each["Effect"] == "Allow"]
        assert writer["Condition"]["ArnEquals"]["aws:SourceArn"].endswith(":rule/mtd-dev-pipeline")


class TestSteps:
    @pytest.mark.parametrize("step", ["validate", "evaluate", "deploy"])
    def test_each_is_in_the_network_traced_and_has_its_own_role(self, made: Recording, step: str) -> None:
        function = made.named(f"pipeline-{step}", FUNCTION).inputs
        assert function["handler"] == f"infra.lambdas.{step}.handler"
        assert len(function["vpcConfig"]["subnetIds"]) == 2
        assert function["tracingConfig"] == {"mode": "Active"}
        assert function["role"].endswith(f":role/mtd-dev-{step}")
        assert function["reservedConcurrentExecutions"] == 2
        assert function["deadLetterConfig"]["targetArn"].endswith(":mtd-dev-pipeline-steps-dead-letters")

    def test_know_what_they_read_of_the_environment(self, made: Recording) -> None:
        validate = variables(made, "validate")
        assert json.loads(validate["SOURCES"]) == SOURCES
        assert validate["ARTIFACTS"] == "mtd-dev-artifacts-123456789012"
        assert (
            validate["IDEMPOTENCY_TABLE"] == variables(made, "deploy")["IDEMPOTENCY_TABLE"] == "mtd-dev-pipeline-done"
        )
        assert variables(made, "evaluate")["METRIC"] == "test_auc"
        assert {variables(made, step)["MLFLOW_TRACKING_URI"] for step in ("evaluate", "deploy")} == {
            "http://tracking.internal"
        }

    def test_only_validate_reads_new_data_and_none_writes_to_a_bucket(self, made: Recording) -> None:
        reads = {step: allowed(made, f"pipeline-{step}") for step in ("validate", "evaluate", "deploy")}
        assert [step for step, of in reads.items() if "s3:GetObject" in of] == ["validate"]
        assert reads["validate"]["s3:GetObject"] == {"arn:aws:s3:::mtd-dev-data-123456789012/incoming/*"}
        assert [step for step, of in reads.items() if "s3:PutObject" in of] == []

    def test_deploy_reads_the_ingresses_key_where_there_is_an_ingress_to_tell(
        self, made: Recording, told: Recording
    ) -> None:
        assert "INGRESS_URL" not in variables(made, "deploy")
        assert "secretsmanager:GetSecretValue" not in allowed(made, "pipeline-deploy")
        assert variables(told, "deploy")["INGRESS_URL"] == "https://ingress.example"
        assert variables(told, "deploy")["SECRET_ARN"] == KEY
        assert allowed(told, "pipeline-deploy")["secretsmanager:GetSecretValue"] == {KEY}

    @pytest.mark.parametrize("step", ["validate", "evaluate", "deploy"])
    def test_the_zip_has_all_that_the_handler_imports(self, step: str, tmp_path: Path) -> None:
        packed = tmp_path / "step.zip"
        with zipfile.ZipFile(packed, "w") as file:
            for name, asset in archive(step).assets.items():
                assert isinstance(asset, pulumi.FileAsset)
                file.write(asset.path, name)
        program = (
            f"import sys; sys.path.insert(0, {str(packed)!r}); import infra.lambdas.{step} as m; print(m.__file__)"
        )
        found = subprocess.run(
            [sys.executable, "-P", "-c", program], cwd=tmp_path, capture_output=True, text=True, check=False
        )
        assert found.stdout.startswith(str(packed)), found.stderr


class TestJobs:
    def test_training_is_a_fargate_task_of_the_size_in_the_settings(self, made: Recording) -> None:
        task = made.named("pipeline-training", "aws:ecs/taskDefinition:TaskDefinition").inputs
        assert (task["cpu"], task["memory"], task["requiresCompatibilities"]) == ("4096", "16384", ["FARGATE"])
        (container,) = json.loads(task["containerDefinitions"])
        assert container["readonlyRootFilesystem"] is True
        assert container["secrets"] == []

    def test_training_reads_views_and_writes_features_and_nothing_else(self, made: Recording) -> None:
        can = allowed(made, "pipeline-task")
        assert can["s3:GetObject"] == {"arn:aws:s3:::mtd-dev-artifacts-123456789012/views/*"}
        assert can["dynamodb:BatchWriteItem"] == {"arn:aws:dynamodb:eu-west-1:123456789012:table/mtd-dev-features"}
        assert "s3:PutObject" not in can

    def test_spark_has_a_limit_and_ends_when_idle(self, made: Recording) -> None:
        application = made.named("pipeline", "aws:emrserverless/application:Application").inputs
        assert application["maximumCapacity"] == {"cpu": "16 vCPU", "memory": "64 GB", "disk": "320 GB"}
        assert application["autoStopConfiguration"] == {"enabled": True, "idleTimeoutMinutes": 5}
        assert len(application["networkConfiguration"]["subnetIds"]) == 2

    def test_spark_writes_views_and_its_logs_alone(self, made: Recording) -> None:
        bucket = "arn:aws:s3:::mtd-dev-artifacts-123456789012"
        assert allowed(made, "pipeline-features")["s3:PutObject"] == {f"{bucket}/views/*", f"{bucket}/logs/spark/*"}


def test_who_is_to_be_notified_hears_of_the_pipeline_alone(made: Recording, told: Recording) -> None:
    subscription = made.named("pipeline-email", "aws:sns/topicSubscription:TopicSubscription").inputs
    assert subscription["endpoint"] == PIPELINE.notify
    assert json.loads(subscription["filterPolicy"]) == {"source": ["pipeline"]}
    assert [each.name for each in told.of_type("aws:sns/topicSubscription:TopicSubscription")] == ["alerts-email"]
