"""A Kubernetes cluster on EKS: nodes with CPUs, nodes with GPUs where they are asked for, and roles for pods."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import pulumi
import pulumi_aws as aws

from infra import settings
from infra.aws import instances
from infra.aws.account import Account
from infra.aws.iam import Statement, role, trust
from infra.aws.keys import Keys
from infra.aws.logs import log_group
from infra.aws.network import Network

NAMESPACE = "serving"
SERVICE_ACCOUNT = "serving"
SCALER_NAMESPACE = "kube-system"
SCALER_SERVICE_ACCOUNT = "cluster-autoscaler"

CONTROL_PLANE_LOGS = ("api", "audit", "authenticator", "controllerManager", "scheduler")
ADMIN_POLICY = "arn:aws:eks::aws:cluster-access-policy/AmazonEKSClusterAdminPolicy"
IN_EKS = "arn:aws:iam::aws:policy/AmazonEKSClusterPolicy"
ON_NODES = (
    "arn:aws:iam::aws:policy/AmazonEKSWorkerNodePolicy",
    "arn:aws:iam::aws:policy/AmazonEKS_CNI_Policy",
    "arn:aws:iam::aws:policy/AmazonEC2ContainerRegistryPullOnly",
)
BEFORE_NODES: Mapping[str, Mapping[str, str]] = {
    "vpc-cni": {"enableNetworkPolicy": "true"},
    "kube-proxy": {},
    "eks-pod-identity-agent": {},
}
"""Addon → its configuration. A node without a network never becomes ready."""

ON_NODES_ADDONS = ("coredns",)

GPU_TAINT = "nvidia.com/gpu"
GPU_LABELS = {"accelerator": "nvidia", "nvidia.com/gpu.present": "true"}
"""By the second the chart of NVIDIA's device plugin finds its nodes."""

CPU_LABELS = {"accelerator": "none"}


@dataclass(frozen=True)
class KubernetesArgs:
    """``pods``: what the serving pods may do; ``pod_policy_arn``: one more policy for them, as that of Bedrock.

    Among ``settings.admins`` has to be the role that runs Pulumi, for it installs what is in the cluster.
    """

    account: Account
    settings: settings.Eks
    network: Network
    keys: Keys
    pods: Sequence[Statement]
    pod_policy_arn: pulumi.Input[str] | None = None
    node_group_ids: Sequence[pulumi.Input[str]] = ()


@dataclass(frozen=True)
class _Nodes:
    part: str
    sizes: settings.Nodes | settings.Gpus
    ami_type: str
    spot: bool
    labels: Mapping[str, str]
    taints: Sequence[aws.eks.NodeGroupTaintArgs] = ()


class Kubernetes(pulumi.ComponentResource):
    """The control plane's address is in the network always, and public for ``settings.public_cidrs`` alone."""

    cluster_name: pulumi.Output[str]
    endpoint: pulumi.Output[str]
    kubeconfig: pulumi.Output[str]
    gpu_group_name: pulumi.Output[str] | None
    service_account_role_arn: pulumi.Output[str]
    ready: list[pulumi.Resource]

    def __init__(self, name: str, args: KubernetesArgs, opts: pulumi.ResourceOptions | None = None) -> None:
        super().__init__("ml:aws:Kubernetes", name, None, opts)
        self._name = name
        self._args = args
        self._part = args.account.naming.name("serving")
        self._opts = pulumi.ResourceOptions(parent=self)
        self._cluster = self._made_cluster()
        admins = self._admins()
        before = [self._addon(addon, configuration) for addon, configuration in BEFORE_NODES.items()]
        groups = self._groups(before)
        after = [self._addon(addon, {}, groups) for addon in ON_NODES_ADDONS]
        self.service_account_role_arn = self._serving_pods().arn
        self._scaler()
        self.cluster_name = self._cluster.name
        self.endpoint = self._cluster.endpoint
        self.kubeconfig = pulumi.Output.secret(pulumi.Output.json_dumps(kubeconfig(self._cluster, args.account.region)))
        self.gpu_group_name = groups[1].node_group_name if args.settings.gpus is not None else None
        self.ready = [*admins, *groups, *after]
        self.register_outputs({"cluster_name": self.cluster_name, "endpoint": self.endpoint})

    def _made_cluster(self) -> aws.eks.Cluster:
        account, keys, sections = self._args.account, self._args.keys, self._args.settings
        # EKS writes to a group of this name, and would make one without encryption or an end.
        logs = log_group(self._name, f"/aws/eks/{self._part}/cluster", account, keys.logs_arn, self)
        taken = role(
            f"{self._name}-cluster",
            account.naming.name("eks", "cluster"),
            trust("eks.amazonaws.com", account.id),
            [],
            self,
            managed=[IN_EKS],
        )
        return aws.eks.Cluster(
            self._name,
            name=self._part,
            version=sections.version,
            role_arn=taken.arn,
            # What runs in a new cluster comes from the addons below, whose versions EKS keeps.
            bootstrap_self_managed_addons=False,
            access_config=aws.eks.ClusterAccessConfigArgs(
                authentication_mode="API", bootstrap_cluster_creator_admin_permissions=False
            ),
            vpc_config=aws.eks.ClusterVpcConfigArgs(
                subnet_ids=self._args.network.private_subnet_ids,
                endpoint_private_access=True,
                endpoint_public_access=bool(sections.public_cidrs),
                public_access_cidrs=list(sections.public_cidrs) or None,
            ),
            encryption_config=aws.eks.ClusterEncryptionConfigArgs(
                provider=aws.eks.ClusterEncryptionConfigProviderArgs(key_arn=keys.data_arn), resources=["secrets"]
            ),
            enabled_cluster_log_types=list(CONTROL_PLANE_LOGS),
            opts=pulumi.ResourceOptions(parent=self, depends_on=[logs], protect=account.protect),
        )

    def _admins(self) -> list[pulumi.Resource]:
        made: list[pulumi.Resource] = []
        for arn in self._args.settings.admins:
            label = f"{self._name}-{arn.rpartition('/')[2]}"
            entry = aws.eks.AccessEntry(label, cluster_name=self._cluster.name, principal_arn=arn, opts=self._opts)
            made.append(
                aws.eks.AccessPolicyAssociation(
                    label,
                    cluster_name=self._cluster.name,
                    principal_arn=entry.principal_arn,
                    policy_arn=ADMIN_POLICY,
                    access_scope=aws.eks.AccessPolicyAssociationAccessScopeArgs(type="cluster"),
                    opts=self._opts,
                )
            )
        return made

    def _addon(
        self, addon: str, configuration: Mapping[str, str], after: Sequence[pulumi.Resource] = ()
    ) -> aws.eks.Addon:
        return aws.eks.Addon(
            f"{self._name}-{addon}",
            cluster_name=self._cluster.name,
            addon_name=addon,
            configuration_values=pulumi.Output.json_dumps(configuration) if configuration else None,
            resolve_conflicts_on_create="OVERWRITE",
            resolve_conflicts_on_update="PRESERVE",
            opts=pulumi.ResourceOptions(parent=self, depends_on=list(after)),
        )

    def _groups(self, before: Sequence[pulumi.Resource]) -> list[aws.eks.NodeGroup]:
        """The group with CPUs and, where there are GPUs, that with GPUs."""
        account, sections = self._args.account, self._args.settings
        taken = role(
            f"{self._name}-nodes",
            account.naming.name("eks", "nodes"),
            instances.TRUST,
            [],
            self,
            managed=list(ON_NODES),
        )
        kinds = [_Nodes("cpu", sections.nodes, "AL2023_x86_64_STANDARD", False, CPU_LABELS)]
        if sections.gpus is not None:
            taint = aws.eks.NodeGroupTaintArgs(key=GPU_TAINT, value="true", effect="NO_SCHEDULE")
            gpus = _Nodes("gpu", sections.gpus, "AL2023_x86_64_NVIDIA", sections.gpus.spot, GPU_LABELS, [taint])
            kinds.append(gpus)
        return [self._group(kind, taken, before) for kind in kinds]

    def _group(self, nodes: _Nodes, taken: aws.iam.Role, before: Sequence[pulumi.Resource]) -> aws.eks.NodeGroup:
        account, label = self._args.account, f"{self._name}-{nodes.part}"
        physical = account.naming.name("serving", nodes.part)
        template = aws.ec2.LaunchTemplate(
            label,
            name=physical,
            update_default_version=True,
            metadata_options=instances.metadata(),
            block_device_mappings=instances.disks(nodes.sizes.disk_gib, self._args.keys.data_arn),
            # EKS puts nodes into the cluster's own group, unless some are named.
            vpc_security_group_ids=[self._cluster.vpc_config.cluster_security_group_id, *self._args.node_group_ids]
            if self._args.node_group_ids
            else None,
            tag_specifications=instances.tag_specifications(taken.tags, physical),
            opts=self._opts,
        )
        return aws.eks.NodeGroup(
            label,
            cluster_name=self._cluster.name,
            node_group_name=nodes.part,
            node_role_arn=taken.arn,
            subnet_ids=self._args.network.private_subnet_ids,
            ami_type=nodes.ami_type,
            capacity_type="SPOT" if nodes.spot else "ON_DEMAND",
            instance_types=[nodes.sizes.instance_type],
            launch_template=aws.eks.NodeGroupLaunchTemplateArgs(
                id=template.id, version=template.latest_version.apply(str)
            ),
            scaling_config=aws.eks.NodeGroupScalingConfigArgs(
                min_size=nodes.sizes.least, max_size=nodes.sizes.most, desired_size=nodes.sizes.least
            ),
            update_config=aws.eks.NodeGroupUpdateConfigArgs(max_unavailable=1),
            labels=nodes.labels,
            taints=list(nodes.taints),
            # The autoscaler decides how many there are.
            opts=pulumi.ResourceOptions(
                parent=self, depends_on=list(before), ignore_changes=["scalingConfig.desiredSize"]
            ),
        )

    def _serving_pods(self) -> aws.iam.Role:
        """The ingress's own, as on ECS: API keys, model versions, online features, language models of the stack."""
        made = self._pod_role("pods", NAMESPACE, SERVICE_ACCOUNT, self._args.pods)
        if self._args.pod_policy_arn is not None:
            aws.iam.RolePolicyAttachment(
                f"{self._name}-pods-policy",
                role=made.name,
                policy_arn=self._args.pod_policy_arn,
                opts=self._opts,
            )
        return made

    def _scaler(self) -> None:
        """The cluster autoscaler: it sets the sizes of this cluster's node groups."""
        self._pod_role(
            "scaler", SCALER_NAMESPACE, SCALER_SERVICE_ACCOUNT, scaler_statements(self._args.account, self._part)
        )

    def _pod_role(
        self, part: str, namespace: str, service_account: str, statements: Sequence[Statement]
    ) -> aws.iam.Role:
        account = self._args.account
        made = role(
            f"{self._name}-{part}",
            account.naming.name("eks", part),
            trust("pods.eks.amazonaws.com", account.id, actions=("sts:AssumeRole", "sts:TagSession")),
            statements,
            self,
        )
        aws.eks.PodIdentityAssociation(
            f"{self._name}-{part}",
            cluster_name=self._cluster.name,
            namespace=namespace,
            service_account=service_account,
            role_arn=made.arn,
            opts=self._opts,
        )
        return made


def scaler_statements(account: Account, cluster: str) -> list[Statement]:
    """https://github.com/kubernetes/autoscaler/blob/master/cluster-autoscaler/cloudprovider/aws/README.md"""
    owned: dict[str, pulumi.Input[str | list[str]]] = {
        f"aws:ResourceTag/k8s.io/cluster-autoscaler/{cluster}": "owned",
        "aws:ResourceTag/k8s.io/cluster-autoscaler/enabled": "true",
    }
    return [
        # These tell what there is, and know no ARNs.
        Statement(
            (
                "autoscaling:DescribeAutoScalingGroups",
                "autoscaling:DescribeAutoScalingInstances",
                "autoscaling:DescribeLaunchConfigurations",
                "autoscaling:DescribeScalingActivities",
                "autoscaling:DescribeTags",
                "ec2:DescribeImages",
                "ec2:DescribeInstanceTypes",
                "ec2:DescribeLaunchTemplateVersions",
                "ec2:GetInstanceTypesFromInstanceRequirements",
            ),
            ["*"],
        ),
        Statement(("eks:DescribeNodegroup",), [account.arn("eks", f"nodegroup/{cluster}/*")]),
        Statement(
            ("autoscaling:SetDesiredCapacity", "autoscaling:TerminateInstanceInAutoScalingGroup"),
            [account.arn("autoscaling", "autoScalingGroup:*:autoScalingGroupName/eks-*")],
            conditions={"StringEquals": owned},
        ),
    ]


def kubeconfig(cluster: aws.eks.Cluster, region: str) -> dict[str, Any]:
    """For kubectl and Pulumi. It holds no token: ``aws`` gets one each time, for whoever has the AWS credentials."""
    login = {
        "apiVersion": "client.authentication.k8s.io/v1beta1",
        "command": "aws",
        "args": ["eks", "get-token", "--cluster-name", cluster.name, "--region", region, "--output", "json"],
        "interactiveMode": "Never",
    }
    server = {"server": cluster.endpoint, "certificate-authority-data": cluster.certificate_authority.data}
    return {
        "apiVersion": "v1",
        "kind": "Config",
        "clusters": [{"name": "eks", "cluster": server}],
        "users": [{"name": "aws", "user": {"exec": login}}],
        "contexts": [{"name": "eks", "context": {"cluster": "eks", "user": "aws"}}],
        "current-context": "eks",
    }
