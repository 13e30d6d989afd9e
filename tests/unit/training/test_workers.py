from __future__ import annotations

from ray.train import RunConfig
from ray.train.torch import TorchTrainer
from ray.train.v2._internal.callbacks.placement_group_callback import PlacementGroupCleanerCallback

from training.workers import Trainer


def _callbacks(trainer: type[TorchTrainer]) -> list[type]:
    return [type(each) for each in trainer(print, run_config=RunConfig(name="run"))._create_default_callbacks()]


def test_nothing_removes_the_workers_of_a_controller_that_only_seems_dead() -> None:
    theirs, ours = _callbacks(TorchTrainer), _callbacks(Trainer)
    # Where Ray has it no more, our own class can go.
    assert PlacementGroupCleanerCallback in theirs
    assert ours == [each for each in theirs if each is not PlacementGroupCleanerCallback]
