"""What is held of each place, one check a file. To add one: its file, and its line here."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping

from policies.fit.checks.bedrock import bedrock
from policies.fit.checks.cpu import cpu
from policies.fit.checks.engines import engines
from policies.fit.checks.function import function
from policies.fit.checks.gpus import gpus
from policies.fit.checks.health import health
from policies.fit.checks.image import image
from policies.fit.checks.memory import memory
from policies.fit.checks.nodes import nodes
from policies.fit.checks.ports import ports
from policies.fit.checks.reach import reach
from policies.fit.checks.replicas import replicas
from policies.fit.misfit import Misfit
from policies.fit.place import Place

Check = Callable[[Place], Iterator[Misfit]]

CHECKS: Mapping[str, Check] = {
    "cpu": cpu,
    "memory": memory,
    "gpus": gpus,
    "nodes": nodes,
    "replicas": replicas,
    "image": image,
    "reach": reach,
    "bedrock": bedrock,
    "engines": engines,
    "ports": ports,
    "health": health,
    "function": function,
}
"""By the name that its misfits have."""
