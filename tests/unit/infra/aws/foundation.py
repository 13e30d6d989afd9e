"""A small program of what every stack stands on, and how to look at what it registered."""

import json
from collections.abc import Callable, Iterator
from typing import Any

import pulumi

from infra import settings
from infra.aws import secrets
from infra.aws.account import Account
from infra.aws.cluster import Cluster, ClusterArgs
from infra.aws.iam import policy
from infra.aws.keys import Keys, KeysArgs
from infra.aws.network import Network, NetworkArgs
from infra.aws.online_store import OnlineStore, OnlineStoreArgs
from infra.aws.repositories import Repositories, RepositoriesArgs
from infra.aws.secrets import Secrets, SecretsArgs
from infra.aws.storage import Storage, StorageArgs
from infra.aws.tracking import Tracking, TrackingArgs
from infra.check.record import Recording, Resource, record
from infra.naming import Naming
from infra.tagging import tag_everything

PROJECT = "ml-training-deployment"
ACCOUNT = "123456789012"
REGION = "eu-west-1"
CIDR = "10.20.0.0/16"
WEBHOOK = "https://hooks.example/canary-7f3a"
ROTATOR = f"arn:aws:lambda:{REGION}:{ACCOUNT}:function:rotate"

DIGEST = "sha256:" + "4c" * 32
BUCKETS = ("data", "artifacts", "logs")
Json = dict[str, Any]


def foundation(stack: str, *, protect: bool, rotator: str | None = None) -> Callable[[], None]:
    def program() -> None:
        naming = Naming(PROJECT, stack)
        tag_everything(naming.tags("ops"))
        account = Account(ACCOUNT, REGION, (f"{REGION}a", f"{REGION}b"), naming, 30, protect)
        keys = Keys("keys", KeysArgs(account))
        network = Network("network", NetworkArgs(account, CIDR, 1, nat=False, log_key_arn=keys.logs_arn))
        which = settings.Images(tag="1.4.0", digests={"mlflow": DIGEST} if protect else {}, keep=7)
        images = Repositories("images", RepositoriesArgs(account, keys.data_arn, ("serve", "mlflow", "lambda"), which))
        storage = Storage("storage", StorageArgs(account, keys.data_arn, noncurrent_days=21, intermediate_days=9))
        kept = Secrets(
            "secrets", SecretsArgs(account, keys.secrets_arn, pulumi.Config().get_secret("webhook_url"), rotator)
        )
        OnlineStore("features", OnlineStoreArgs(account, keys.data_arn, recovery=True))
        cluster = Cluster("cluster", ClusterArgs(account, keys.logs_arn))
        tracking = Tracking(
            "tracking",
            TrackingArgs(
                account,
                settings.Tracking(servers=2, database_gib=40),
                network,
                keys.data_arn,
                keys.secrets_arn,
                keys.logs_arn,
                storage.artifacts,
                images.uri("mlflow"),
                cluster.arn,
            ),
        )
        pulumi.export("url", tracking.url)
        for name, statements in (("reads", secrets.reads), ("writes", secrets.writes)):
            pulumi.export(name, policy(statements(account, kept.api_keys_arn, keys.secrets_arn)))

    return program


def recorded(stack: str, webhook: bool = True, **wanted: Any) -> Recording:
    config = {"aws:region": REGION, **({f"{PROJECT}:webhook_url": WEBHOOK} if webhook else {})}
    return record(
        foundation(stack, **wanted),
        project=PROJECT,
        stack=stack,
        config=config,
        secret_keys=[f"{PROJECT}:webhook_url"],
    )


def one(recording: Recording, type_: str, name: str | None = None) -> Resource:
    (found,) = [each for each in recording.of_type(type_) if name in (None, each.name)]
    return found


def statements(document: str) -> list[Json]:
    found = json.loads(document)
    assert found["Version"] == "2012-10-17"
    return list(found["Statement"])


def policies(recording: Recording) -> Iterator[tuple[str, Json]]:
    for each in recording.resources:
        for key in ("policy", "assumeRolePolicy"):
            if key in each.inputs and each.type != "aws:ecr/lifecyclePolicy:LifecyclePolicy":
                yield from ((each.label, statement) for statement in statements(each.inputs[key]))


def container(recording: Recording) -> Json:
    (found,) = json.loads(one(recording, "aws:ecs/taskDefinition:TaskDefinition").inputs["containerDefinitions"])
    return dict(found)
