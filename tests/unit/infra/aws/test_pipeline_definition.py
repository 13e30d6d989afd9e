"""The pipeline's document, and what the States Language says of it."""

import json
from collections.abc import Iterator
from typing import Any

import pytest
from moto.stepfunctions.parser.asl.static_analyser.static_analyser import StaticAnalyser

from infra.aws.pipeline_definition import (
    FINAL,
    PUBLISH,
    RUN_SPARK,
    RUN_TASK,
    SPOT_TRIES,
    DefinitionArgs,
    Functions,
    Jobs,
    Spark,
    definition,
    spark_parameters,
)
from infra.aws.states import array, literal, states_of
from infra.lambdas import deploy, drops, evaluate, steps, tracking, validate

LAMBDA = "arn:aws:lambda:eu-west-1:123456789012:function:"
Machine = dict[str, Any]


@pytest.fixture(scope="module")
def machine() -> Machine:
    return made()


def made(*, spot: bool = True) -> Machine:
    return definition(
        DefinitionArgs(
            name="mtd-dev-pipeline",
            model="late-delivery",
            view="orders",
            at_least=0.75,
            timeout_minutes=120,
            functions=Functions(f"{LAMBDA}validate", f"{LAMBDA}evaluate", f"{LAMBDA}deploy"),
            spark=Spark(
                "00abc",
                "arn:aws:iam::123456789012:role/features",
                "s3://artifacts/jobs/features.py",
                "/features",
                "s3://artifacts/logs/spark/",
                "arn:aws:kms:eu-west-1:123456789012:key/1",
                16,
            ),
            jobs=Jobs("cluster", "task:1", "training", ["subnet-1", "subnet-2"], "sg-1", spot),
            table="features",
            topic_arn="arn:aws:sns:eu-west-1:123456789012:alerts",
        )
    )


def tasks(machine: Machine) -> dict[str, Machine]:
    return {name: state for name, state in states_of(machine).items() if state["Type"] == "Task"}


def command(machine: Machine, state: str) -> str:
    found = states_of(machine)[state]["Parameters"]["Overrides"]["ContainerOverrides"][0]["Command.$"]
    assert isinstance(found, str)
    return found


def test_its_analyser_finds_nothing(machine: Machine) -> None:
    StaticAnalyser().analyse(json.dumps(machine))


def test_every_state_that_is_named_is_there_and_each_is_reached(machine: Machine) -> None:
    def dangling(of: Machine) -> Iterator[str]:
        named = {of["StartAt"]}
        for state in of["States"].values():
            named |= {state[key] for key in ("Next", "Default") if key in state}
            named |= {each["Next"] for key in ("Catch", "Choices") for each in state.get(key, ())}
            for branch in state.get("Branches", ()):
                yield from dangling(branch)
        yield from named ^ of["States"].keys()

    assert list(dangling(machine)) == []


def test_every_task_has_a_time_limit_within_that_of_the_whole_and_tries_again(machine: Machine) -> None:
    limits = {name: state["TimeoutSeconds"] for name, state in tasks(machine).items()}
    assert len(limits) == 10
    assert max(limits.values()) <= machine["TimeoutSeconds"] == 120 * 60
    assert [
        name for name, state in tasks(machine).items() if not any(each["MaxAttempts"] for each in state["Retry"])
    ] == []


def test_every_failure_of_the_pipeline_ends_in_the_message_about_it(machine: Machine) -> None:
    ends = {
        name: [(each["ErrorEquals"], each["ResultPath"], each["Next"]) for each in state.get("Catch", ())]
        for name, state in machine["States"].items()
        if state["Type"] in ("Task", "Parallel") and name != "NotifyFailure"
    }
    assert set(map(str, ends.values())) == {str([(["States.ALL"], "$.error", "NotifyFailure")])}
    assert machine["States"]["NotifyFailure"]["Next"] == "Failed"
    assert machine["States"]["NotifyFailure"]["Catch"][0]["Next"] == "Failed"


def test_no_error_of_the_steps_that_another_try_does_not_mend_is_tried_again(machine: Machine) -> None:
    found = {
        each.__name__
        for module in (deploy, drops, evaluate, steps, tracking, validate)
        for each in vars(module).values()
        if isinstance(each, type) and issubclass(each, steps.StepError)
    }
    assert found == set(FINAL)
    first = {name: state["Retry"][0] for name, state in tasks(machine).items() if "lambda" in state["Resource"]}
    assert set(first) == {"ValidateData", "Evaluate", "Deploy"}
    assert all(each == {"ErrorEquals": list(FINAL), "MaxAttempts": 0} for each in first.values())


def test_the_gate_lets_through_a_number_that_is_large_enough(machine: Machine) -> None:
    gate = machine["States"]["Gate"]
    conditions = {key: value for each in gate["Choices"][0]["And"] for key, value in each.items() if key != "Variable"}
    assert conditions == {"IsPresent": True, "IsNumeric": True, "NumericGreaterThanEquals": 0.75}
    assert (gate["Choices"][0]["Next"], gate["Default"]) == ("Register", "NotifyRejected")
    assert machine["States"]["Rejected"]["Type"] == "Succeed"


def test_jobs_are_waited_for_and_run_inside_the_network(machine: Machine) -> None:
    resources = {name: state["Resource"] for name, state in tasks(machine).items()}
    assert {name for name, resource in resources.items() if resource == RUN_TASK} == {
        "Train",
        "Register",
        "PublishOnlineFeatures",
    }
    assert resources["BuildFeatures"] == RUN_SPARK
    network = machine["States"]["Train"]["Parameters"]["NetworkConfiguration"]["AwsvpcConfiguration"]
    assert network == {"Subnets": ["subnet-1", "subnet-2"], "SecurityGroups": ["sg-1"], "AssignPublicIp": "DISABLED"}


def test_training_alone_runs_on_spare_capacity_and_again_where_that_ends(machine: Machine) -> None:
    chosen = {
        name: (state["Parameters"].get("LaunchType"), state["Parameters"].get("CapacityProviderStrategy"))
        for name, state in tasks(machine).items()
        if state["Resource"] == RUN_TASK
    }
    spot = [{"CapacityProvider": "FARGATE_SPOT", "Weight": 1}]
    assert chosen == {
        "Train": (None, spot),
        "Register": ("FARGATE", None),
        "PublishOnlineFeatures": ("FARGATE", None),
    }
    (failed,) = [each for each in machine["States"]["Train"]["Retry"] if each["ErrorEquals"] == ["States.TaskFailed"]]
    assert failed["MaxAttempts"] == SPOT_TRIES


def test_training_can_be_kept_off_it() -> None:
    train = made(spot=False)["States"]["Train"]
    assert train["Parameters"]["LaunchType"] == "FARGATE"
    assert "CapacityProviderStrategy" not in train["Parameters"]
    assert train["Retry"][-1]["MaxAttempts"] == 1


def test_jobs_get_the_command_lines_of_this_project(machine: Machine) -> None:
    assert command(machine, "Train") == (
        "States.Array('training', 'train', 'late-delivery', '--view', $.view, "
        "'--tag', States.Format('execution={}', $.execution))"
    )
    assert command(machine, "Register") == (
        "States.Array('training', 'register', 'late-delivery', '--view', $.view, "
        "'--run', $.evaluation.run, '--alias', 'challenger')"
    )
    assert command(machine, "PublishOnlineFeatures") == (
        "States.Array('spark_jobs', 'publish', '--view', $.view, '--to', 'dynamodb:features')"
    )
    spark = machine["States"]["BuildFeatures"]["Parameters"]["JobDriver"]["SparkSubmit"]
    assert spark["EntryPointArguments.$"] == "States.Array('orders', '--source', $.source, '--out', $.view)"


def test_messages_say_that_they_are_the_pipelines(machine: Machine) -> None:
    sent = [state["Parameters"] for state in tasks(machine).values() if state["Resource"] == PUBLISH]
    assert sorted(each["Subject"].rpartition(": ")[2] for each in sent) == ["failed", "new version", "rejected"]
    assert {each["MessageAttributes"]["source"]["StringValue"] for each in sent} == {"pipeline"}


@pytest.mark.parametrize("vcpus", [2, 4, 8, 16])
def test_a_spark_job_has_every_core_and_memory_of_its_application_in_its_driver(vcpus: int) -> None:
    found = dict(each.split("=", 1) for each in spark_parameters(vcpus).removeprefix("--conf ").split(" --conf "))
    assert int(found["spark.driver.cores"]) == vcpus
    assert 1.1 * int(found["spark.driver.memory"].removesuffix("g")) <= 4 * vcpus
    assert not any(key.startswith("spark.executor") for key in found)


def test_an_array_of_plain_texts_is_plain() -> None:
    assert array(literal("a"), "$.b") == "States.Array('a', $.b)"
