"""One model on Lambda: the image ``lambda`` behind an HTTP API, with a limit on each thing that costs."""

from __future__ import annotations

import json
from dataclasses import dataclass

import pulumi
import pulumi_aws as aws

from infra import settings
from infra.aws import secrets
from infra.aws.account import Account
from infra.aws.alarms import Alarm, Metric, alarm, queue_depth
from infra.aws.dead_letters import dead_letters, sends
from infra.aws.iam import Statement, role, trust, uses_key
from infra.aws.keys import Keys
from infra.aws.logs import log_group, writes
from serve.settings import TEXT_VARIABLE

ALIAS = "live"
NAMESPACE = "MlFunction"
"""Of the handler's own metrics."""

SLOW_SHARE = 0.8
"""Of the timeout, from which on the slowest of a hundred answers are worth an alarm."""

ACCESS_LOG = {
    "request_id": "$context.requestId",
    "time": "$context.requestTimeEpoch",
    "ip": "$context.identity.sourceIp",
    "method": "$context.httpMethod",
    "path": "$context.path",
    "status": "$context.status",
    "latency_ms": "$context.responseLatency",
    "response_bytes": "$context.responseLength",
    "function_error": "$context.integrationErrorMessage",
    "agent": "$context.identity.userAgent",
}
"""No header, no query and no body: a key could be in them.
https://docs.aws.amazon.com/apigateway/latest/developerguide/http-api-logging-variables.html"""


@dataclass(frozen=True)
class FunctionArgs:
    """``serving``: the text of the serving settings, of which access and limits apply; ``""`` for the image's own.

    ``api_keys_secret_arn``: what its ``access.keys`` names.
    """

    account: Account
    settings: settings.Function
    image: pulumi.Input[str]
    keys: Keys
    artifacts: aws.s3.Bucket
    alerts_topic_arn: pulumi.Input[str]
    serving: str = ""
    api_keys_secret_arn: pulumi.Input[str] | None = None


class Function(pulumi.ComponentResource):
    """The function, its API and its alarms.

    It is in no network of ours: it talks to S3, Secrets Manager, X-Ray and its log alone, by IAM and TLS, and starts
    sooner so. The API asks for no authorization: the function does, by API keys as the ingress does. The API calls it
    synchronously, so its caller gets each failure; the queue is for what somebody invokes asynchronously.
    """

    url: pulumi.Output[str]
    name: pulumi.Output[str]
    dead_letters_name: pulumi.Output[str]
    api_id: pulumi.Output[str]

    def __init__(self, name: str, args: FunctionArgs, opts: pulumi.ResourceOptions | None = None) -> None:
        super().__init__("ml:aws:Function", name, None, opts)
        self._name = name
        self._args = args
        self._physical = args.account.naming.name("predict")
        self._opts = pulumi.ResourceOptions(parent=self)
        queue = dead_letters(name, args.account, args.keys.logs_arn, self)
        function = self._function(queue)
        live = aws.lambda_.Alias(
            name, name=ALIAS, function_name=function.name, function_version=function.version, opts=self._opts
        )
        api = self._api(function, live)
        self.name = function.name
        self.dead_letters_name = queue.name
        self.api_id = api.id
        self.url = self._stage(api).invoke_url
        self._alarms()
        self.register_outputs({"url": self.url, "name": self.name, "dead_letters_name": self.dead_letters_name})

    def _log(self, part: str) -> aws.cloudwatch.LogGroup:
        account = self._args.account
        physical = account.naming.path("function", part)
        return log_group(f"{self._name}-{part}", physical, account, self._args.keys.logs_arn, self)

    def _function(self, queue: aws.sqs.Queue) -> aws.lambda_.Function:
        chosen = self._args.settings
        log = self._log("requests")
        return aws.lambda_.Function(
            self._name,
            name=self._physical,
            description=f"Answers with {chosen.model}",
            package_type="Image",
            image_uri=self._args.image,
            architectures=["x86_64"],
            role=self._role(log, queue).arn,
            memory_size=chosen.memory,
            timeout=chosen.timeout_seconds,
            reserved_concurrent_executions=chosen.concurrency,
            publish=True,
            kms_key_arn=self._args.keys.data_arn,
            environment=aws.lambda_.FunctionEnvironmentArgs(variables=self._environment()),
            dead_letter_config=aws.lambda_.FunctionDeadLetterConfigArgs(target_arn=queue.arn),
            tracing_config=aws.lambda_.FunctionTracingConfigArgs(mode="Active"),
            logging_config=aws.lambda_.FunctionLoggingConfigArgs(
                log_format="JSON", log_group=log.name, application_log_level="INFO", system_log_level="WARN"
            ),
            opts=self._opts,
        )

    def _environment(self) -> dict[str, pulumi.Input[str]]:
        args = self._args
        found: dict[str, pulumi.Input[str]] = {
            "MODEL_URI": pulumi.Output.concat("s3://", args.artifacts.bucket, f"/{args.settings.model}"),
            "POWERTOOLS_SERVICE_NAME": "predict",
            "POWERTOOLS_METRICS_NAMESPACE": NAMESPACE,
            "POWERTOOLS_LOG_LEVEL": "INFO",
        }
        if args.serving:
            found[TEXT_VARIABLE] = args.serving
        return found

    def _role(self, log: aws.cloudwatch.LogGroup, queue: aws.sqs.Queue) -> aws.iam.Role:
        """The function's own: it reads the one model that it serves and, where there are any, the API keys."""
        args = self._args
        statements = [
            writes(log.arn),
            traces(),
            Statement(
                ("s3:GetObject",), [pulumi.Output.concat(args.artifacts.arn, f"/{args.settings.model.rstrip('/')}/*")]
            ),
            uses_key(args.account, args.keys.data_arn, ("kms:Decrypt",), "s3"),
            *sends(queue.arn, args.keys.logs_arn),
        ]
        if args.api_keys_secret_arn is not None:
            statements += secrets.reads(args.account, args.api_keys_secret_arn, args.keys.secrets_arn)
        trusted = trust("lambda.amazonaws.com", args.account.id)
        return role(self._name, self._physical, trusted, statements, self)

    def _api(self, function: aws.lambda_.Function, live: aws.lambda_.Alias) -> aws.apigatewayv2.Api:
        """All paths, for the protocols of the ingress share one function. No CORS: browsers have no business here."""
        api = aws.apigatewayv2.Api(
            self._name,
            name=self._physical,
            protocol_type="HTTP",
            description="Predictions, by the paths and protocols of the ingress",
            opts=self._opts,
        )
        integration = aws.apigatewayv2.Integration(
            self._name,
            api_id=api.id,
            integration_type="AWS_PROXY",
            integration_uri=live.invoke_arn,
            payload_format_version="2.0",
            # One second more than the function's: its own error is the one that is answered.
            timeout_milliseconds=(self._args.settings.timeout_seconds + 1) * 1000,
            opts=self._opts,
        )
        aws.apigatewayv2.Route(
            self._name,
            api_id=api.id,
            route_key="ANY /{proxy+}",
            authorization_type="NONE",
            target=pulumi.Output.concat("integrations/", integration.id),
            opts=self._opts,
        )
        aws.lambda_.Permission(
            self._name,
            action="lambda:InvokeFunction",
            function=function.name,
            qualifier=live.name,
            principal="apigateway.amazonaws.com",
            source_arn=pulumi.Output.concat(api.execution_arn, "/*/*"),
            opts=self._opts,
        )
        return api

    def _stage(self, api: aws.apigatewayv2.Api) -> aws.apigatewayv2.Stage:
        chosen = self._args.settings
        return aws.apigatewayv2.Stage(
            self._name,
            api_id=api.id,
            name="$default",
            auto_deploy=True,
            default_route_settings=aws.apigatewayv2.StageDefaultRouteSettingsArgs(
                throttling_rate_limit=chosen.requests_per_second,
                throttling_burst_limit=chosen.burst,
                detailed_metrics_enabled=True,
            ),
            access_log_settings=aws.apigatewayv2.StageAccessLogSettingsArgs(
                destination_arn=self._log("access").arn, format=json.dumps(ACCESS_LOG)
            ),
            opts=self._opts,
        )

    def _alarms(self) -> None:
        args = self._args
        on = {"FunctionName": self.name}

        def metric(name: str, statistic: str = "Sum") -> Metric:
            return Metric("AWS/Lambda", name, on, statistic, 300)

        slow = int(args.settings.timeout_seconds * 1000 * SLOW_SHARE)
        alarms = (
            Alarm("errors", "The function failed or ran out of time: read its log.", 0, metric("Errors")),
            Alarm(
                "throttles",
                f"More than {args.settings.concurrency} at one time: raise function.concurrency.",
                0,
                metric("Throttles"),
                periods=2,
            ),
            Alarm("slow", f"p99 is above {slow} ms: cold starts, or a larger model.", slow, metric("Duration", "p99")),
            queue_depth("unhandled", self.dead_letters_name, "Asynchronous invocations failed: read the queue."),
        )
        for each in alarms:
            alarm(self._name, args.account, each, args.alerts_topic_arn, self)


def traces() -> Statement:
    """For a role that is traced by X-Ray, whose calls know no resource."""
    return Statement(("xray:PutTelemetryRecords", "xray:PutTraceSegments"), ["*"])
