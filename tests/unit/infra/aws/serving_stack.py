"""Small programs of what serves: the ingress on ECS, and the cluster with KubeRay."""

import json
from typing import Any

import pulumi
import yaml

from infra import settings
from infra.aws import served
from infra.aws.account import Account
from infra.aws.bedrock import Bedrock, BedrockArgs
from infra.aws.cluster import Cluster, ClusterArgs
from infra.aws.ingress import Ingress, IngressArgs
from infra.aws.keys import Keys, KeysArgs
from infra.aws.kuberay import KubeRay, KubeRayArgs
from infra.aws.kubernetes import Kubernetes, KubernetesArgs
from infra.aws.ledger import Ledger, LedgerArgs
from infra.aws.network import Network, NetworkArgs
from infra.aws.online_store import OnlineStore, OnlineStoreArgs
from infra.aws.secrets import Secrets, SecretsArgs
from infra.aws.storage import Storage, StorageArgs
from infra.check.record import Recording, Resource, record
from infra.naming import Naming
from infra.tagging import tag_everything

PROJECT = "ml-training-deployment"
ACCOUNT = "123456789012"
REGION = "us-east-1"
CIDR = "10.20.0.0/16"
ADMIN = f"arn:aws:iam::{ACCOUNT}:role/platform-admin"
TRACKING = "http://tracking.internal"
MODELS = settings.Bedrock(
    models=("anthropic.claude-haiku-4-5-20251001-v1:0",),
    profiles=("us.anthropic.claude-haiku-4-5-20251001-v1:0",),
    profile_regions=("us-east-1", "us-west-2"),
)
ECS = settings.Ecs(
    certificate=f"arn:aws:acm:{REGION}:{ACCOUNT}:certificate/00000000-0000-4000-8000-000000000000",
    tasks=settings.Replicas(least=2, most=6, requests_per_task_and_minute=9000),
    allowed_cidrs=("203.0.113.0/24",),
)
EKS = settings.Eks(admins=(ADMIN,))
GPUS = settings.EcsGpus(least=0, most=2)
ON_CPU: dict[str, Any] = {"flights": {}}
LANGUAGE: dict[str, Any] = {
    "backends": {
        "own": {"kind": "vllm", "model": "registry:chat@champion", "gpus": 1, "cpus": 2, "needs": {"memory_gib": 4}},
        "bought": {"kind": "bedrock", "model": "amazon.nova-lite-v1:0", "regions": [REGION]},
    },
    "language_models": {
        "chat": {"routes": [{"backend": "own"}, {"backend": "bought", "priority": 1}]},
        "bought": {"routes": [{"backend": "bought"}]},
    },
}
"""A model of one's own, and one of Bedrock's beside it."""

ON_BOTH: dict[str, Any] = {**ON_CPU, "images": {"placement": "replica", "replicas": 2, "gpus": 0.5, "cpus": 2}}


def serving(models: dict[str, Any] | None = None, **changed: Any) -> str:
    """Serving settings that suit a container, but for what is changed."""
    document: dict[str, Any] = {
        "http": {"host": "0.0.0.0", "port": 8080, "request_timeout_seconds": 20},
        "access": {"keys": f"secretsmanager:{PROJECT}/dev/api-keys?region={REGION}"},
        "access_log": {"folder": None},
        "registry": {"cache": "/tmp/models"},
        "ingress": {"replicas": 2, "cpus": 0.5, "drain_seconds": 12},
        "models": ON_CPU if models is None else models,
    }
    for section, values in changed.items():
        document[section] = {**document.get(section, {}), **values} if isinstance(values, dict) else values
    return yaml.safe_dump(document)


def recorded(
    *,
    ecs: settings.Ecs | None = None,
    eks: settings.Eks | None = None,
    text: str | None = None,
    protect: bool = False,
    ledger: settings.Ledger | None = None,
) -> Recording:
    def program() -> None:
        naming = Naming(PROJECT, "dev")
        tag_everything(naming.tags("ops"))
        account = Account(ACCOUNT, REGION, (f"{REGION}a", f"{REGION}b"), naming, 30, protect)
        keys = Keys("keys", KeysArgs(account))
        network = Network("network", NetworkArgs(account, CIDR, 1, nat=False, log_key_arn=keys.logs_arn))
        storage = Storage("storage", StorageArgs(account, keys.data_arn, noncurrent_days=21, intermediate_days=9))
        secret = Secrets("secrets", SecretsArgs(account, keys.secrets_arn)).api_keys_arn
        table = OnlineStore("features", OnlineStoreArgs(account, keys.data_arn, recovery=True)).arn
        bedrock = Bedrock("bedrock", BedrockArgs(account, MODELS))
        kept = None
        if ledger is not None:
            args = LedgerArgs(account, ledger, network, keys.data_arn, keys.secrets_arn, keys.logs_arn)
            kept = Ledger("ledger", args)
        served_text = text or serving()
        if ecs is not None:
            cluster = Cluster("cluster", ClusterArgs(account, keys.logs_arn, ecs.gpus is not None))
            ingress = Ingress(
                "ingress",
                IngressArgs(
                    account,
                    ecs,
                    network,
                    cluster,
                    keys,
                    "registry/serve:1",
                    "registry/serve-gpu:1",
                    storage.artifacts,
                    TRACKING,
                    secret,
                    table,
                    bedrock.policy_arn,
                    served_text,
                    storage.logs_name,
                    kept,
                ),
            )
            pulumi.export("url", ingress.url)
            pulumi.export("load_balancer", ingress.load_balancer_suffix)
            pulumi.export("target_groups", pulumi.Output.all(*ingress.target_group_suffixes))
        if eks is not None:
            pods = served.statements(account, storage.artifacts, keys.data_arn, secret, keys.secrets_arn, table, kept)
            groups = [kept.client_group_id] if kept is not None else []
            made = Kubernetes(
                "kubernetes", KubernetesArgs(account, eks, network, keys, pods, bedrock.policy_arn, groups)
            )
            KubeRay(
                "kuberay",
                KubeRayArgs(
                    account,
                    made.cluster_name,
                    made.kubeconfig,
                    eks,
                    "registry/serve:1",
                    "registry/serve-gpu:1",
                    served_text,
                    TRACKING,
                    CIDR,
                    kept,
                ),
                pulumi.ResourceOptions(depends_on=made.ready),
            )
            pulumi.export("kubeconfig", made.kubeconfig)

    return record(program, project=PROJECT, stack="dev", config={"aws:region": REGION})


def one(recording: Recording, type_: str, name: str | None = None) -> Resource:
    (found,) = [each for each in recording.of_type(type_) if name in (None, each.name)]
    return found


def container(recording: Recording, name: str) -> dict[str, Any]:
    task = one(recording, "aws:ecs/taskDefinition:TaskDefinition", name)
    (found,) = json.loads(task.inputs["containerDefinitions"])
    return dict(found)


def environment(container: dict[str, Any]) -> dict[str, str]:
    return {each["name"]: each["value"] for each in container["env" if "env" in container else "environment"]}


def statements(recording: Recording, role: str) -> list[dict[str, Any]]:
    return list(json.loads(one(recording, "aws:iam/rolePolicy:RolePolicy", role).inputs["policy"])["Statement"])
