"""moto's server with what the AWS provider and the pipeline need of it beside; a process of its own.

It prints its port, and ends when its standard input does, so that it never outlives who started it.
Functions with an image are not run here; those of a zip run as they are, in a process of their own.
"""

from __future__ import annotations

import contextlib
import fnmatch
import io
import json
import os
import subprocess
import sys
import tempfile
import threading
import zipfile
from collections.abc import Callable
from typing import Any

from moto.acm.models import AWSCertificateManagerBackend
from moto.applicationautoscaling.responses import ApplicationAutoScalingResponse
from moto.awslambda.exceptions import UnknownLayerVersionException
from moto.awslambda.models import LambdaFunction
from moto.awslambda.utils import get_backend
from moto.awslambda_simple.models import LambdaSimpleBackend
from moto.budgets.responses import BudgetsResponse
from moto.core.config import default_user_config
from moto.core.responses import ActionResult
from moto.emrserverless.models import EMRServerlessBackend
from moto.events.models import Rule
from moto.iam.access_control import IAMPolicyStatement, PermissionResult
from moto.moto_server.werkzeug_app import DomainDispatcherApplication, MotoRequestHandler, create_backend_app
from moto.s3.models import FakeBucket
from moto.stepfunctions.parser.asl.static_analyser.static_analyser import StaticAnalyser
from moto.stepfunctions.responses import StepFunctionResponse
from werkzeug.serving import make_server

from infra.check.emulator import CREDENTIALS, NotEmulated
from infra.check.emulator_events import to_state_machines

HANDLER = """
import importlib, json, sys, traceback
folder, name = sys.argv[1:]
sys.path.insert(0, folder)
module, _, function = name.rpartition(".")
answer, sys.stdout = sys.stdout, sys.stderr
class Context:
    function_name = "emulated"
    memory_limit_in_mb = 128
    invoked_function_arn = "arn:aws:lambda:us-east-1:123456789012:function:emulated"
    aws_request_id = "00000000-0000-4000-8000-000000000000"
    @staticmethod
    def get_remaining_time_in_millis():
        return 60_000
try:
    handler = getattr(importlib.import_module(module.replace("/", ".")), function)
    found = {"ok": handler(json.load(sys.stdin), Context())}
except Exception as error:
    found = {"error": {"errorMessage": str(error), "errorType": type(error).__name__,
                       "stackTrace": traceback.format_exc().splitlines()}}
json.dump(found, answer)
"""


def validate_definition(self: Any) -> ActionResult:
    """``ValidateStateMachineDefinition``, answered by the parser that runs it too."""
    definition = json.loads(self.body)["definition"]
    try:
        json.loads(definition)
        StaticAnalyser().analyse(definition)
    except Exception as error:  # noqa: BLE001  the parser raises what it likes
        problem = {
            "severity": "ERROR",
            "code": "SCHEMA_VALIDATION_FAILED",
            "message": f"{type(error).__name__}: {error}"[:500],
        }
        return ActionResult({"result": "FAIL", "diagnostics": [problem], "truncated": False})
    return ActionResult({"result": "OK", "diagnostics": [], "truncated": False})


def subscribers(self: Any) -> str:
    """``DescribeSubscribersForNotification``."""
    asked = json.loads(self.body)
    budget = self.backend.budgets[asked["AccountId"]][asked["BudgetName"]]
    same = ("NotificationType", "ComparisonOperator", "Threshold")
    found = [
        each.subscribers
        for each in budget.notifications
        if all(each.details.get(key) == asked["Notification"].get(key) for key in same)
    ]
    return json.dumps({"Subscribers": found[0] if found else []})


def may_write_logs(target_bucket: Any, target_prefix: str | None) -> bool:
    """Whether a bucket's policy lets S3 write its access logs there; moto reads policies without lists alone."""
    policy = json.loads(target_bucket.policy.decode()) if target_bucket.policy else {}
    written = f"arn:aws:s3:::{target_bucket.name}/{target_prefix or ''}log"
    return any(
        statement.get("Effect") == "Allow"
        and "logging.s3.amazonaws.com" in _listed(statement.get("Principal", {}).get("Service", []))
        and "s3:PutObject" in _listed(statement.get("Action", []))
        and any(fnmatch.fnmatchcase(written, resource) for resource in _listed(statement.get("Resource", [])))
        for statement in policy.get("Statement", [])
    )


def certificate_in_use(self: Any, arn: str, user: str) -> None:
    """A certificate of a listener; one that was made outside of the stack is none of moto's."""
    if arn in self._certificates:
        self._certificates[arn].in_use_by.append(user)


def layers(self: Any, arns: list[str]) -> list[dict[str, Any]]:
    """A function's layers; those of other accounts, such as Powertools', are none of moto's."""
    found = []
    for arn in arns:
        own = get_backend(self.account_id, self.region).layers_versions_by_arn(arn)
        if own is None and f":{self.account_id}:" in arn:
            raise UnknownLayerVersionException([arn])
        found.append({"Arn": arn, "CodeSize": own.code_size if own else 0})
    return found


def spark_application(original: Callable[..., Any]) -> Callable[..., Any]:
    """``CreateApplication`` of EMR Serverless; moto knows the names of EMR's releases before 8 alone."""

    def create(self: Any, *, release_label: str, application_type: str, **more: Any) -> Any:
        made = original(self, release_label="emr-7.0.0", application_type=application_type.upper(), **more)
        made.release_label = release_label
        # An application starts with its first job.
        made.state = "CREATED"
        return made

    return create


def permission(original: Callable[..., Any]) -> Callable[..., Any]:
    """A bucket's policy; moto refuses everything that a policy denies on a condition, such as for want of TLS."""

    def is_permitted(self: Any, *arguments: Any, **more: Any) -> Any:
        if self._statement.get("Effect") == "Deny" and self._statement.get("Condition"):
            return PermissionResult.NEUTRAL
        return original(self, *arguments, **more)

    return is_permitted


def _listed(value: Any) -> list[Any]:
    return value if isinstance(value, list) else [value]


def invoke(
    self: Any,
    function_name: str,
    qualifier: str | None,
    body: Any,
    headers: Any,  # noqa: ARG001  moto gives it by its name
    response_headers: Any,
) -> bytes:
    """Run a zip's handler. The environment is the function's own and the way back to this server."""
    function = self.get_function(function_name, qualifier)
    if function.package_type == "Image":
        raise NotEmulated(f"{function_name} has an image, which this emulator does not run")
    environment = {
        **CREDENTIALS,
        "PATH": os.environ["PATH"],
        "AWS_ENDPOINT_URL": f"http://127.0.0.1:{os.environ['MOTO_PORT']}",
        "AWS_REGION": self.region_name,
        "AWS_DEFAULT_REGION": self.region_name,
        "AWS_LAMBDA_FUNCTION_NAME": function_name,
        "POWERTOOLS_TRACE_DISABLED": "true",
        **(function.environment_vars or {}),
    }
    event = body if isinstance(body, bytes) else (body or "{}").encode()
    with tempfile.TemporaryDirectory() as folder:
        zipfile.ZipFile(io.BytesIO(function.code_bytes)).extractall(folder)
        command = [sys.executable, "-c", HANDLER, folder, function.handler]
        done = subprocess.run(
            command,
            input=event,
            capture_output=True,
            env=environment,
            cwd=folder,
            timeout=int(function.timeout),
            check=False,
        )
    sys.stderr.write(done.stderr.decode(errors="replace"))
    found = (
        json.loads(done.stdout) if done.stdout else {"error": {"errorType": "Runtime.ExitError", "errorMessage": ""}}
    )
    if "error" in found:
        response_headers["x-amz-function-error"] = "Unhandled"
        return json.dumps(found["error"]).encode()
    return json.dumps(found["ok"]).encode()


def complete() -> None:
    """Add what moto lacks."""
    default_user_config["stepfunctions"]["execute_state_machine"] = True
    default_user_config["lambda"]["use_docker"] = False
    default_user_config["batch"]["use_docker"] = False
    default_user_config["iam"]["load_aws_managed_policies"] = True
    missing: list[tuple[type, str, Any]] = [
        (StepFunctionResponse, "validate_state_machine_definition", validate_definition),
        (StepFunctionResponse, "list_state_machine_versions", lambda _: ActionResult({"stateMachineVersions": []})),
        (ApplicationAutoScalingResponse, "list_tags_for_resource", lambda _: json.dumps({"Tags": {}})),
        (BudgetsResponse, "list_tags_for_resource", lambda _: json.dumps({"ResourceTags": []})),
        (BudgetsResponse, "describe_subscribers_for_notification", subscribers),
        (LambdaSimpleBackend, "invoke", invoke),
        (AWSCertificateManagerBackend, "set_certificate_in_use_by", certificate_in_use),
        (LambdaFunction, "_get_layers_data", layers),
        (EMRServerlessBackend, "create_application", spark_application(EMRServerlessBackend.create_application)),
        (IAMPolicyStatement, "is_action_permitted", permission(IAMPolicyStatement.is_action_permitted)),
        (Rule, "send_to_targets", to_state_machines(Rule.send_to_targets)),
        (FakeBucket, "_log_permissions_enabled_policy", staticmethod(may_write_logs)),
    ]
    for class_, action, answer in missing:
        setattr(class_, action, answer)


def serve() -> None:
    complete()
    os.environ.update(CREDENTIALS)
    application = DomainDispatcherApplication(create_backend_app)
    server = make_server("127.0.0.1", 0, application, threaded=True, request_handler=MotoRequestHandler)
    # State machines call the other services here.
    os.environ["MOTO_PORT"] = str(server.server_port)
    threading.Thread(target=_end_with_input, daemon=True).start()
    sys.stdout.write(f"{server.server_port}\n")
    sys.stdout.flush()
    with contextlib.suppress(KeyboardInterrupt):
        server.serve_forever()


def _end_with_input() -> None:
    sys.stdin.buffer.read()
    os._exit(0)


if __name__ == "__main__":
    serve()
