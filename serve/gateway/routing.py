"""From a path to its endpoint: one look-up for a path without parameters, a walk of its segments otherwise."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field

from serve.gateway.transport import Endpoint, Transport


@dataclass(frozen=True, slots=True)
class Route:
    """What answers at a path, by method. HEAD is answered as GET is, without its body."""

    name: str
    transport: Transport
    endpoints: dict[str, Endpoint]

    @property
    def allowed(self) -> str:
        return ", ".join(sorted(self.endpoints))


@dataclass(slots=True)
class _Node:
    route: Route | None = None
    names: dict[str, _Node] = field(default_factory=dict)
    parameter: str = ""
    below: _Node | None = None


NO_PARAMETERS: Mapping[str, str] = {}


class Routes:
    """The endpoints of all protocols."""

    def __init__(self, transports: Iterable[Transport]) -> None:
        self._exact: dict[str, Route] = {}
        self._root = _Node()
        for transport in transports:
            for endpoint in transport.endpoints:
                self._add(transport, endpoint)

    def find(self, path: str) -> tuple[Route | None, Mapping[str, str]]:
        """The route of a path and its parameters. A parameter is one segment, and not empty."""
        if exact := self._exact.get(path):
            return exact, NO_PARAMETERS
        node = self._root
        parameters: dict[str, str] = {}
        for segment in path[1:].split("/"):
            if found := node.names.get(segment):
                node = found
            elif node.below is not None and segment:
                parameters[node.parameter] = segment
                node = node.below
            else:
                return None, NO_PARAMETERS
        return node.route, parameters

    def _add(self, transport: Transport, endpoint: Endpoint) -> None:
        route = self._route(transport, endpoint.path)
        if endpoint.method in route.endpoints:
            raise ValueError(f"{endpoint.method} {endpoint.path} is served twice")
        route.endpoints[endpoint.method] = endpoint
        if endpoint.method == "GET":
            route.endpoints["HEAD"] = endpoint

    def _route(self, transport: Transport, path: str) -> Route:
        if "{" not in path:
            return self._exact.setdefault(path, Route(path, transport, {}))
        node = self._root
        for segment in path[1:].split("/"):
            if segment.startswith("{"):
                node.parameter = segment[1:-1]
                node.below = node.below or _Node()
                node = node.below
            else:
                node = node.names.setdefault(segment, _Node())
        node.route = node.route or Route(path, transport, {})
        return node.route
