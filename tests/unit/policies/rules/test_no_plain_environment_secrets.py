"""``no-plain-environment-secrets``."""

from __future__ import annotations

import base64
import json
from typing import Any

import pytest

from policies.node import Resource
from policies.rules.no_plain_environment_secrets import no_plain_environment_secrets
from policies.testing import Case, Cases, drop, found, put, resource
from tests.unit.policies.rules.pods import (
    HEAD,
    WORKER,
    container_app,
    container_group,
    deployment,
    ray_service,
    task,
)

GOOD = {"name": "MODELS_FOLDER", "value": "/models"}
BAD = {"name": "DB_PASSWORD", "value": "hunter2"}
KEY = {"name": "SETTINGS", "value": "id: AKIAABCDEFGHIJKLMNOP"}
ARN = "arn:aws:secretsmanager:us-east-1:123456789012:secret:keys-AbCdEf"
VALUE = "template.containers[0].env[0].value"
ENV = f"{WORKER}.containers[0].env"


def function(**variables: Any) -> Resource:
    return resource("aws:lambda/function:Function", {"environment": {"variables": variables}})


def spark(**properties: Any) -> Resource:
    runtime = [{"classification": "spark-defaults", "properties": properties}]
    return resource("aws:emrserverless/application:Application", {"runtimeConfigurations": runtime})


def machine(parameters: Any) -> Resource:
    states = {"Run": {"Type": "Task", "Parameters": parameters}}
    return resource("aws:sfn/stateMachine:StateMachine", {"definition": json.dumps({"States": states})})


def overrides(name: str, value: str) -> Resource:
    return machine({"Overrides": {"ContainerOverrides": [{"Environment": [{"Name": name, "Value": value}]}]}})


def submits(setting: str) -> Resource:
    return machine({"SparkSubmit": {"SparkSubmitParameters": f"--conf spark.emr-serverless.driverEnv.{setting} --x"}})


def instances(text: str) -> Resource:
    encoded = base64.b64encode(text.encode()).decode()
    return resource("aws:ec2/launchTemplate:LaunchTemplate", {"userData": encoded})


CASES = [
    Cases(
        no_plain_environment_secrets,
        passing=[
            container_app(env=[GOOD, {"name": "API_KEY", "secretRef": "api-key"}]),
            container_app(image="it"),
            container_group(environmentVariables=[GOOD]),
            task(environment=[GOOD], secrets=[{"name": "PGPASSWORD", "valueFrom": ARN}]),
            task(environment=[{"name": "API_KEYS_SECRET_ARN", "value": "keys"}]),
            task(environment=[{"name": "WEBHOOK", "value": ARN}]),
            deployment(env=[{"name": "TOKEN", "valueFrom": {"secretKeyRef": {"name": "it", "key": "token"}}}]),
            function(MODEL_URI="s3://ours/model", MAX_TOKENS="100", SECRET_NAME="ours"),
            resource("aws:lambda/function:Function", {"runtime": "python3.11"}),
            spark(**{"spark.driver.cores": "4"}),
            overrides("MODEL", "flights"),
            submits("PYSPARK_PYTHON=/app/bin/python"),
            instances("#!/bin/bash\necho ECS_CLUSTER=ours >> /etc/ecs/ecs.config\n"),
        ],
        failing=[
            put("template.containers[0].env[0]", BAD),
            put("template.containers[0].env[0]", KEY),
            put(VALUE, json.dumps({"database": {"password": "hunter2"}})),
            put(VALUE, "postgresql://mlflow:hunter2@host/mlflow"),
            put("template.initContainers", [{"env": [BAD]}]),
            container_group(environmentVariables=[BAD]),
            task(environment=[BAD]),
            task(environment=[KEY]),
            deployment(env=[BAD]),
            function(API_TOKEN="abc123"),
            function(SETTINGS=KEY["value"]),
            spark(**{"spark.emr-serverless.driverEnv.PASSWORD": "hunter2"}),
            overrides("API_TOKEN", "abc123"),
            submits("API_TOKEN=abc123"),
            instances("#!/bin/bash\nexport API_TOKEN=abc123\n"),
            instances("[default]\naws_access_key_id = AKIAABCDEFGHIJKLMNOP\n"),
        ],
        unknown=[VALUE, "template.containers[0].env[0].name", "template.containers[0].env", "template"],
    ),
    Cases(
        no_plain_environment_secrets,
        passing=[ray_service(env=[GOOD])],
        failing=[put(ENV, [BAD]), put(f"{HEAD}.containers[0].env[0]", KEY)],
        unknown=[ENV, f"{ENV}[0].value"],
    ),
    Cases(
        no_plain_environment_secrets,
        passing=[function(MODEL="flights")],
        failing=[put("environment.variables", {"PASSWORD": "hunter2"}), put("environment.variables.TOKEN", "abc123")],
        unknown=["environment.variables", "environment.variables.MODEL"],
    ),
    Cases(
        no_plain_environment_secrets,
        passing=[instances("#!/bin/bash\n"), drop("userData").of(instances(""))],
        failing=[
            put("userData", "export API_TOKEN=abc123\n#!"),
            put("userDataBase64", "export API_TOKEN=abc123\n#!"),
        ],
        unknown=["userData"],
    ),
]


def test_it_never_says_the_value() -> None:
    told = [str(each) for each in found(no_plain_environment_secrets, function(API_TOKEN="hunter2", B=KEY["value"]))]
    assert len(told) == 2
    assert not [each for each in told if "hunter2" in each or "AKIA" in each]


@pytest.mark.parametrize(
    "name",
    [
        "AWS_SECRET_ACCESS_KEY",
        "SECRET_KEY",
        "DJANGO_SECRET_KEY",
        "ACCESS_KEY",
        "secretKey",
        "ENCRYPTION_KEY",
        "SIGNING_KEY",
        "DB_PASS",
        "MYSQL_PWD",
        "PASS",
    ],
)
def test_a_name_of_a_secret(name: str) -> None:
    assert found(no_plain_environment_secrets, function(**{name: "hunter2"}))


@pytest.mark.parametrize(
    "name", ["ACCESS_KEY_ID", "AWS_ACCESS_KEY_ID", "ENCRYPTION_KEY_ID", "KEY", "COMPASS", "BYPASS", "OLDPWD", "PASSES"]
)
def test_a_name_of_no_secret(name: str) -> None:
    assert not found(no_plain_environment_secrets, function(**{name: "hunter2"}))


@pytest.mark.parametrize("case", [case for cases in CASES for case in cases.all()], ids=str)
def test_no_plain_environment_secrets(case: Case) -> None:
    case.check()
