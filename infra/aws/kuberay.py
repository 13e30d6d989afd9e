"""What runs in the Kubernetes cluster: KubeRay, the ingress as a RayService, GPUs and nodes for it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import pulumi
import pulumi_kubernetes as k8s

from infra import settings
from infra.aws import ray_service, served
from infra.aws.account import Account
from infra.aws.kubernetes import GPU_TAINT, NAMESPACE, SCALER_NAMESPACE, SCALER_SERVICE_ACCOUNT, SERVICE_ACCOUNT
from infra.aws.ledger import Ledger
from infra.aws.ray_service import DASHBOARD_PORT, Images

NAME = "ingress"
SYSTEM_NAMESPACE = "kuberay-system"


@dataclass(frozen=True)
class Chart:
    name: str
    version: str
    repository: str


OPERATOR = Chart("kuberay-operator", "1.6.2", "https://ray-project.github.io/kuberay-helm/")
DEVICE_PLUGIN = Chart("nvidia-device-plugin", "0.18.0", "https://nvidia.github.io/k8s-device-plugin")
SCALER = Chart("cluster-autoscaler", "9.50.0", "https://kubernetes.github.io/autoscaler")


@dataclass(frozen=True)
class KubeRayArgs:
    """``serving``: the text of the serving settings, without the ``ledger``, which is written into it. ``image``,
    ``gpu_image``: as :mod:`infra.aws.language` says. ``vpc_cidr``: from where the ingress answers."""

    account: Account
    cluster_name: pulumi.Input[str]
    kubeconfig: pulumi.Input[str]
    settings: settings.Eks
    image: pulumi.Input[str]
    gpu_image: pulumi.Input[str]
    serving: str
    tracking_url: pulumi.Input[str]
    vpc_cidr: str
    ledger: Ledger | None = None


class KubeRay(pulumi.ComponentResource):
    """The same serving settings as on ECS. Pods come as replicas need them, and nodes as pods need them.

    Raises:
        UserError: ``serving`` is not as expected, or asks for GPUs that ``settings`` don't have.
    """

    service_name: str

    def __init__(self, name: str, args: KubeRayArgs, opts: pulumi.ResourceOptions | None = None) -> None:
        super().__init__("ml:aws:KubeRay", name, None, opts)
        self._name = name
        self._args = args
        self._served = served.read_for("eks", args.settings.gpus, args.serving, ledger=args.ledger is not None)
        within = k8s.Provider(name, kubeconfig=args.kubeconfig, opts=pulumi.ResourceOptions(parent=self))
        self._opts = pulumi.ResourceOptions(parent=self, provider=within)
        system, serving = self._namespace(SYSTEM_NAMESPACE, "baseline"), self._namespace(NAMESPACE, "restricted")
        installed: list[pulumi.Resource] = [
            self._release(OPERATOR, SYSTEM_NAMESPACE, {}, [system]),
            self._release(SCALER, SCALER_NAMESPACE, self._scaler_values(), []),
        ]
        if args.settings.gpus is not None:
            installed.append(self._release(DEVICE_PLUGIN, SCALER_NAMESPACE, _device_plugin_values(), []))
        account = k8s.core.v1.ServiceAccount(
            f"{name}-pods",
            metadata=k8s.meta.v1.ObjectMetaArgs(name=SERVICE_ACCOUNT, namespace=serving.metadata.name),
            automount_service_account_token=False,
            opts=self._opts,
        )
        policy = self._network_policy(serving)
        self._ray_service([*installed, account, policy])
        self.service_name = f"{NAME}-serve-svc"
        self.register_outputs({"service_name": self.service_name})

    def _namespace(self, namespace: str, level: str) -> k8s.core.v1.Namespace:
        """``level``: of https://kubernetes.io/docs/concepts/security/pod-security-standards/, which it enforces."""
        return k8s.core.v1.Namespace(
            f"{self._name}-{namespace}",
            metadata=k8s.meta.v1.ObjectMetaArgs(name=namespace, labels={"pod-security.kubernetes.io/enforce": level}),
            opts=self._opts,
        )

    def _release(
        self, chart: Chart, namespace: str, values: Mapping[str, Any], after: Sequence[pulumi.Resource]
    ) -> k8s.helm.v3.Release:
        return k8s.helm.v3.Release(
            f"{self._name}-{chart.name}",
            name=chart.name,
            chart=chart.name,
            version=chart.version,
            namespace=namespace,
            repository_opts=k8s.helm.v3.RepositoryOptsArgs(repo=chart.repository),
            values=dict(values),
            atomic=True,
            timeout=600,
            opts=pulumi.ResourceOptions.merge(self._opts, pulumi.ResourceOptions(depends_on=list(after))),
        )

    def _scaler_values(self) -> dict[str, Any]:
        return {
            "fullnameOverride": SCALER.name,
            "awsRegion": self._args.account.region,
            "autoDiscovery": {"clusterName": self._args.cluster_name},
            "rbac": {"serviceAccount": {"name": SCALER_SERVICE_ACCOUNT}},
            "resources": {"requests": {"cpu": "100m", "memory": "256Mi"}, "limits": {"memory": "512Mi"}},
        }

    def _network_policy(self, namespace: k8s.core.v1.Namespace) -> k8s.networking.v1.NetworkPolicy:
        """The ingress for the network, the dashboard for KubeRay's operator, all else for Ray's own pods."""
        ports = [each for each in (self._served.http.port, self._served.grpc.port) if each is not None]
        operator = k8s.meta.v1.LabelSelectorArgs(match_labels={"kubernetes.io/metadata.name": SYSTEM_NAMESPACE})

        def rule(
            peer: k8s.networking.v1.NetworkPolicyPeerArgs, allowed: Sequence[int]
        ) -> k8s.networking.v1.NetworkPolicyIngressRuleArgs:
            return k8s.networking.v1.NetworkPolicyIngressRuleArgs(
                from_=[peer],
                ports=[k8s.networking.v1.NetworkPolicyPortArgs(port=each, protocol="TCP") for each in allowed] or None,
            )

        return k8s.networking.v1.NetworkPolicy(
            self._name,
            metadata=k8s.meta.v1.ObjectMetaArgs(name=NAME, namespace=namespace.metadata.name),
            spec=k8s.networking.v1.NetworkPolicySpecArgs(
                pod_selector=k8s.meta.v1.LabelSelectorArgs(),
                policy_types=["Ingress"],
                ingress=[
                    rule(
                        k8s.networking.v1.NetworkPolicyPeerArgs(
                            ip_block=k8s.networking.v1.IPBlockArgs(cidr=self._args.vpc_cidr)
                        ),
                        ports,
                    ),
                    rule(k8s.networking.v1.NetworkPolicyPeerArgs(namespace_selector=operator), [DASHBOARD_PORT]),
                    rule(k8s.networking.v1.NetworkPolicyPeerArgs(pod_selector=k8s.meta.v1.LabelSelectorArgs()), []),
                ],
            ),
            opts=self._opts,
        )

    def _ray_service(self, after: Sequence[pulumi.Resource]) -> k8s.apiextensions.CustomResource:
        args = self._args
        document = ray_service.ray_service(
            NAME,
            self._served,
            Images(args.image, args.gpu_image),
            served.environment(self._served, args.serving, args.account, args.tracking_url, args.ledger),
        )
        return k8s.apiextensions.CustomResource(
            f"{self._name}-service",
            api_version=document["apiVersion"],
            kind=document["kind"],
            metadata=k8s.meta.v1.ObjectMetaArgs(**document["metadata"]),
            spec=document["spec"],
            opts=pulumi.ResourceOptions.merge(self._opts, pulumi.ResourceOptions(depends_on=list(after))),
        )


def _device_plugin_values() -> dict[str, Any]:
    return {"tolerations": [{"key": GPU_TAINT, "operator": "Exists", "effect": "NoSchedule"}]}
