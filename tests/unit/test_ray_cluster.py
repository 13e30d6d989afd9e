from __future__ import annotations

import os
import socket
from collections.abc import Iterator
from pathlib import Path

import pytest
import ray
from ray._private import ray_constants, services

from console import ray_cluster
from console.ray_cluster import RayUnavailable


@pytest.fixture
def nobody() -> Iterator[str]:
    """An address at which nobody listens."""
    with socket.socket() as held:
        held.bind(("127.0.0.1", 0))
        yield f"127.0.0.1:{held.getsockname()[1]}"


def registers_after(answers: int, monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """A node that is not there for so many of the questions for it; the list of them."""
    asked: list[str] = []

    def get_node(gcs_address: str, node_id: str) -> dict[str, str]:
        asked.append(gcs_address)
        if len(asked) <= answers:
            raise RuntimeError("no such node")
        return {"node_id": node_id}

    monkeypatch.setattr(services, "get_node", get_node)
    monkeypatch.setattr(ray_cluster, "LOOK_SECONDS", 0.0)
    return asked


def test_a_node_may_take_long_to_be_up(monkeypatch: pytest.MonkeyPatch) -> None:
    asked = registers_after(20, monkeypatch)
    with ray_cluster._patience(60):
        assert services.get_node("gcs", "a") == {"node_id": "a"}
    assert len(asked) == 21


def test_a_node_that_never_comes_is_given_up(monkeypatch: pytest.MonkeyPatch) -> None:
    registers_after(10_000_000, monkeypatch)
    with ray_cluster._patience(0.05), pytest.raises(RuntimeError, match="no such node"):
        services.get_node("gcs", "a")


def test_ray_is_left_as_it_was(monkeypatch: pytest.MonkeyPatch) -> None:
    registers_after(0, monkeypatch)
    before = services.get_node
    with ray_cluster._patience(1):
        assert services.get_node is not before
    assert services.get_node is before


def test_a_dashboard_has_as_long_unless_the_user_gave_it_longer(monkeypatch: pytest.MonkeyPatch) -> None:
    for given, expected in ((60, 180), (600, 600)):
        monkeypatch.setattr(ray_constants, "RAY_DASHBOARD_STARTUP_TIMEOUT_S", given)
        with ray_cluster._patience(180):
            assert expected == ray_constants.RAY_DASHBOARD_STARTUP_TIMEOUT_S
        assert given == ray_constants.RAY_DASHBOARD_STARTUP_TIMEOUT_S


def test_so_have_the_processes_that_ray_starts_here_unless_the_user_said_otherwise(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    given, ours = "RAY_gcs_server_port_wait_time_s", "RAY_worker_register_timeout_seconds"
    monkeypatch.setattr(ray, "init", lambda **_: None)
    monkeypatch.setenv(given, "7")
    monkeypatch.setenv(ours, "")
    monkeypatch.delenv(ours)
    ray_cluster.connect("local")
    assert (os.environ[given], os.environ[ours]) == ("7", "180")


def test_workers_have_the_priority_of_whoever_started_them() -> None:
    ray_cluster.connect("local", num_cpus=1, include_dashboard=False)
    try:
        assert ray.get(ray.remote(lambda: os.nice(0)).remote()) == os.nice(0)
    finally:
        ray.shutdown()


def test_a_node_that_does_not_start_is_one_line_with_the_place_of_its_logs(monkeypatch: pytest.MonkeyPatch) -> None:
    def init(**_: object) -> None:
        raise Exception("The current node timed out\nduring startup.")  # noqa: TRY002 - as Ray does

    monkeypatch.setattr(ray, "init", init)
    with pytest.raises(RayUnavailable) as failed:
        ray_cluster.connect("local")
    assert str(failed.value).startswith(
        "Ray did not start on this machine: The current node timed out during startup.: its logs are in "
    )


def test_a_folder_that_can_not_be_written_to_is_said(tmp_path: Path) -> None:
    file = tmp_path / "file"
    file.touch()
    with pytest.raises(RayUnavailable, match=r"did not start on this machine: .*file"):
        ray_cluster.connect("local", include_dashboard=False, _temp_dir=str(file))
    assert not ray.is_initialized()


def test_the_logs_are_those_of_the_last_session_of_this_process(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("RAY_TMPDIR", str(tmp_path))
    pid = os.getpid()
    for name in (f"session_2026-01-01_1_{pid}", f"session_2026-01-02_1_{pid}", f"session_2026-01-03_1_{pid + 1}"):
        (tmp_path / "ray" / name).mkdir(parents=True)
    assert ray_cluster.logs() == tmp_path / "ray" / f"session_2026-01-02_1_{pid}" / "logs"


@pytest.mark.parametrize("scheme", ["", "ray://"])
def test_an_address_at_which_nobody_listens_is_said_at_once(scheme: str, nobody: str) -> None:
    with pytest.raises(RayUnavailable, match=f"there is no Ray at {scheme}{nobody}: .*refused: set RAY_ADDRESS"):
        ray_cluster.connect(f"{scheme}{nobody}")


def test_a_bug_keeps_its_class(monkeypatch: pytest.MonkeyPatch) -> None:
    def init(**_: object) -> None:
        raise TypeError("namespace is no str")

    monkeypatch.setattr(ray, "init", init)
    with pytest.raises(TypeError, match="no str"):
        ray_cluster.connect("local")
