"""From new data to a new version: a state machine, its steps and jobs, and what starts it."""

from __future__ import annotations

import json
from dataclasses import dataclass

import pulumi
import pulumi_aws as aws

from infra import settings
from infra.aws import pipeline_definition as asl
from infra.aws import secrets
from infra.aws.account import Account
from infra.aws.alarms import Alarm, Metric, alarm, queue_depth
from infra.aws.cluster import Cluster
from infra.aws.dead_letters import dead_letters
from infra.aws.iam import Statement, uses_key
from infra.aws.keys import Keys
from infra.aws.logs import log_group
from infra.aws.network import Network
from infra.aws.online_store import OnlineStore
from infra.aws.pipeline_functions import PipelineFunctions, PipelineFunctionsArgs, Step
from infra.aws.pipeline_jobs import CONTAINER, INCOMING, PipelineJobs, PipelineJobsArgs
from infra.aws.pipeline_roles import machine_role, starter_role
from infra.aws.storage import Storage

MARK = "_READY"
"""The object that is written last: the folder that it lies in is whole."""

START_ATTEMPTS = 24
START_SECONDS = 3600
"""How often and for how long EventBridge tries to start an execution, before the event is a dead letter."""


@dataclass(frozen=True)
class PipelineArgs:
    """``training_image`` starts ``python -m``.

    ``ingress_url`` is told of a new champion, with the key in ``ingress_key_secret_arn``: one of the scope ``admin``,
    as the secret's string. The steps are in private subnets: they reach a public address by a NAT gateway alone.
    """

    account: Account
    settings: settings.Pipeline
    network: Network
    keys: Keys
    storage: Storage
    cluster: Cluster
    training_image: pulumi.Input[str]
    features_image: pulumi.Input[str]
    tracking_url: pulumi.Input[str]
    table: OnlineStore
    alerts_topic_arn: pulumi.Input[str]
    ingress_url: pulumi.Input[str] | None = None
    ingress_key_secret_arn: pulumi.Input[str] | None = None


class Pipeline(pulumi.ComponentResource):
    """``s3://DATA/incoming/FOLDER/_READY`` starts it. ``dead_letters_name``: events that started nothing."""

    state_machine_arn: pulumi.Output[str]
    dead_letters_name: pulumi.Output[str]

    def __init__(self, name: str, args: PipelineArgs, opts: pulumi.ResourceOptions | None = None) -> None:
        super().__init__("ml:aws:Pipeline", name, None, opts)
        self._name = name
        self._args = args
        self._physical = args.account.naming.name("pipeline")
        self._opts = pulumi.ResourceOptions(parent=self)
        functions = self._functions()
        jobs = PipelineJobs(
            name,
            PipelineJobsArgs(
                args.account,
                args.settings,
                args.network,
                args.keys,
                args.storage,
                args.table,
                args.training_image,
                args.features_image,
                args.tracking_url,
            ),
            opts=self._opts,
        )
        self.state_machine_arn = self._machine(functions, jobs).arn
        self.dead_letters_name = self._start()
        self._alarms()
        if args.settings.notify is not None:
            self._subscribe(args.settings.notify)
        self.register_outputs(
            {"state_machine_arn": self.state_machine_arn, "dead_letters_name": self.dead_letters_name}
        )

    def _functions(self) -> PipelineFunctions:
        args, done = self._args, self._done_table()
        once = Statement(
            ("dynamodb:DeleteItem", "dynamodb:GetItem", "dynamodb:PutItem", "dynamodb:UpdateItem"), [done.arn]
        )
        data, artifacts = args.storage.data, args.storage.artifacts
        validate = Step(
            "validate",
            "ValidateData: whether a drop of source tables is whole",
            [
                Statement(("s3:GetObject",), [pulumi.Output.concat(data.arn, f"/{INCOMING}*")]),
                Statement(("s3:ListBucket",), [data.arn], conditions={"StringLike": {"s3:prefix": [f"{INCOMING}*"]}}),
                self._data_key("s3", "dynamodb"),
                once,
            ],
            {
                "SOURCES": json.dumps(args.settings.sources),
                "ARTIFACTS": artifacts.bucket,
                "IDEMPOTENCY_TABLE": done.name,
            },
        )
        evaluate = Step(
            "evaluate",
            "Evaluate: what the run of this execution has reached",
            environment={"METRIC": args.settings.metric},
        )
        deploy = Step(
            "deploy",
            "Deploy: the run's version becomes the champion",
            [self._data_key("dynamodb"), once, *self._ingress_key()],
            {"IDEMPOTENCY_TABLE": done.name, **self._ingress()},
        )
        return PipelineFunctions(
            self._name,
            PipelineFunctionsArgs(
                args.account,
                args.network,
                args.keys,
                [validate, evaluate, deploy],
                {"MLFLOW_TRACKING_URI": args.tracking_url, "MODEL": args.settings.model},
                args.alerts_topic_arn,
            ),
            opts=self._opts,
        )

    def _ingress(self) -> dict[str, pulumi.Input[str]]:
        url, key = self._args.ingress_url, self._args.ingress_key_secret_arn
        return {} if url is None or key is None else {"INGRESS_URL": url, "SECRET_ARN": key}

    def _ingress_key(self) -> list[Statement]:
        args = self._args
        if args.ingress_url is None or args.ingress_key_secret_arn is None:
            return []
        return secrets.reads(args.account, args.ingress_key_secret_arn, args.keys.secrets_arn)

    def _data_key(self, *services: str) -> Statement:
        return uses_key(self._args.account, self._args.keys.data_arn, ("kms:Decrypt",), *services)

    def _done_table(self) -> aws.dynamodb.Table:
        """Which step was done for which execution: powertools' own schema. Lost, a step is done once more."""
        protect = self._args.account.protect
        return aws.dynamodb.Table(
            f"{self._name}-done",
            name=self._args.account.naming.name("pipeline", "done"),
            billing_mode="PAY_PER_REQUEST",
            hash_key="id",
            attributes=[aws.dynamodb.TableAttributeArgs(name="id", type="S")],
            ttl=aws.dynamodb.TableTtlArgs(attribute_name="expiration", enabled=True),
            point_in_time_recovery=aws.dynamodb.TablePointInTimeRecoveryArgs(enabled=True),
            server_side_encryption=aws.dynamodb.TableServerSideEncryptionArgs(
                enabled=True, kms_key_arn=self._args.keys.data_arn
            ),
            deletion_protection_enabled=protect,
            opts=pulumi.ResourceOptions(parent=self, protect=protect),
        )

    def _machine(self, functions: PipelineFunctions, jobs: PipelineJobs) -> aws.sfn.StateMachine:
        args, account = self._args, self._args.account
        # Step Functions writes to groups below this without a resource policy that grows with each.
        log = log_group(self._name, f"/aws/vendedlogs/states/{self._physical}", account, args.keys.logs_arn, self)
        runs_as = machine_role(
            self._name,
            account,
            list(functions.arns.values()),
            jobs,
            args.cluster,
            args.alerts_topic_arn,
            args.keys.logs_arn,
            self,
        )
        return aws.sfn.StateMachine(
            self._name,
            name=self._physical,
            type="STANDARD",
            role_arn=runs_as.arn,
            definition=pulumi.Output.json_dumps(asl.definition(self._definition(functions, jobs))),
            logging_configuration=aws.sfn.StateMachineLoggingConfigurationArgs(
                # What states are given and give may be data, and stays out of the log.
                level="ALL",
                include_execution_data=False,
                log_destination=pulumi.Output.concat(log.arn, ":*"),
            ),
            tracing_configuration=aws.sfn.StateMachineTracingConfigurationArgs(enabled=True),
            opts=self._opts,
        )

    def _definition(self, functions: PipelineFunctions, jobs: PipelineJobs) -> asl.DefinitionArgs:
        args, chosen = self._args, self._args.settings
        return asl.DefinitionArgs(
            name=self._physical,
            model=chosen.model,
            view=chosen.view,
            at_least=chosen.at_least,
            timeout_minutes=chosen.timeout_minutes,
            functions=asl.Functions(functions.arns["validate"], functions.arns["evaluate"], functions.arns["deploy"]),
            spark=asl.Spark(
                jobs.application.id,
                jobs.spark_role.arn,
                jobs.entry_point,
                jobs.spark_log.name,
                jobs.spark_logs,
                args.keys.data_arn,
                chosen.spark_vcpus,
            ),
            jobs=asl.Jobs(
                args.cluster.arn,
                jobs.task.arn,
                CONTAINER,
                args.network.private_subnet_ids,
                jobs.group.id,
                chosen.spot,
            ),
            table=args.table.name,
            topic_arn=args.alerts_topic_arn,
        )

    def _start(self) -> pulumi.Output[str]:
        account, bucket = self._args.account, self._args.storage.data.bucket
        rule = aws.cloudwatch.EventRule(
            self._name,
            name=self._physical,
            description=f"New data: {INCOMING}FOLDER/{MARK}",
            event_pattern=pulumi.Output.json_dumps(
                {
                    "source": ["aws.s3"],
                    "detail-type": ["Object Created"],
                    "detail": {
                        "bucket": {"name": [bucket]},
                        "object": {"key": [{"wildcard": f"{INCOMING}*/{MARK}"}]},
                    },
                }
            ),
            opts=self._opts,
        )
        queue = dead_letters(f"{self._name}-events", account, self._args.keys.logs_arn, self, rule.arn)
        aws.cloudwatch.EventTarget(
            self._name,
            rule=rule.name,
            target_id="pipeline",
            arn=self.state_machine_arn,
            role_arn=starter_role(self._name, account, self.state_machine_arn, self).arn,
            retry_policy=aws.cloudwatch.EventTargetRetryPolicyArgs(
                maximum_retry_attempts=START_ATTEMPTS, maximum_event_age_in_seconds=START_SECONDS
            ),
            dead_letter_config=aws.cloudwatch.EventTargetDeadLetterConfigArgs(arn=queue.arn),
            opts=self._opts,
        )
        return queue.name

    def _alarms(self) -> None:
        """Ends that no message may tell of: nothing catches the whole's timeout, nor a stop, nor its own failure."""
        on = {"StateMachineArn": self.state_machine_arn}
        alarms = [
            Alarm(part, text, 0, Metric("AWS/States", metric, on, "Sum", 300))
            for part, metric, text in (
                ("failed", "ExecutionsFailed", "An execution failed: without a message of its own, read its history."),
                ("timed-out", "ExecutionsTimedOut", "An execution ran longer than pipeline.timeout_minutes."),
                ("aborted", "ExecutionsAborted", "Somebody stopped an execution."),
            )
        ]
        unstarted = queue_depth("unstarted", self.dead_letters_name, "New data came, and no execution was started.")
        for each in (*alarms, unstarted):
            alarm(self._name, self._args.account, each, self._args.alerts_topic_arn, self)

    def _subscribe(self, email: str) -> None:
        aws.sns.TopicSubscription(
            f"{self._name}-email",
            topic=self._args.alerts_topic_arn,
            protocol="email",
            endpoint=email,
            filter_policy=json.dumps({asl.SOURCE: [asl.PIPELINE]}),
            opts=self._opts,
        )
