"""A recorded stack in the words of the real AWS provider."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pulumi
import pulumi_aws as aws
import pytest

from infra.check.record import record
from infra.check.references import References
from infra.check.schema import Schema
from infra.check.terraform import Translation, translate
from tests.unit.infra.check.good import GOOD, program

pytestmark = pytest.mark.integration

Translate = Callable[..., Translation]


@pytest.fixture
def translated(schema: Schema, tmp_path: Path) -> Translate:
    def run(program: Callable[[], Any], **options: Any) -> Translation:
        references = References(schema, "us-east-1")
        recording = record(
            lambda: program() and None,
            project="p",
            stack="dev",
            config={"p:webhook_url": "https://example.com/hidden"},
            secret_keys=["p:webhook_url"],
            provider=references,
        )
        return translate(recording, schema, references, tmp_path, {"region": "us-east-1"}, **options)

    return run


def test_a_good_stack_is_translated_whole(translated: Translate) -> None:
    found = translated(program(GOOD))
    assert found.findings == ()
    assert sorted(found.document["resource"]) == [
        "aws_ecr_repository",
        "aws_ecs_task_definition",
        "aws_iam_role",
        "aws_iam_role_policy",
        "aws_launch_template",
        "aws_secretsmanager_secret",
        "aws_secretsmanager_secret_version",
        "aws_sfn_state_machine",
    ]


def test_an_unknown_argument_is_a_finding_that_names_it(translated: Translate) -> None:
    scanning: Any = {"scan_on_pussh": True}
    found = translated(lambda: aws.ecr.Repository("serve", name="serve", image_scanning_configuration=scanning))
    assert [(each.resource, each.path) for each in found.findings] == [
        ("aws:ecr/repository:Repository serve", "imageScanningConfiguration.scan_on_pussh")
    ]


def test_a_type_that_the_provider_has_not_is_a_finding(translated: Translate) -> None:
    class Newer(pulumi.CustomResource):
        def __init__(self) -> None:
            super().__init__("aws:ecr/newer:Newer", "it", {})

    assert [(each.resource, each.path) for each in translated(Newer).findings] == [("aws:ecr/newer:Newer it", "type")]


def test_an_output_stays_a_reference_in_a_text_and_in_json(translated: Translate) -> None:
    def made() -> None:
        bucket = aws.s3.Bucket("data")
        statement = {"Effect": "Deny", "Resource": pulumi.Output.concat(bucket.arn, "/${aws:username}/*")}
        aws.s3.BucketPolicy("data", bucket=bucket.id, policy=pulumi.Output.json_dumps({"Statement": [statement]}))

    body = translated(made).document["resource"]["aws_s3_bucket_policy"]["data"]
    assert body["bucket"] == "${aws_s3_bucket.data.id}"
    assert "${aws_s3_bucket.data.arn}/$${aws:username}/*" in body["policy"]
    assert body["depends_on"] == ["aws_s3_bucket.data"]


def test_a_nested_output_and_a_number_stay_references(translated: Translate) -> None:
    def made() -> None:
        database = aws.rds.Instance("db", instance_class="db.t4g.micro", manage_master_user_password=True)
        place = pulumi.Output.concat(database.address, ":", database.port.apply(str))
        aws.cloudwatch.Dashboard("at", dashboard_name="at", dashboard_body=place)
        aws.ssm.Parameter("by", type="String", value=database.master_user_secrets[0].secret_arn)

    found = translated(made).document["resource"]
    assert (
        found["aws_cloudwatch_dashboard"]["at"]["dashboard_body"]
        == "${aws_db_instance.db.address}:${aws_db_instance.db.port}"
    )
    assert found["aws_ssm_parameter"]["by"]["value"] == "${aws_db_instance.db.master_user_secret[0].secret_arn}"


def test_a_secret_is_a_sensitive_variable_and_stands_in_no_file(translated: Translate) -> None:
    def made() -> None:
        secret = aws.secretsmanager.Secret("hook")
        url = pulumi.Config().require_secret("webhook_url")
        text = pulumi.Output.concat(url, "?to=", secret.arn)
        aws.secretsmanager.SecretVersion("hook", secret_id=secret.id, secret_string=text)

    found = translated(made)
    body = found.document["resource"]["aws_secretsmanager_secret_version"]["hook"]
    assert body["secret_string"] == "${var.secret_1}${aws_secretsmanager_secret.hook.arn}"
    assert found.document["variable"] == {"secret_1": {"type": "string", "sensitive": True}}
    assert found.variables == {"secret_1": "https://example.com/hidden?to="}
    assert "hidden" not in json.dumps(found.document)


def test_a_reference_to_what_is_left_out_is_what_it_would_look_like(translated: Translate) -> None:
    def made() -> None:
        topic = aws.sns.Topic("alerts", name="alerts")
        aws.ssm.Parameter("topic", type="String", value=topic.arn)

    found = translated(made, without=lambda each: each.type == "aws:sns/topic:Topic")
    assert found.document["resource"]["aws_ssm_parameter"]["topic"]["value"] == (
        "arn:aws:sns:us-east-1:123456789012:alerts"
    )
    assert found.left_out == ("aws:sns/topic:Topic alerts",)
