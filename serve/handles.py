"""Handles of Serve's deployments, as each process here makes its own."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from ray import serve as ray_serve

ENCODED: Mapping[str, Any] = {"request_serialization": "pickle", "response_serialization": "pickle"}
"""What passes is plain; Ray's own pickle, which can take whole classes along, takes several times as long."""


def handle_of(deployment: str, application: str | None = None, *, stream: bool = False) -> Any:
    """A handle (Serve's ``DeploymentHandle``) of a deployment. ``application``: this replica's own where ``None``.

    It must be made in the process that calls it, and not where an application is bound: Serve decides there how it
    passes arguments, and a replica knows the throughput settings, by which they go by value over gRPC instead of
    through the object store.

    Nobody is asked whether the deployment exists: Serve would wait for its controller's answer on the event loop of
    whoever asks, and with it everything else that runs there. A call of one that does not exist waits for a replica.
    """
    handle = ray_serve.get_deployment_handle(deployment, application, _check_exists=False)
    return handle.options(stream=stream, **ENCODED)
