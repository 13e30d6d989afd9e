"""Handlers that stand in for ECS and EMR Serverless: ``run_…`` start the program that the job would, and wait for it;
``copy_…`` leave what an earlier execution's left.

Run by the emulator as a zip of this file alone, with the container's own variables.
"""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import boto3


class JobFailed(Exception):
    """The program ended with another code than 0."""


def run_task(event: Mapping[str, Any], _context: object) -> None:
    """``event``: the parameters of ``ecs:runTask``. The image's entry point is ``python -m``."""
    (container,) = event["Overrides"]["ContainerOverrides"]
    _run([sys.executable, "-m", *container["Command"]])


def run_spark(event: Mapping[str, Any], _context: object) -> None:
    """``event``: the parameters of ``emr-serverless:startJobRun``. The entry point comes from S3, as EMR takes it."""
    submit = event["JobDriver"]["SparkSubmit"]
    bucket, _, key = submit["EntryPoint"].removeprefix("s3://").partition("/")
    entry_point = Path("entry_point.py").resolve()
    boto3.client("s3").download_file(bucket, key, str(entry_point))
    _run([sys.executable, str(entry_point), *submit["EntryPointArguments"]])


def copy_view(event: Mapping[str, Any], _context: object) -> None:
    """The objects below the variable ``VIEW``, which is an ``s3://`` address, to where this job was to write."""
    words = event["JobDriver"]["SparkSubmit"]["EntryPointArguments"]
    source, target = (
        text.removeprefix("s3://").partition("/") for text in (os.environ["VIEW"], words[words.index("--out") + 1])
    )
    s3 = boto3.client("s3")
    for entry in s3.list_objects_v2(Bucket=source[0], Prefix=source[2])["Contents"]:
        key = target[2] + entry["Key"].removeprefix(source[2])
        s3.copy_object(Bucket=target[0], Key=key, CopySource={"Bucket": source[0], "Key": entry["Key"]})


def copy_run(event: Mapping[str, Any], _context: object) -> None:
    """MLflow's run that the variable ``RUN`` names, as a run with this job's tags."""
    from mlflow import MlflowClient
    from mlflow.entities import Metric

    (container,) = event["Overrides"]["ContainerOverrides"]
    words = container["Command"]
    key, _, value = words[words.index("--tag") + 1].partition("=")
    client = MlflowClient()
    run = client.get_run(os.environ["RUN"])
    made = client.create_run(run.info.experiment_id, tags={key: value}).info.run_id
    client.log_batch(made, [Metric(name, reached, 0, 0) for name, reached in run.data.metrics.items()])
    client.set_terminated(made)


def _run(command: list[str]) -> None:
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    sys.stderr.write(f"$ {' '.join(command)}\n{done.stdout}{done.stderr}")
    if done.returncode:
        raise JobFailed(f"exit code {done.returncode}: {done.stderr.strip()[-500:]}")
