"""The serving settings as a ``RayService`` of KubeRay: the application, and a Ray cluster with room for it.

https://docs.ray.io/en/latest/cluster/kubernetes/user-guides/rayservice.html
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import pulumi
import yaml

from console import ray_cluster
from infra.aws import language, served
from infra.aws.kubernetes import CPU_LABELS, GPU_TAINT, NAMESPACE, SERVICE_ACCOUNT
from infra.aws.unfit import WRITABLE
from policies.fit.demand import STARTED_MIB
from serve import FAST_PATH, haproxy
from serve.settings import Settings

RAY_VERSION = "2.60.0"
"""Of the images."""

IMPORT_PATH = "serve.config"
APPLICATION = "default"
CALLBACK = "serve.direct.middlewares"
SERVICER = "serve.gateway.grpc_service.add_to_server"

USER = 10001
GCS_PORT = 6379
DASHBOARD_PORT = 8265
AGENT_PORT = 52365
HEAD_CPUS = 1
HEAD_MEMORY_MIB = 3072
MEMORY_MIB_PER_CPU = 3072
"""Beside the nodes' own needs this fits instances with 4 GiB for each CPU."""

SHARED_MEMORY_MIB = 512
"""For each GPU that a model is divided among."""

HAPROXY_THREADS = 4


@dataclass(frozen=True)
class Images:
    cpu: pulumi.Input[str]
    gpu: pulumi.Input[str]


@dataclass(frozen=True)
class Pods:
    """Of one group: between how many, and what one has. ``cpus`` and ``gpus`` are whole, as nodes have them."""

    least: int
    most: int
    cpus: int
    gpus: int = 0


@dataclass(frozen=True)
class _Replicas:
    """``memory``: bytes that Ray must find free."""

    least: int
    most: int
    cpus: float
    gpus: float
    memory: int


def ray_service(
    name: str,
    settings: Settings,
    images: Images,
    environment: Mapping[str, pulumi.Input[str]],
) -> dict[str, Any]:
    """The custom resource, as Kubernetes takes it. ``environment``: of every container, see ``served.environment``.

    The settings are in the environment: others make another Ray cluster, which takes over once it answers.
    """
    groups = [_group("cpu", _pods(_replicas(settings, gpus=False)), settings, images.cpu, environment)]
    if served.on_gpus(settings) or language.on_gpus(settings):
        groups.append(_group("gpu", _pods(_replicas(settings, gpus=True)), settings, images.gpu, environment))
    cluster = {
        "rayVersion": RAY_VERSION,
        # Ray's own ports run what they are sent: whoever has no token gets no answer there.
        "authOptions": {"mode": "token"},
        "enableInTreeAutoscaling": True,
        "autoscalerOptions": {
            "upscalingMode": "Default",
            "idleTimeoutSeconds": 300,
            "securityContext": _container_security(),
            "resources": _resources(0.5, 512),
        },
        "headGroupSpec": _head(settings, images.cpu, environment),
        "workerGroupSpecs": groups,
    }
    return {
        "apiVersion": "ray.io/v1",
        "kind": "RayService",
        "metadata": {"name": name, "namespace": NAMESPACE},
        "spec": {
            "serveConfigV2": yaml.safe_dump(serve_config(settings), sort_keys=False),
            "upgradeStrategy": {"type": "NewCluster"},
            # The head has no replica of its own, and its end is that of the whole cluster.
            "excludeHeadPodFromServeSvc": True,
            "rayClusterConfig": cluster,
        },
    }


def serve_config(settings: Settings) -> dict[str, Any]:
    """What ``serve deploy`` takes (``ray.serve.schema.ServeDeploySchema``)."""
    config: dict[str, Any] = {
        "proxy_location": "EveryNode",
        "http_options": {"host": settings.http.host, "port": settings.http.port},
        "applications": [{"name": APPLICATION, "route_prefix": "/", "import_path": IMPORT_PATH, "args": {}}],
    }
    if settings.grpc.port is not None:
        config["grpc_options"] = {"port": settings.grpc.port, "grpc_servicer_functions": [SERVICER]}
    return config


def ray_environment(settings: Settings) -> dict[str, str]:
    """What Serve's processes read when they start; ``serve run`` sets the same for the Ray that it starts."""
    return {
        **haproxy.environment(),
        # Of the machine that runs Pulumi otherwise.
        "RAY_SERVE_HAPROXY_NBTHREAD": str(HAPROXY_THREADS),
        **ray_cluster.NICENESS,
        **FAST_PATH,
        "RAY_SERVE_HTTP_PROXY_CALLBACK_IMPORT_PATH": CALLBACK,
        "RAY_SERVE_DIRECT_INGRESS_MIN_DRAINING_PERIOD_S": f"{settings.ingress.drain_seconds:g}",
        "RAY_SERVE_GRPC_MAX_MESSAGE_SIZE": str(settings.grpc.max_message_bytes),
    }


def _replicas(settings: Settings, *, gpus: bool) -> Iterator[_Replicas]:
    if not gpus:
        ingress = settings.ingress
        scale = ingress.autoscaling
        lowest = scale.lowest if scale else ingress.replicas
        yield _Replicas(lowest, ingress.most_replicas, ingress.cpus, 0, settings.inline_memory_bytes)
    for model in settings.models.values():
        if model.placement == "replica" and (model.gpus > 0) == gpus:
            lowest = model.autoscaling.lowest if model.autoscaling else model.replicas
            yield _Replicas(lowest, model.most_replicas, model.cpus, model.gpus, model.needs.memory_bytes)
    for each in language.on_gpus(settings).values() if gpus else ():
        # A version that an alias names anew starts beside the one before it.
        most = each.replicas * (2 if each.followed else 1)
        yield _Replicas(each.replicas, most, each.cpus, each.gpus_in_all, each.needs.memory_bytes)


def _pods(replicas: Iterator[_Replicas]) -> Pods:
    """One pod has room for the largest replica; each deployment gets its own, so that room is never in pieces."""
    found = list(replicas)
    cpus = max(1, *(math.ceil(each.cpus) for each in found))
    gpus = max(math.ceil(each.gpus) for each in found)
    memory = (cpus * MEMORY_MIB_PER_CPU - STARTED_MIB) * 2**20 - served.OBJECT_STORE_BYTES

    def needed(count: int, each: _Replicas) -> int:
        shares = ((cpus, each.cpus), (gpus, each.gpus), (memory, each.memory))
        together = [math.floor(room / share) for room, share in shares if share]
        # What a pod has no memory for at all, the fit check refuses.
        return math.ceil(count / max(1, min(together))) if together else 1

    least = sum(needed(each.least, each) for each in found)
    return Pods(least, max(least, sum(needed(each.most, each) for each in found)), cpus, gpus)


def _head(settings: Settings, image: pulumi.Input[str], environment: Mapping[str, pulumi.Input[str]]) -> dict[str, Any]:
    container = _container("ray-head", settings, image, environment, _resources(HEAD_CPUS, HEAD_MEMORY_MIB))
    container["ports"] += [
        {"name": "gcs-server", "containerPort": GCS_PORT},
        {"name": "dashboard", "containerPort": DASHBOARD_PORT},
    ]
    container["readinessProbe"] = _probe("/api/gcs_healthz", DASHBOARD_PORT)
    return {
        # No replica is placed here, so none takes the controller's memory.
        "rayStartParams": {"dashboard-host": "0.0.0.0", "num-cpus": "0", **_object_store()},  # noqa: S104
        # Ray's autoscaler in this pod asks Kubernetes for more pods.
        "template": _template(container, token=True),
    }


def _group(
    part: str, pods: Pods, settings: Settings, image: pulumi.Input[str], environment: Mapping[str, pulumi.Input[str]]
) -> dict[str, Any]:
    resources = _resources(pods.cpus, pods.cpus * MEMORY_MIB_PER_CPU, pods.gpus)
    container = _container("ray-worker", settings, image, environment, resources)
    # A pod without a replica has no proxy: it is no endpoint, and that is all this says.
    container["readinessProbe"] = _probe(served.READY, settings.http.port)
    start = {"num-cpus": str(pods.cpus), **_object_store()}
    return {
        "groupName": part,
        "replicas": pods.least,
        "minReplicas": pods.least,
        "maxReplicas": pods.most,
        "rayStartParams": {**start, "num-gpus": str(pods.gpus)} if pods.gpus else start,
        "template": _template(
            container,
            token=False,
            gpus=bool(pods.gpus),
            seconds=served.stop_seconds(settings),
            shared_mib=SHARED_MEMORY_MIB * (language.parallel(settings) if pods.gpus else 1),
        ),
    }


def _object_store() -> dict[str, str]:
    return {"object-store-memory": str(served.OBJECT_STORE_BYTES)}


def _container(
    name: str,
    settings: Settings,
    image: pulumi.Input[str],
    environment: Mapping[str, pulumi.Input[str]],
    resources: Mapping[str, Any],
) -> dict[str, Any]:
    variables: dict[str, pulumi.Input[str]] = {**ray_environment(settings), **environment}
    ports = [{"name": "serve", "containerPort": settings.http.port}]
    if settings.grpc.port is not None:
        ports.append({"name": "grpc", "containerPort": settings.grpc.port})
    return {
        "name": name,
        "image": image,
        "env": [{"name": variable, "value": value} for variable, value in sorted(variables.items())],
        "ports": ports,
        "resources": resources,
        "securityContext": _container_security(),
        "livenessProbe": _probe("/api/local_raylet_healthz", AGENT_PORT),
        "volumeMounts": [
            {"name": "tmp", "mountPath": WRITABLE},
            {"name": "shared-memory", "mountPath": "/dev/shm"},  # noqa: S108
        ],
    }


def _template(
    container: Mapping[str, Any],
    *,
    token: bool,
    gpus: bool = False,
    seconds: int | None = None,
    shared_mib: int = SHARED_MEMORY_MIB,
) -> dict[str, Any]:
    spec: dict[str, Any] = {
        "serviceAccountName": SERVICE_ACCOUNT,
        "automountServiceAccountToken": token,
        "securityContext": {
            "runAsNonRoot": True,
            "runAsUser": USER,
            "runAsGroup": USER,
            "fsGroup": USER,
            "seccompProfile": {"type": "RuntimeDefault"},
        },
        "containers": [container],
        "volumes": [
            {"name": "tmp", "emptyDir": {}},
            {"name": "shared-memory", "emptyDir": {"medium": "Memory", "sizeLimit": f"{shared_mib}Mi"}},
        ],
    }
    if seconds is not None:
        spec["terminationGracePeriodSeconds"] = seconds
    if gpus:
        spec["tolerations"] = _tolerations()
    else:
        spec["nodeSelector"] = dict(CPU_LABELS)
    return {"spec": spec}


def _tolerations() -> Sequence[Mapping[str, str]]:
    return [{"key": GPU_TAINT, "operator": "Equal", "value": "true", "effect": "NoSchedule"}]


def _resources(cpus: float, memory_mib: int, gpus: int = 0) -> dict[str, Any]:
    """Requests and limits alike: Ray counts on what it was given."""
    amounts = {"cpu": f"{cpus:g}", "memory": f"{memory_mib}Mi"}
    if gpus:
        amounts[GPU_TAINT] = str(gpus)
    return {"requests": dict(amounts), "limits": dict(amounts)}


def _container_security() -> dict[str, Any]:
    return {
        "allowPrivilegeEscalation": False,
        "readOnlyRootFilesystem": True,
        "runAsNonRoot": True,
        "runAsUser": USER,
        "capabilities": {"drop": ["ALL"]},
    }


def _probe(path: str, port: int) -> dict[str, Any]:
    """These paths need no token. Half a minute without an answer is too long."""
    return {
        "httpGet": {"path": path, "port": port},
        "initialDelaySeconds": 10,
        "periodSeconds": 5,
        "timeoutSeconds": 4,
        "failureThreshold": 6,
    }
