"""A planted secret is found wherever it lies in the open, and only there."""

from __future__ import annotations

import base64
import dataclasses
import logging
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pulumi
import pulumi_aws as aws
import pytest

from infra.check.canaries import Canaries, Log
from infra.check.record import record
from tests.unit.infra.check.good import GOOD, recorded

CANARIES = Canaries.for_keys({"webhook_url"})
TOKEN = CANARIES.tokens["webhook_url"]
CONFIG = CANARIES.config("p")


def found(program: Any) -> list[str]:
    recording = record(program, project="p", stack="dev", config=CONFIG, secret_keys=list(CONFIG))
    return [f"{each.resource} {each.path}" for each in CANARIES.in_recording(recording)]


def secret() -> pulumi.Output[str]:
    return pulumi.Config().require_secret("webhook_url")


def test_a_secret_in_secrets_manager_is_where_it_should_be() -> None:
    assert found(lambda: aws.secretsmanager.SecretVersion("v", secret_id="s", secret_string=secret()) and None) == []


def test_the_good_stack_leaves_none_in_the_open() -> None:
    recording = recorded(GOOD, CONFIG["p:webhook_url"])
    assert list(CANARIES.in_recording(recording)) == []
    assert TOKEN in str(recording.named("webhook", "aws:secretsmanager/secretVersion:SecretVersion").inputs)


@pytest.mark.parametrize(
    ("mistake", "path"),
    [
        ({"secret_is_secret": False}, "value"),
        ({"secret_in_environment": True}, "containerDefinitions[0].environment[1].value"),
    ],
)
def test_a_stack_that_leaks_one_is_told_where(mistake: dict[str, bool], path: str) -> None:
    recording = recorded(dataclasses.replace(GOOD, **mistake), CONFIG["p:webhook_url"])
    assert path in {each.path for each in CANARIES.in_recording(recording)}


def test_one_in_a_task_definition_is_found_though_pulumi_encrypts_it() -> None:
    text = pulumi.Output.json_dumps
    assert found(
        lambda: (
            aws.ecs.TaskDefinition("t", family="f", container_definitions=text([{"environment": secret()}])) and None
        )
    )


def test_one_in_base64_is_found() -> None:
    def program() -> None:
        data = secret().apply(lambda value: base64.b64encode(f"curl {value}".encode()).decode())
        aws.ec2.LaunchTemplate("lt", user_data=data)

    assert found(program) == ["aws:ec2/launchTemplate:LaunchTemplate lt userData"]


def test_one_in_a_function_s_archive_is_found() -> None:
    def program() -> None:
        code = pulumi.AssetArchive({"app.py": pulumi.StringAsset(f"URL = '{CONFIG['p:webhook_url']}'")})
        aws.lambda_.Function("f", role="arn:aws:iam::123456789012:role/r", code=code)

    assert "aws:lambda/function:Function f code/app.py" in found(program)


def test_one_in_an_export_is_found_and_an_encrypted_one_is_none() -> None:
    def program() -> None:
        pulumi.export("hidden", secret())
        pulumi.export("shown", pulumi.Output.unsecret(secret()))

    assert found(program) == ["the stack outputs.shown"]


def test_one_in_files_is_found_but_for_the_state_that_must_have_it(tmp_path: Path) -> None:
    (tmp_path / "terraform.tfstate").write_text(TOKEN)
    (tmp_path / "main.tf.json").write_text(f'{{"value": "{TOKEN}"}}')
    with zipfile.ZipFile(tmp_path / "f.zip", "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("app.py", f"URL = '{TOKEN}'")
    assert [each.path for each in CANARIES.in_folder(tmp_path)] == ["f.zip/app.py", "main.tf.json"]


@pytest.mark.parametrize("say", [print, logging.getLogger("of.a.library").warning], ids=["print", "log"])
def test_one_that_is_printed_or_logged_is_found(say: Callable[[str], object]) -> None:
    log = Log()
    with log.listening():
        say(TOKEN)
    assert [each.path for each in CANARIES.in_log(log)] == ["its log"]


def test_a_finding_does_not_say_it() -> None:
    recording = recorded(dataclasses.replace(GOOD, secret_is_secret=False), CONFIG["p:webhook_url"])
    told = [str(each) for each in CANARIES.in_recording(recording)]
    assert told
    assert TOKEN not in "".join(told)


def test_each_run_plants_other_values() -> None:
    assert Canaries.for_keys({"a"}) != Canaries.for_keys({"a"})
