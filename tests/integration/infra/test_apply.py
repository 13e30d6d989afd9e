"""A stack that the real AWS provider plans, makes in an emulator, and takes down again."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pulumi
import pulumi_aws as aws
import pytest

from infra.check import command
from infra.check.tool import Terraform
from infra.naming import Naming
from infra.tagging import tag_everything
from tests.unit.infra.check.good import SETTINGS, configure

pytestmark = pytest.mark.integration

TRUST = {
    "Version": "2012-10-17",
    "Statement": [
        {"Effect": "Allow", "Action": ["sts:AssumeRole"], "Principal": {"Service": ["lambda.amazonaws.com"]}}
    ],
}


def small(days: int = 14) -> None:
    """One of each: a store, a queue, a function, a machine, a secret."""
    naming = Naming("ml-training-deployment", "dev")
    tag_everything(naming.tags("ml"))
    bucket = aws.s3.Bucket("data", bucket="mtd-dev-data", force_destroy=True)
    queue = aws.sqs.Queue("dead", name="dead", message_retention_seconds=days * 86_400)
    aws.cloudwatch.LogGroup("function", name="/function", retention_in_days=days)
    role = aws.iam.Role("function", name="function", assume_role_policy=json.dumps(TRUST))
    function = aws.lambda_.Function(
        "function",
        name="function",
        role=role.arn,
        runtime="python3.11",
        handler="app.handler",
        code=pulumi.AssetArchive({"app.py": pulumi.StringAsset("def handler(event, context):\n    return event\n")}),
        environment=aws.lambda_.FunctionEnvironmentArgs(variables={"BUCKET": bucket.bucket, "DEAD": queue.url}),
    )
    state = {"Type": "Task", "Resource": function.arn, "End": True}
    definition = pulumi.Output.json_dumps({"StartAt": "Only", "States": {"Only": state}})
    aws.sfn.StateMachine("machine", name="machine", role_arn=role.arn, definition=definition)
    secret = aws.secretsmanager.Secret("webhook", name="webhook", recovery_window_in_days=0)
    url = pulumi.Config().require_secret("webhook_url")
    aws.secretsmanager.SecretVersion("webhook", secret_id=secret.id, secret_string=url)


def check(program: Callable[[], Any], folder: Path, *arguments: str) -> int:
    (folder / "Pulumi.dev.yaml").write_text(SETTINGS)
    configure(folder, {"all": "disabled"})
    return command.main(["--stack", "dev", "--folder", str(folder), *arguments], lambda: program() and None, {})


def test_a_stack_is_applied_read_again_and_destroyed(
    terraform: Terraform, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    kept = tmp_path / "kept"
    assert check(small, tmp_path, "--apply", "--keep", str(kept)) == 0, capsys.readouterr().out
    said = capsys.readouterr().out
    assert "8 of 8 resources" in said
    assert "0 left" in said
    assert json.loads((kept / "terraform.tfstate").read_text())["resources"] == []


def test_what_the_provider_refuses_is_a_finding_that_names_the_resource(
    terraform: Terraform, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert check(lambda: small(days=15), tmp_path, "--plan") == 1
    found = [line.partition(": expected")[0] for line in capsys.readouterr().out.splitlines() if "[plan]" in line]
    assert sorted(found) == [
        "aws:cloudwatch/logGroup:LogGroup function: retention_in_days",
        "aws:sqs/queue:Queue dead: message_retention_seconds",
    ]
