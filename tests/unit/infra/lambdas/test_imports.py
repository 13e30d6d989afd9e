"""Each handler runs with what it is given: the image has no Ray, the zip files nothing of ours but their package."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[4]

ABSENT_IN_THE_IMAGE = ("ray", "mlflow", "torch", "pyspark", "pandas", "tritonclient", "grpc", "sqlalchemy", "requests")
ABSENT_IN_THE_ZIP = (
    *ABSENT_IN_THE_IMAGE,
    *("console", "serve", "training", "spark_jobs", "demo", "benchmarks"),
    *("numpy", "onnx", "onnxruntime", "starlette", "orjson", "msgspec", "yaml", "pulumi", "pulumi_aws"),
)

PROGRAM = """
import sys
from importlib.abc import MetaPathFinder

class Absent(MetaPathFinder):
    def find_spec(self, name, path=None, target=None):
        if name.partition(".")[0] in {blocked!r}:
            raise ModuleNotFoundError(f"No module named {{name!r}}", name=name)

sys.meta_path.insert(0, Absent())
"""

ANSWERS = """
import importlib.metadata, json, os

def version(name, found=importlib.metadata.version):
    if name == "mlflow":
        raise importlib.metadata.PackageNotFoundError(name)
    return found(name)

importlib.metadata.version = version
os.environ["MODEL_URI"] = {folder!r}
os.environ["SERVE_SETTINGS_YAML"] = "models: {{parcels: {{}}}}\\naccess: {{required: false}}\\n"

class Context:
    function_name = "predict"
    memory_limit_in_mb = 1024
    invoked_function_arn = "arn:aws:lambda:eu-west-1:123456789012:function:predict"
    aws_request_id = "1"
    def get_remaining_time_in_millis(self):
        return 20_000

from infra.lambdas.predict import handler

def asked(path, kind="application/json", body=None, method="POST"):
    event = json.load(open({event!r}))
    event["rawPath"] = path
    event["requestContext"]["http"]["method"] = method
    event["headers"]["content-type"] = kind
    event["body"] = event["body"] if body is None else body
    return handler(event, Context())["statusCode"]

found = [
    asked("/v2/models/parcels/infer"),
    asked("/invocations", "text/csv", "zone,depot,weight,hour\\nsouth,north,1.5,7\\n"),
    asked("/version", method="GET"),
]
print("STATUS", found)
"""


def run(program: str, cwd: Path = ROOT) -> str:
    ran = subprocess.run([sys.executable, "-c", program], cwd=cwd, capture_output=True, text=True, check=False)
    assert ran.returncode == 0, ran.stderr
    return ran.stdout


def test_predict_answers_without_what_its_image_lacks(released: Path) -> None:
    event = Path(__file__).parent / "events" / "http_api_v2.json"
    program = PROGRAM.format(blocked=ABSENT_IN_THE_IMAGE) + ANSWERS.format(folder=str(released), event=str(event))
    # CSV needs pandas, and the version is that of an MLflow that is not there.
    assert "STATUS [200, 415, 404]" in run(program)


@pytest.mark.parametrize("step", ["validate", "evaluate", "deploy"])
def test_a_step_imports_nothing_of_ours_but_its_package(step: str) -> None:
    program = PROGRAM.format(blocked=ABSENT_IN_THE_ZIP) + f"from infra.lambdas.{step} import handler"
    run(program)
