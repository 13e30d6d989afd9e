"""A recording is the whole of what a program registers, and nothing of another one's."""

from __future__ import annotations

import threading
import traceback
from typing import Any

import pulumi
import pulumi_aws as aws
import pytest

from infra.check.record import DataSource, Made, NotRecorded, Recording, ResourceAsValue, record
from infra.check.signatures import is_secret


def recorded(program: Any, **options: Any) -> Recording:
    return record(program, project="p", stack="dev", config={"p:word": "hidden"}, secret_keys=["p:word"], **options)


def test_inputs_are_plain_and_have_pulumis_names() -> None:
    def program() -> None:
        aws.ecs.TaskDefinition("task", family="f", container_definitions="[]", network_mode="awsvpc")
        aws.sqs.Queue("queue", visibility_timeout_seconds=30, fifo_queue=False)

    found = recorded(program)
    assert found.named("task").inputs == {"family": "f", "containerDefinitions": "[]", "networkMode": "awsvpc"}
    assert found.named("queue").inputs == {"visibilityTimeoutSeconds": 30, "fifoQueue": False}
    assert isinstance(found.named("queue").inputs["visibilityTimeoutSeconds"], int)


def test_an_output_has_the_form_that_aws_gives_it() -> None:
    def program() -> None:
        bucket = aws.s3.Bucket("data", bucket="my-data")
        pulumi.export("arn", bucket.arn)
        pulumi.export("role", aws.iam.Role("role", name="r", assume_role_policy="{}").arn)

    assert recorded(program).outputs == {"arn": "arn:aws:s3:::my-data", "role": "arn:aws:iam::123456789012:role/r"}


def test_functions_of_outputs_run_for_there_is_no_preview() -> None:
    seen = []

    def program() -> None:
        aws.s3.Bucket("data", bucket="my-data").arn.apply(seen.append)

    recorded(program)
    assert seen == ["arn:aws:s3:::my-data"]


def test_nested_outputs_have_values_too() -> None:
    def program() -> None:
        roles = aws.eks.ClusterVpcConfigArgs(subnet_ids=["subnet-1"])
        cluster = aws.eks.Cluster("c", role_arn="arn:aws:iam::123456789012:role/r", vpc_config=roles)
        pulumi.export("certificate", cluster.certificate_authority.data)
        pulumi.export("group", cluster.vpc_config.cluster_security_group_id)

    found = recorded(program).outputs
    assert found.keys() == {"certificate", "group"}
    assert all(isinstance(value, str) and value for value in found.values())


def test_a_secret_keeps_its_signature_through_a_resource() -> None:
    def program() -> None:
        word = pulumi.Config().require_secret("word")
        version = aws.secretsmanager.SecretVersion("v", secret_id="s", secret_string=word)
        pulumi.export("word", version.secret_string)
        pulumi.export("id", version.secret_id)

    found = recorded(program)
    assert found.named("v").inputs["secretString"] == "hidden"
    assert found.named("v").secret_paths == {"secretString"}
    assert "hidden" not in str({key: value for key, value in found.raw_outputs.items() if not is_secret(value)})
    assert (is_secret(found.raw_outputs["word"]), is_secret(found.raw_outputs["id"])) == (True, False)


def test_resources_of_a_component_and_what_they_depend_on_are_known() -> None:
    class Pair(pulumi.ComponentResource):
        def __init__(self) -> None:
            super().__init__("test:Pair", "pair")
            opts = pulumi.ResourceOptions(parent=self)
            first = aws.sqs.Queue("first", opts=opts)
            aws.sqs.Queue("second", name=first.name, opts=opts)
            self.register_outputs({})

    def program() -> None:
        Pair()
        aws.sqs.Queue("beside")

    found = recorded(program)
    assert [each.name for each in found.components] == ["pair"]
    assert [each.name for each in found.below(found.named("pair"))] == ["first", "second"]
    assert found.named("second").dependencies == (found.named("first").urn,)
    assert found.named("second").property_dependencies == {"name": (found.named("first").urn,)}


def test_data_sources_are_answered_and_kept() -> None:
    def program() -> None:
        pulumi.export("account", aws.get_caller_identity().account_id)
        pulumi.export("zones", aws.get_availability_zones(state="available").names)

    found = recorded(program)
    assert found.outputs == {"account": "123456789012", "zones": ["us-east-1a", "us-east-1b", "us-east-1c"]}
    assert DataSource("aws:index/getAvailabilityZones:getAvailabilityZones", {"state": "available"}) in found.calls


def test_a_data_source_without_an_answer_is_named() -> None:
    with pytest.raises(LookupError, match="getZone: the check has no answer"):
        recorded(lambda: aws.route53.get_zone(name="x") and None)


def test_an_exception_of_the_program_comes_out_with_its_own_traceback() -> None:
    def program() -> None:
        aws.sqs.Queue("queue")
        raise KeyError("mine")

    with pytest.raises(KeyError, match="mine") as caught:
        recorded(program)
    assert caught.traceback[-1].name == "program"


def test_an_exception_in_a_function_of_an_output_comes_out_too() -> None:
    def fails(arn: str) -> str:
        raise ValueError(f"mine: {arn}")

    def program() -> None:
        aws.s3.Bucket("other", bucket=aws.s3.Bucket("data", bucket="d").arn.apply(fails))

    with pytest.raises(ValueError, match="mine: arn:aws:s3:::d") as caught:
        recorded(program)
    assert "in fails" in "".join(traceback.format_exception(caught.value))


def test_a_resource_where_a_value_belongs_is_named_and_does_not_hang() -> None:
    def program() -> None:
        bucket = aws.s3.Bucket("logs", bucket="logs")
        given: Any = bucket
        aws.lb.LoadBalancer("front", access_logs=aws.lb.LoadBalancerAccessLogsArgs(bucket=given, enabled=True))

    with pytest.raises(ResourceAsValue, match=r"front: accessLogs.bucket: expected a value, got a resource"):
        recorded(program)


def test_a_recording_holds_nothing_of_one_that_failed_before() -> None:
    def fails() -> None:
        aws.sqs.Queue("left")
        raise RuntimeError

    with pytest.raises(RuntimeError):
        recorded(fails)
    found = recorded(lambda: aws.sqs.Queue("right") and None)
    assert [each.name for each in found.resources] == ["right"]


def test_many_resources_keep_each_their_own_inputs() -> None:
    def program() -> None:
        for number in range(100):
            aws.sqs.Queue(f"q{number}", name=f"n{number}")

    found = recorded(program)
    assert {each.name: each.inputs["name"] for each in found.resources} == {f"q{n}": f"n{n}" for n in range(100)}


def test_no_thread_and_no_loop_is_left_behind() -> None:
    before = threading.active_count()
    recorded(lambda: aws.sqs.Queue("queue") and None)
    assert threading.active_count() == before


def test_outputs_come_from_whoever_is_asked_for_them() -> None:
    class Signs:
        def made(self, made: Made) -> tuple[str, dict[str, Any]]:
            return f"id of {made.name}", {"arn": f"arn of {made.type}"}

        def call(self, token: str, args: Any) -> dict[str, Any]:
            raise AssertionError(f"no data source is asked, and {token} was")

    def program() -> None:
        queue = aws.sqs.Queue("queue")
        pulumi.export("found", [queue.id, queue.arn])

    assert recorded(program, provider=Signs()).outputs == {"found": ["id of queue", "arn of aws:sqs/queue:Queue"]}


def test_a_name_that_is_not_there_is_told_with_those_that_are() -> None:
    found = recorded(lambda: aws.sqs.Queue("queue") and None)
    with pytest.raises(NotRecorded, match="expected one of: aws:sqs/queue:Queue queue"):
        found.named("other")
