"""A small program of what runs, watches and costs: the pipeline, the function, alarms and the budget."""

import functools
from collections.abc import Callable
from dataclasses import dataclass

import pulumi

from infra import settings
from infra.aws.account import Account
from infra.aws.alerts import Alerts, AlertsArgs
from infra.aws.budget import Budget, BudgetArgs
from infra.aws.cluster import Cluster, ClusterArgs
from infra.aws.function import Function, FunctionArgs
from infra.aws.ingress import Ingress, IngressArgs
from infra.aws.keys import Keys, KeysArgs
from infra.aws.network import Network, NetworkArgs
from infra.aws.observability import Observability, ObservabilityArgs
from infra.aws.online_store import OnlineStore, OnlineStoreArgs
from infra.aws.pipeline import Pipeline, PipelineArgs
from infra.aws.repositories import Repositories, RepositoriesArgs
from infra.aws.storage import Storage, StorageArgs
from infra.check.record import Recording, record
from infra.naming import Naming
from infra.tagging import tag_everything

PROJECT = "ml-training-deployment"
ACCOUNT = "123456789012"
REGION = "eu-west-1"
CERTIFICATE = f"arn:aws:acm:{REGION}:{ACCOUNT}:certificate/12345678-0000-4000-8000-123456789012"
EMAIL = "ops@example.com"
SERVING = """
http: {host: 0.0.0.0}
access: {keys: "secretsmanager:api-keys?region=eu-west-1"}
access_log: {folder: /tmp/logs}
registry: {cache: /tmp/models}
models: {late-delivery: {}}
"""
MODELS = tuple(f"vendor.model-{number}" for number in range(6))
SOURCES = {"orders": ["order_id", "placed_at"], "stores": ["store_id"]}

PIPELINE = settings.Pipeline(model="late-delivery", view="orders", sources=SOURCES, notify="data@example.com")
FUNCTION = settings.Function(model="releases/late-delivery/7", concurrency=4)


@dataclass(frozen=True)
class Wanted:
    """``ingress_key``: the ARN of the key for the ingress, where the pipeline tells it."""

    pipeline: settings.Pipeline = PIPELINE
    ingress_key: str | None = None
    ingress: settings.Ecs | None = None
    parts: bool = True
    bedrock: settings.Bedrock | None = None


def operations(wanted: Wanted) -> Callable[[], None]:
    def program() -> None:
        naming = Naming(PROJECT, "dev")
        tag_everything(naming.tags("ops"))
        account = Account(ACCOUNT, REGION, (f"{REGION}a", f"{REGION}b"), naming, 30, protect=False)
        keys = Keys("keys", KeysArgs(account))
        network = Network("network", NetworkArgs(account, "10.20.0.0/16", 1, nat=False, log_key_arn=keys.logs_arn))
        names = ("serve", "serve-gpu", "training", "features", "lambda")
        images = Repositories(
            "images", RepositoriesArgs(account, keys.data_arn, names, settings.Images(tag="1.4.0", keep=7))
        )
        storage = Storage("storage", StorageArgs(account, keys.data_arn, 21, 9))
        alerts = Alerts("alerts", AlertsArgs(account, keys.logs_arn, EMAIL))
        Budget("budget", BudgetArgs(account, 200, EMAIL, alerts.topic_arn))
        cluster = Cluster("cluster", ClusterArgs(account, keys.logs_arn))
        table = OnlineStore("features", OnlineStoreArgs(account, keys.data_arn, recovery=True))
        pipeline = function = ingress = None
        if wanted.parts:
            function = Function(
                "function",
                FunctionArgs(account, FUNCTION, images.uri("lambda"), keys, storage.artifacts, alerts.topic_arn),
            )
            pipeline = Pipeline(
                "pipeline",
                PipelineArgs(
                    account,
                    wanted.pipeline,
                    network,
                    keys,
                    storage,
                    cluster,
                    images.uri("training"),
                    images.uri("features"),
                    "http://tracking.internal",
                    table,
                    alerts.topic_arn,
                    ingress_url="https://ingress.example" if wanted.ingress_key else None,
                    ingress_key_secret_arn=wanted.ingress_key,
                ),
            )
        if wanted.ingress is not None:
            ingress = Ingress(
                "ingress",
                IngressArgs(
                    account,
                    wanted.ingress,
                    network,
                    cluster,
                    keys,
                    images.uri("serve"),
                    images.uri("serve-gpu"),
                    storage.artifacts,
                    "http://tracking.internal",
                    f"arn:aws:secretsmanager:{REGION}:{ACCOUNT}:secret:api-keys-AbCdEf",
                    None,
                    None,
                    SERVING,
                    storage.logs_name,
                ),
            )
        watched = Observability(
            "watch",
            ObservabilityArgs(
                account, 1.5, 1_000_000, alerts.topic_arn, cluster, ingress, function, pipeline, wanted.bedrock
            ),
        )
        pulumi.export("dashboard", watched.dashboard_name)

    return program


def recorded(wanted: Wanted) -> Recording:
    return record(operations(wanted), project=PROJECT, stack="dev", config={"aws:region": REGION})


@functools.cache
def everything() -> Recording:
    """One recording for all tests that only look: with the ingress on GPUs and more models than an alarm takes."""
    ingress = settings.Ecs(certificate=CERTIFICATE, gpus=settings.EcsGpus())
    return recorded(Wanted(ingress=ingress, bedrock=settings.Bedrock(models=MODELS)))
