"""What a container gets of the serving settings, on ECS and on Kubernetes alike. Errors: ``infra.aws.unfit``."""

from __future__ import annotations

import math

import pulumi
import pulumi_aws as aws
import yaml

from infra import settings as stack_settings
from infra.aws import language, secrets
from infra.aws.account import Account
from infra.aws.iam import Statement, uses_key
from infra.aws.ledger import Ledger
from infra.aws.unfit import PLACE, WRITABLE, UnfitForContainer, require_writable
from serve.settings import TEXT_VARIABLE, ModelSettings, Settings, SettingsText, read_settings

READY = "/v2/health/ready"

OBJECT_STORE_BYTES = 256 * 2**20
"""Of Ray. Requests go by HTTP and gRPC, so no more than deployments' arguments is ever in it; Ray's default of 30 %
of the memory would be lost to it."""

STOP_SECONDS = 10
"""How long Serve's processes may take to end, beyond the drain."""

LONGEST_STOP_SECONDS = 120
"""ECS waits no longer on Fargate."""


def read(text: str, *, ledger: bool = False) -> Settings:
    """The settings as the container will read them; those of its ``ledger``, where the stack has one, come later.

    Raises:
        SettingsError: of ``serve.settings``.
        UnfitForContainer: they would not work in a container behind a load balancer.
    """
    settings = read_settings(SettingsText(text, PLACE))
    if settings.http.host != "0.0.0.0":  # noqa: S104 - compared, not bound
        raise UnfitForContainer(
            f"{PLACE}: http.host is {settings.http.host}, expected 0.0.0.0: requests come from outside"
        )
    if settings.http.tls is not None:
        raise UnfitForContainer(f"{PLACE}: http.tls is set, expected null: TLS ends at the load balancer")
    if settings.access.keys is not None and not settings.access.keys.startswith("secretsmanager:"):
        raise UnfitForContainer(
            f"{PLACE}: access.keys is {settings.access.keys}, expected secretsmanager:NAME: "
            "a container's disk ends with it"
        )
    require_writable("registry.cache", settings.registry.cache)
    require_writable("access_log.folder", settings.access_log.folder)
    language.require_container(settings, ledger=ledger)
    return settings


def on_gpus(settings: Settings) -> dict[str, ModelSettings]:
    """The models that ask for GPUs."""
    return {name: model for name, model in settings.models.items() if model.placement == "replica" and model.gpus > 0}


def read_for(part: str, gpus: stack_settings.Gpus | None, text: str, *, ledger: bool) -> Settings:
    """:func:`read`, for a part of the stack that has ``gpus``, or none.

    Raises:
        SettingsError: of ``serve.settings``.
        UnfitForContainer: as of :func:`read`; or a model asks for GPUs where there are none.
    """
    settings = read(text, ledger=ledger)
    paths = [f"models.{name}" for name in on_gpus(settings)] + [
        f"backends.{name}" for name in language.on_gpus(settings)
    ]
    if paths and gpus is None:
        raise UnfitForContainer(
            f"{PLACE}: {paths[0]}.gpus is above 0, expected 0: the stack's {part}.gpus is not given"
        )
    return settings


def without_gpus(text: str) -> str:
    """The settings for where there are no GPUs: what asks for them is left out. The same text where nothing does.

    Raises:
        SettingsError: of ``serve.settings``.
        UnfitForContainer: nothing would be left.
    """
    settings = read_settings(SettingsText(text, PLACE))
    left_out = on_gpus(settings)
    if not left_out and not language.on_gpus(settings):
        return text
    document = settings.model_dump(mode="json", exclude_defaults=True)
    document["models"] = {name: model for name, model in document.get("models", {}).items() if name not in left_out}
    language.leave_out_gpus(document, settings)
    if not document["models"] and not document.get("language_models"):
        raise UnfitForContainer(
            f"{PLACE}: every model asks for GPUs, expected one that does not: it answers on Fargate"
        )
    if settings.default_model in left_out:
        del document["default_model"]
    return yaml.safe_dump(document, sort_keys=False)


def gpus_needed(settings: Settings) -> int:
    """How many one Ray node needs that serves all of it, at least one."""
    lowest = [
        (model.autoscaling.lowest if model.autoscaling else model.replicas) * model.gpus
        for model in on_gpus(settings).values()
    ]
    return max(1, math.ceil(sum(lowest) + language.gpus_needed(settings)))


def environment(
    settings: Settings, text: str, account: Account, tracking_url: pulumi.Input[str], ledger: Ledger | None
) -> dict[str, pulumi.Input[str]]:
    """Of the ingress's container. None of it is secret: the settings name secrets, and hold none."""
    return {
        TEXT_VARIABLE: text if ledger is None else ledger.within(text),
        "MLFLOW_TRACKING_URI": tracking_url,
        "AWS_DEFAULT_REGION": account.region,
        "HEALTH_URL": f"http://127.0.0.1:{settings.http.port}{READY}",
        "HOME": WRITABLE,
        "RAY_USAGE_STATS_ENABLED": "0",
        "RAY_DEFAULT_OBJECT_STORE_MAX_MEMORY_BYTES": str(OBJECT_STORE_BYTES),
    }


def stop_seconds(settings: Settings) -> int:
    """How long a container may take to end: it drains first."""
    return min(LONGEST_STOP_SECONDS, math.ceil(settings.ingress.drain_seconds) + STOP_SECONDS)


def statements(
    account: Account,
    artifacts: aws.s3.Bucket,
    data_key_arn: pulumi.Input[str],
    api_keys_secret_arn: pulumi.Input[str],
    secrets_key_arn: pulumi.Input[str],
    table_arn: pulumi.Input[str] | None,
    ledger: Ledger | None = None,
) -> list[Statement]:
    """For the role that the ingress itself has: it reads the API keys, model versions, online features, and the
    password of the ledger.

    It changes nothing. MLflow gives it the versions' metadata without a role.
    """
    services = ["s3"]
    found = [
        *secrets.reads(account, api_keys_secret_arn, secrets_key_arn),
        Statement(("s3:GetObject",), [pulumi.Output.concat(artifacts.arn, "/*")]),
        Statement(("s3:ListBucket",), [artifacts.arn]),
    ]
    if ledger is not None:
        found.append(Statement(secrets.READ, [ledger.secret_arn]))
    if table_arn is not None:
        services.append("dynamodb")
        found.append(
            Statement(
                ("dynamodb:BatchGetItem", "dynamodb:DescribeTable", "dynamodb:GetItem", "dynamodb:Query"), [table_arn]
            )
        )
    found.append(uses_key(account, data_key_arn, ("kms:Decrypt",), *services))
    return found
