from __future__ import annotations

import signal
from collections.abc import Callable
from threading import Event
from types import SimpleNamespace
from typing import Any

import pytest
from ray.train import RunConfig
from ray.train.torch import TorchTrainer
from ray.train.v2._internal.callbacks.placement_group_callback import PlacementGroupCleanerCallback

from training import workers
from training.workers import Trainer


def _callbacks(trainer: type[TorchTrainer]) -> list[type]:
    return [type(each) for each in trainer(print, run_config=RunConfig(name="run"))._create_default_callbacks()]


def test_nothing_removes_the_workers_of_a_controller_that_only_seems_dead() -> None:
    theirs, ours = _callbacks(TorchTrainer), _callbacks(Trainer)
    # Where Ray has it no more, our own class can go.
    assert PlacementGroupCleanerCallback in theirs
    assert ours == [each for each in theirs if each is not PlacementGroupCleanerCallback]


class _Fitting:
    """A trainer whose run goes on until it has been asked for reports a hundred times."""

    def __init__(self) -> None:
        self.asked = 0
        self.over = Event()

    def fit(self) -> str:
        assert self.over.wait(60)
        return "done"

    def since(self, seen: int) -> list[dict[str, Any]]:
        self.asked += 1
        if self.asked == 100:
            self.over.set()
        return [{"epoch": seen}]


class _Interrupting:
    """Ctrl-C comes while Python destroys it."""

    def __del__(self) -> None:
        signal.raise_signal(signal.SIGINT)


def _run(fitting: _Fitting, monkeypatch: pytest.MonkeyPatch, on_report: Callable[[dict[str, Any]], None]) -> Any:
    monkeypatch.setattr(workers, "POLL_SECONDS", 0.001)
    monkeypatch.setattr(workers, "ray", SimpleNamespace(get=lambda reports: reports))
    board = SimpleNamespace(since=SimpleNamespace(remote=fitting.since))
    return workers._run(fitting, board, on_report)  # type: ignore[arg-type] # of a trainer, only fit() is used


@pytest.mark.usefixtures("interruptible")
def test_an_interrupt_that_comes_in_a_destructor_ends_the_run(monkeypatch: pytest.MonkeyPatch) -> None:
    fitting = _Fitting()
    seen: list[dict[str, Any]] = []

    def on_report(report: dict[str, Any]) -> None:
        seen.append(report)
        if report["epoch"] == 1:
            _Interrupting()

    handler = signal.getsignal(signal.SIGINT)
    with pytest.raises(KeyboardInterrupt):
        _run(fitting, monkeypatch, on_report)
    fitting.over.set()
    assert seen == [{"epoch": 0}, {"epoch": 1}]
    assert signal.getsignal(signal.SIGINT) is handler


@pytest.mark.usefixtures("interruptible")
def test_a_second_interrupt_does_not_wait_for_what_the_run_is_at(monkeypatch: pytest.MonkeyPatch) -> None:
    fitting = _Fitting()
    reached: list[Any] = []

    def on_report(report: dict[str, Any]) -> None:
        signal.raise_signal(signal.SIGINT)
        reached.append(report)
        signal.raise_signal(signal.SIGINT)
        reached.append("after the second")

    with pytest.raises(KeyboardInterrupt):
        _run(fitting, monkeypatch, on_report)
    fitting.over.set()
    assert reached == [{"epoch": 0}]


def test_a_run_that_nobody_interrupts_ends_with_its_result_and_all_reports(monkeypatch: pytest.MonkeyPatch) -> None:
    seen: list[dict[str, Any]] = []
    assert _run(_Fitting(), monkeypatch, seen.append) == "done"
    assert [report["epoch"] for report in seen[:100]] == list(range(100))
