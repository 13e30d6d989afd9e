"""From a path to its endpoint."""

from __future__ import annotations

import pytest

from serve.gateway.routing import Routes
from serve.gateway.transport import Answer, Endpoint, Transport
from serve.gateway.transports import TRANSPORTS


async def _handler(*_: object) -> Answer:
    return Answer(b"")


def routes(*endpoints: tuple[str, str]) -> Routes:
    made = tuple(Endpoint(method, path, _handler) for method, path in endpoints)
    return Routes([Transport(("/",), made, lambda _: {})])


def test_a_path_is_found_with_its_parameters_and_its_methods() -> None:
    made = routes(("GET", "/a"), ("GET", "/a/{x}"), ("POST", "/a/{x}/b/{y}"), ("GET", "/a/{x}/b/{y}"))
    route, parameters = made.find("/a/1/b/2")
    assert route is not None
    assert (route.name, dict(parameters)) == ("/a/{x}/b/{y}", {"x": "1", "y": "2"})
    assert route.allowed == "GET, HEAD, POST"


def test_a_named_segment_comes_before_a_parameter() -> None:
    made = routes(("GET", "/a/{x}"), ("GET", "/a/{x}/c"), ("GET", "/a/index"))
    found = made.find("/a/index")[0]
    assert found is not None
    assert found.name == "/a/index"


@pytest.mark.parametrize("path", ["/", "", "/b", "/a/", "/a//b/2", "/a/1/b", "/a/1/b/2/", "/a/1/b/2/c", "//a", "a"])
def test_a_path_that_nobody_serves_is_not_found(path: str) -> None:
    made = routes(("GET", "/a"), ("GET", "/a/{x}"), ("POST", "/a/{x}/b/{y}"))
    assert made.find(path)[0] is None


def test_two_endpoints_of_one_method_at_one_path_are_a_mistake_of_ours() -> None:
    with pytest.raises(ValueError, match="served twice"):
        routes(("GET", "/a/{x}"), ("GET", "/a/{y}"))


def test_every_endpoint_of_every_protocol_is_found() -> None:
    made = Routes(TRANSPORTS.values())
    for transport in TRANSPORTS.values():
        for endpoint in transport.endpoints:
            route, _ = made.find(endpoint.path.replace("{", "").replace("}", ""))
            assert route is not None
            assert route.endpoints[endpoint.method] is endpoint
