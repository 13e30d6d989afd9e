"""Thousands of requests made from the description, good and bad, at a live server: it keeps its word.

Without ``FUZZED_URL`` the application is served by a uvicorn of its own; with it, what listens there is
asked, with the headers of ``FUZZED_HEADERS`` (a JSON object, such as ``{"Authorization": "Bearer …"}``),
about ``FUZZED_MODEL`` and ``FUZZED_VERSION``. ``FUZZED_REQUESTS`` says how many in all.
"""

from __future__ import annotations

import json
import os
import sys
import threading
import time
from collections.abc import Iterator
from dataclasses import dataclass, field

import pytest
import requests
import schemathesis
import uvicorn
from hypothesis import HealthCheck, Phase, given, settings
from schemathesis.core.failures import FailureGroup
from schemathesis.generation import GenerationMode
from schemathesis.schemas import APIOperation
from schemathesis.specs.openapi import checks

from benchmarks.ports import free_port
from serve.gateway.asgi import Gateway
from serve.gateway.openapi import ERRORS, description
from serve.gateway.transports import TRANSPORTS
from tests.unit.serve import tiny
from tests.unit.serve.conftest import app, model_file, plane, served  # noqa: F401 (fixtures)

pytestmark = pytest.mark.integration

REQUESTS = 500

SCHEMA = schemathesis.openapi.from_dict(json.loads(json.dumps(description(TRANSPORTS, None, "0"))))
# A wrong request is refused, or too late before it is read, where its header says so.
SCHEMA.config.checks.negative_data_rejection.expected_statuses = [*map(str, ERRORS)]
OPERATIONS: dict[str, APIOperation] = {found.ok().label: found.ok() for found in SCHEMA.get_all_operations()}

UNTRUE_HERE = [
    # A model's contract asks for more than a schema can say: which columns there are, and as many values in each.
    checks.positive_data_acceptance,
    # A key is asked for where the settings say so; ``tests/unit/serve/access`` sees to it.
    checks.ignored_auth,
]

NOT_JSON = ("GET /ping", "GET /health", "GET /version")
"""Their answers say that they are JSON and are not, as those of MLflow's own server."""


@dataclass
class Target:
    """What is asked, and how many requests it got."""

    url: str
    model: str = tiny.NAME
    version: str = "7"
    headers: dict[str, str] = field(default_factory=dict)
    session: requests.Session = field(default_factory=requests.Session)
    asked: int = 0


@pytest.fixture(scope="module")
def target(app: Gateway) -> Iterator[Target]:  # noqa: F811
    began = time.monotonic()
    if url := os.environ.get("FUZZED_URL"):
        headers = json.loads(os.environ.get("FUZZED_HEADERS", "{}"))
        found = Target(url, os.environ.get("FUZZED_MODEL", tiny.NAME), os.environ.get("FUZZED_VERSION", "1"), headers)
        yield found
    else:
        port = free_port()
        server = uvicorn.Server(uvicorn.Config(app, port=port, log_level="critical", lifespan="off"))
        thread = threading.Thread(target=server.run)
        thread.start()
        while not server.started:
            time.sleep(0.01)
        found = Target(f"http://127.0.0.1:{port}")
        yield found
        server.should_exit = True
        thread.join(20)
    found.session.close()
    seconds = time.monotonic() - began
    sys.stdout.write(f"\n{found.asked} requests in {seconds:.1f} s, {found.asked / seconds:.0f} a second\n")


@pytest.mark.parametrize("mode", GenerationMode, ids=lambda mode: mode.value)
@pytest.mark.parametrize("label", OPERATIONS)
def test_answers_are_as_described(target: Target, label: str, mode: GenerationMode) -> None:
    operation = OPERATIONS[label]
    cases = operation.as_strategy(mode)
    # Never the model's own name where it would be unloaded.
    if "{model}" in operation.path and "repository" not in operation.path:
        known = {"model": target.model} | ({"version": target.version} if "{version}" in operation.path else {})
        cases = cases | operation.as_strategy(mode, path_parameters=known)
    untrue = [*UNTRUE_HERE, *([checks.response_schema_conformance] if label in NOT_JSON else [])]
    examples = int(os.environ.get("FUZZED_REQUESTS", REQUESTS)) // (2 * len(OPERATIONS))

    @settings(
        max_examples=examples,
        deadline=None,
        database=None,
        derandomize=True,
        suppress_health_check=list(HealthCheck),
        phases=(Phase.explicit, Phase.generate, Phase.shrink),
    )
    @given(case=cases)
    def ask(case: schemathesis.Case) -> None:
        target.asked += 1
        response = case.call(base_url=target.url, session=target.session, headers=target.headers, timeout=30)
        case.validate_response(response, excluded_checks=untrue, headers=target.headers)

    try:
        ask()
    except FailureGroup as failures:
        pytest.fail(str(failures), pytrace=False)
