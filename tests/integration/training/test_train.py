"""Ray Train on a real cluster of this machine."""

from __future__ import annotations

import os
import signal
from pathlib import Path

import pytest
import torch

from tests.integration.serve import processes
from training import train
from training.data import View
from training.errors import TrainingFailed
from training.network import TabularNetwork
from training.recipe import Architecture, Recipe, Resources

pytestmark = [pytest.mark.integration, pytest.mark.usefixtures("ray_cluster")]

# So many that a run is not over when a test that kills a part of it hears of the epoch at which it does.
RECIPE = Recipe(epochs=12, batch_size=128, architecture=Architecture(width=32))


@pytest.fixture(scope="module")
def uninterrupted(
    ray_cluster: str, view_folder: Path, tmp_path_factory: pytest.TempPathFactory
) -> tuple[TabularNetwork, list[int]]:
    epochs: list[int] = []
    network = train.fit(
        View.open(view_folder),
        RECIPE,
        Resources(),
        name="uninterrupted",
        storage=tmp_path_factory.mktemp("runs"),
        on_epoch=lambda report: epochs.append(report.epoch),
    )
    return network, epochs


def test_every_epoch_is_reported_in_order(uninterrupted: tuple[TabularNetwork, list[int]]) -> None:
    assert uninterrupted[1] == list(range(1, 13))


def test_a_run_whose_worker_is_killed_goes_on_and_ends_with_the_same_weights(
    uninterrupted: tuple[TabularNetwork, list[int]], view_folder: Path, tmp_path: Path
) -> None:
    reports: list[train.EpochReport] = []

    def kill_after_the_second_epoch(report: train.EpochReport) -> None:
        reports.append(report)
        if report.epoch == 2 and len(reports) == 2:
            os.kill(report.pid, signal.SIGKILL)

    network = train.fit(
        View.open(view_folder),
        RECIPE,
        Resources(max_failures=1),
        name="killed",
        storage=tmp_path,
        on_epoch=kill_after_the_second_epoch,
    )
    workers = list(dict.fromkeys(report.pid for report in reports))
    assert len(workers) == 2, "the run was to be finished by another process"
    resumed_at = next(report.epoch for report in reports if report.pid == workers[1])
    assert resumed_at > 1, "the run was to go on, not to begin again"
    assert reports[-1].epoch == 12
    expected = uninterrupted[0].state_dict()
    assert all(torch.equal(value, expected[name]) for name, value in network.state_dict().items())


def test_a_worker_that_keeps_failing_ends_the_run_with_its_reason(view_folder: Path, tmp_path: Path) -> None:
    def unreadable(report: train.EpochReport) -> None:
        raise AssertionError("no epoch was to end")

    view = View(tmp_path / "gone", View.open(view_folder).contract)
    with pytest.raises(TrainingFailed, match="training run broken failed: ContractUnreadable: no contract at"):
        train.fit(view, RECIPE, Resources(max_failures=0), name="broken", storage=tmp_path, on_epoch=unreadable)


def test_asking_for_more_than_the_cluster_has_is_refused_at_once(view_folder: Path, tmp_path: Path) -> None:
    with pytest.raises(TrainingFailed, match="64 workers with 1 CPU each need 64 CPU, and the cluster has"):
        train.fit(
            View.open(view_folder),
            RECIPE,
            Resources(workers=64),
            name="large",
            storage=tmp_path,
            on_epoch=lambda _: None,
        )


def test_a_run_whose_controller_is_killed_ends_with_its_reason(view_folder: Path, tmp_path: Path) -> None:
    """What it had reserved for its workers is this process's until it ends: the last test of this cluster."""

    def kill_the_controller(_: train.EpochReport) -> None:
        for controller in processes.titled(os.getpid(), "ray::TrainController"):
            os.kill(controller, signal.SIGKILL)

    with pytest.raises(TrainingFailed, match=r"training run headless failed: ActorDiedError: .*TrainController"):
        train.fit(
            View.open(view_folder),
            RECIPE,
            Resources(),
            name="headless",
            storage=tmp_path,
            on_epoch=kill_the_controller,
        )
