from __future__ import annotations

import os
import subprocess
import sys

import pytest
import ray.serve
from ray.exceptions import RayActorError

from serve import FAST_PATH, haproxy
from serve.settings import Settings
from serve.start import ServeUnavailable, _start_ingress


def test_ray_takes_the_limits_from_the_variables_that_are_set() -> None:
    names = (
        "PROXY_READY_CHECK_TIMEOUT_S",
        "RAY_SERVE_HAPROXY_STARTUP_TIMEOUT_S",
        "RAY_SERVE_QUEUE_LENGTH_CACHE_TIMEOUT_S",
    )
    program = f"from ray.serve._private import constants; print(*(int(getattr(constants, name)) for name in {names}))"
    given = {**os.environ, **haproxy.environment(), **FAST_PATH}
    ran = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True, env=given)
    assert ran.stdout.split() == ["180", "180", "60"]


@pytest.mark.parametrize("error", [RayActorError(), TimeoutError("HTTP proxies not available after 180s.")], ids=repr)
def test_a_serve_that_does_not_come_up_is_one_line(error: Exception, monkeypatch: pytest.MonkeyPatch) -> None:
    def start(**_: object) -> None:
        raise error

    monkeypatch.setattr(ray.serve, "start", start)
    with pytest.raises(ServeUnavailable, match=r"^Serve did not start on this machine: .*: its logs are in .*serve$"):
        _start_ingress(Settings.model_validate({"models": {"parcels": {}}}))
