"""What an instance has left for tasks and pods: the system, the agents and the kernel have theirs first."""

from __future__ import annotations

from functools import cache

from policies.fit.instances import Instance
from policies.fit.size import Size

OF_THE_HYPERVISOR = 0.075
"""Of an instance's memory, the share that its system doesn't see; Karpenter reckons with the same.
https://karpenter.sh/docs/reference/settings/"""

AGENT_MIB = 256
"""ECS's agent, and what runs beside it."""

EVICTED_MIB = 100
"""Kubernetes ends pods where less is left."""

DAEMONS = Size(0.35, 256)
"""On each node of EKS: the network's and kube-proxy's pods, the identity agent, and CoreDNS or an operator."""


@cache
def on_ecs(instance: Instance) -> Size:
    """For tasks. All CPUs are theirs: the agent has none of its own."""
    return Size(instance.cpus, instance.memory_mib * (1 - OF_THE_HYPERVISOR) - AGENT_MIB, instance.gpus)


@cache
def on_eks(instance: Instance) -> Size:
    """For pods, as the AMI reserves: 6 % of the first CPU, 1 % of the second, 0.5 % of two more, 0.25 % of the rest;
    255 MiB, and 11 MiB a pod.

    https://github.com/awslabs/amazon-eks-ami/blob/main/nodeadm/internal/kubelet/config.go
    """
    cpus = instance.cpus
    reserved = 0.06 + 0.01 * (cpus > 1) + 0.005 * min(max(cpus - 2, 0), 2) + 0.0025 * max(cpus - 4, 0)
    kept = 255 + 11 * most_pods(cpus) + EVICTED_MIB
    seen = Size(cpus - reserved, instance.memory_mib * (1 - OF_THE_HYPERVISOR) - kept, instance.gpus)
    return seen - DAEMONS


def most_pods(cpus: int) -> int:
    """By the network's addresses: no type of that many CPUs takes more.
    https://github.com/awslabs/amazon-eks-ami/blob/main/templates/shared/runtime/eni-max-pods.txt"""
    for most, pods in ((2, 29), (8, 58), (48, 234)):
        if cpus <= most:
            return pods
    return 737
