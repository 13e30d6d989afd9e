"""A stack, as a list of wirings: ``pulumi up`` runs this file. ``python -m infra`` has the commands beside it.

What a stack's settings do not switch on is not made. To add a component: one file, and one wiring here.
"""

from __future__ import annotations

import importlib
import sys

import pulumi
from pulumi.runtime.config import CONFIG, get_config_env

from console import UserError, run
from infra import settings
from infra.aws import gpus, language
from infra.aws import served as served_by_pods
from infra.aws.account import Account
from infra.aws.alerts import Alerts, AlertsArgs
from infra.aws.bedrock import Bedrock, BedrockArgs
from infra.aws.budget import Budget, BudgetArgs
from infra.aws.cluster import Cluster, ClusterArgs
from infra.aws.function import Function, FunctionArgs
from infra.aws.ingress import Ingress, IngressArgs
from infra.aws.keys import Keys, KeysArgs
from infra.aws.kuberay import KubeRay, KubeRayArgs
from infra.aws.kubernetes import Kubernetes, KubernetesArgs
from infra.aws.ledger import Ledger, LedgerArgs
from infra.aws.network import Network, NetworkArgs
from infra.aws.observability import Observability, ObservabilityArgs
from infra.aws.online_store import OnlineStore, OnlineStoreArgs
from infra.aws.pipeline import Pipeline, PipelineArgs
from infra.aws.repositories import Repositories, RepositoriesArgs
from infra.aws.secrets import Secrets, SecretsArgs
from infra.aws.storage import Storage, StorageArgs
from infra.aws.tracking import Tracking, TrackingArgs
from infra.azure.container_apps import KEYS as AZURE_KEYS
from infra.azure.container_apps import ContainerApps, ContainerAppsArgs
from infra.azure.container_instance import ContainerInstance, ContainerInstanceArgs
from infra.azure.identity import Identity, IdentityArgs
from infra.azure.logs import Logs, LogsArgs
from infra.azure.network import Network as AzureNetwork
from infra.azure.network import NetworkArgs as AzureNetworkArgs
from infra.azure.place import Place
from infra.azure.registry import Registry, RegistryArgs
from infra.azure.resource_group import ResourceGroup, ResourceGroupArgs
from infra.azure.vault import Vault, VaultArgs
from infra.naming import Naming
from infra.serving import serving, serving_elsewhere
from infra.settings import IMAGES, StackSettings
from infra.tagging import tag_everything

Outputs = dict[str, pulumi.Input[str]]


def program() -> None:
    """Make the stack that Pulumi runs, and export what its users need."""
    naming = Naming(pulumi.get_project(), pulumi.get_stack())
    # All of it, and not the keys that are known alone: a misspelt one is a mistake.
    config = {**get_config_env(), **CONFIG.get()}
    stack = settings.from_config(config, f"Pulumi.{naming.stack}.yaml")
    outputs = build(stack, naming, pulumi.Config().get_secret("webhook_url"))
    for name, value in outputs.items():
        pulumi.export(name, value)


def build(stack: StackSettings, naming: Naming, webhook_url: pulumi.Output[str] | None) -> Outputs:
    """The stack's resources; gives the outputs by name."""
    tag_everything(naming.tags(stack.owner))
    account = Account.current(naming, stack.region, stack.network.zones, stack.operations.log_days, stack.protect)
    outputs = _on_aws(stack, account, webhook_url)
    if stack.azure is not None:
        outputs |= _on_azure(stack, stack.azure, naming)
    return outputs


def _on_aws(stack: StackSettings, account: Account, webhook_url: pulumi.Output[str] | None) -> Outputs:
    ops, naming = stack.operations, account.naming
    keys = Keys("keys", KeysArgs(account))
    network = Network(
        "network",
        NetworkArgs(
            account,
            cidr=stack.network.cidr,
            endpoint_zones=stack.network.endpoint_zones,
            nat=stack.network.nat,
            endpoints=_endpoints(stack),
            log_key_arn=keys.logs_arn,
        ),
    )
    images = Repositories("images", RepositoriesArgs(account, keys.data_arn, IMAGES, stack.images))
    days = stack.storage
    storage = Storage("storage", StorageArgs(account, keys.data_arn, days.noncurrent_days, days.intermediate_days))
    secrets = Secrets("secrets", SecretsArgs(account, keys.secrets_arn, webhook_url))
    alerts = Alerts("alerts", AlertsArgs(account, keys.logs_arn, ops.email))
    Budget("budget", BudgetArgs(account, ops.monthly_budget_usd, ops.email, alerts.topic_arn))
    outputs: Outputs = {
        "artifacts_bucket": storage.artifacts.bucket,
        "data_bucket": storage.data.bucket,
        "api_keys_secret_arn": secrets.api_keys_arn,
        "alerts_topic_arn": alerts.topic_arn,
        **{f"repository_{name.replace('-', '_')}": url for name, url in images.urls.items()},
    }
    served = serving(stack, naming)
    gpu_image, pod_image = language.gpu_image(served.settings), language.pod_image(served.settings)
    cluster = tracking = table = bedrock = ledger = ingress = function = pipeline = None

    if stack.tracking is not None:
        with_instances = stack.ecs is not None and stack.ecs.gpus is not None
        cluster = Cluster("cluster", ClusterArgs(account, keys.logs_arn, with_instances))
        tracking = Tracking(
            "tracking",
            TrackingArgs(
                account,
                stack.tracking,
                network,
                key_arn=keys.data_arn,
                secrets_key_arn=keys.secrets_arn,
                logs_key_arn=keys.logs_arn,
                artifacts=storage.artifacts,
                image=images.uri("mlflow"),
                cluster_arn=cluster.arn,
            ),
        )
        outputs["tracking_url"] = tracking.url
    if stack.online_store is not None:
        table = OnlineStore("online-store", OnlineStoreArgs(account, keys.data_arn, stack.online_store.recovery))
        outputs["online_store_table"] = table.name
    if stack.bedrock is not None:
        bedrock = Bedrock("bedrock", BedrockArgs(account, stack.bedrock))
        outputs["bedrock_policy_arn"] = bedrock.policy_arn
    if stack.ledger is not None:
        ledger = Ledger(
            "ledger", LedgerArgs(account, stack.ledger, network, keys.data_arn, keys.secrets_arn, keys.logs_arn)
        )
    if stack.ecs is not None and cluster is not None and tracking is not None:
        ingress = Ingress(
            "ingress",
            IngressArgs(
                account,
                stack.ecs,
                network,
                cluster,
                keys,
                image=images.uri("serve"),
                gpu_image=images.uri(gpu_image),
                artifacts=storage.artifacts,
                tracking_url=tracking.url,
                api_keys_secret_arn=secrets.api_keys_arn,
                table_arn=table.arn if table else None,
                bedrock_policy_arn=bedrock.policy_arn if bedrock else None,
                serving=served.text,
                logs_bucket=storage.logs_name,
                ledger=ledger,
            ),
        )
        outputs["ingress_url"] = ingress.url
    if stack.eks is not None and tracking is not None:
        kubernetes = Kubernetes(
            "kubernetes",
            KubernetesArgs(
                account,
                stack.eks,
                network,
                keys,
                pods=served_by_pods.statements(
                    account,
                    storage.artifacts,
                    keys.data_arn,
                    secrets.api_keys_arn,
                    keys.secrets_arn,
                    table.arn if table else None,
                    ledger,
                ),
                pod_policy_arn=bedrock.policy_arn if bedrock else None,
                node_group_ids=[ledger.client_group_id] if ledger else [],
            ),
        )
        KubeRay(
            "kuberay",
            KubeRayArgs(
                account,
                cluster_name=kubernetes.cluster_name,
                kubeconfig=kubernetes.kubeconfig,
                settings=stack.eks,
                image=images.uri(pod_image),
                gpu_image=images.uri(gpu_image),
                serving=served.text,
                tracking_url=tracking.url,
                vpc_cidr=stack.network.cidr,
                ledger=ledger,
            ),
            pulumi.ResourceOptions(depends_on=kubernetes.ready),
        )
        outputs |= {"cluster_name": kubernetes.cluster_name, "kubeconfig": kubernetes.kubeconfig}
    if stack.function is not None:
        function = Function(
            "function",
            FunctionArgs(
                account,
                stack.function,
                image=images.uri("lambda"),
                keys=keys,
                artifacts=storage.artifacts,
                alerts_topic_arn=alerts.topic_arn,
                serving=language.without(served.text),
                api_keys_secret_arn=secrets.api_keys_arn,
            ),
        )
        outputs["function_url"] = function.url
    if stack.pipeline is not None and cluster is not None and tracking is not None and table is not None:
        pipeline = Pipeline(
            "pipeline",
            PipelineArgs(
                account,
                stack.pipeline,
                network,
                keys,
                storage,
                cluster,
                training_image=images.uri("training"),
                features_image=images.uri("features"),
                tracking_url=tracking.url,
                table=table,
                alerts_topic_arn=alerts.topic_arn,
            ),
        )
        outputs["pipeline_arn"] = pipeline.state_machine_arn
    observed = Observability(
        "observability",
        ObservabilityArgs(
            account,
            ops.p99_seconds,
            ops.tokens_per_hour,
            alerts.topic_arn,
            cluster=cluster,
            ingress=ingress,
            function=function,
            pipeline=pipeline,
            bedrock=stack.bedrock,
        ),
    )
    outputs["dashboard"] = observed.dashboard_name
    return outputs


def _endpoints(stack: StackSettings) -> list[str]:
    """Interface endpoints beyond those of every stack, for what this one has."""
    found = []
    if stack.bedrock is not None:
        found.append("bedrock-runtime")
    if stack.ecs is not None and stack.ecs.gpus is not None and not stack.network.nat:
        found += gpus.ENDPOINTS
    return found


def _on_azure(stack: StackSettings, azure: settings.Azure, naming: Naming) -> Outputs:
    place = Place.current(naming, azure.location, azure.log_days, stack.protect)
    group = ResourceGroup("azure", ResourceGroupArgs(place)).name
    logs = Logs("azure-logs", LogsArgs(place, group))
    network = AzureNetwork("azure-network", AzureNetworkArgs(place, group))
    registry = Registry("azure-registry", RegistryArgs(place, group, logs.workspace_id))
    subnets = [network.apps_subnet_id, network.jobs_subnet_id]
    vault = Vault("azure-vault", VaultArgs(place, group, logs.workspace_id, subnets, azure.operators))
    identity = Identity("azure-identity", IdentityArgs(place, group, registry.id, vault.id))
    image = pulumi.Output.concat(registry.server, "/serve", stack.images.which("serve"))
    text = serving_elsewhere(stack, azure.serving, AZURE_KEYS).text
    environment = {"MLFLOW_TRACKING_URI": azure.tracking_uri}
    apps = ContainerApps(
        "azure-apps",
        ContainerAppsArgs(
            place,
            group,
            azure,
            workspace_id=logs.workspace_id,
            subnet_id=network.apps_subnet_id,
            identity_id=identity.id,
            registry_server=registry.server,
            image=image,
            api_keys_uri=vault.api_keys_uri,
            serving=text,
            environment=environment,
        ),
    )
    if azure.instance:
        ContainerInstance(
            "azure-instance",
            ContainerInstanceArgs(
                place,
                group,
                subnet_id=network.jobs_subnet_id,
                identity_id=identity.id,
                registry_server=registry.server,
                image=image,
                serving=text,
                cpus=azure.cpu,
                memory_gib=2 * azure.cpu,
                environment=environment,
            ),
        )
    return {"azure_url": apps.url, "azure_registry": registry.server}


def main(arguments: list[str]) -> int:
    """``python -m infra check …``: commands that need neither Pulumi nor an account."""
    return run(lambda: _dispatch(arguments))


COMMANDS = {
    "check": "infra.check.command",
    "comment": "infra.check.comment",
    "costs": "infra.costs.command",
    "fit": "infra.check.fit_command",
    "prices": "infra.prices.command",
}
"""Name → the module whose ``main`` takes what comes after it."""


def _dispatch(arguments: list[str]) -> int:
    name, *rest = arguments or [""]
    if name not in COMMANDS:
        raise UserError(f"expected a command: python -m infra {' | '.join(COMMANDS)}, each with --help")
    return int(importlib.import_module(COMMANDS[name]).main(rest))


if __name__ == "__main__":
    if pulumi.runtime.settings.get_monitor() is not None:
        program()
    else:
        sys.exit(main(sys.argv[1:]))
