"""Ray Train, as every training run here uses it: a cluster, workers that run a loop, and what rank 0 reports."""

from __future__ import annotations

import os
import signal
import threading
from collections.abc import Callable, Iterator, Mapping
from concurrent.futures import Future, wait
from contextlib import contextmanager
from pathlib import Path
from types import FrameType
from typing import Any

from console import one_line, ray_cluster

# Ray Train reads these when it is imported. Reports reach the driver once an interval.
os.environ.setdefault("RAY_TRAIN_V2_ENABLED", "1")
os.environ.setdefault("RAY_TRAIN_HEALTH_CHECK_INTERVAL_S", "0.25")
# On a machine that is too slow for its 60 s, workers that are started anew are too.
os.environ.setdefault("RAY_TRAIN_WORKER_GROUP_START_TIMEOUT_S", str(ray_cluster.START_SECONDS))
# Threads that spin while they wait for each other take the cores from whoever else has work: a step of a small model
# took four times as long on two busy cores.
os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")

import ray
import ray.train
import ray.train.torch
from ray.exceptions import RayError
from ray.train import Checkpoint, CheckpointConfig, FailureConfig, RunConfig, ScalingConfig, UserCallback
from ray.train.v2._internal.callbacks.placement_group_callback import PlacementGroupCleanerCallback

from training.board import Board
from training.errors import TrainingFailed
from training.recipe import Resources

POLL_SECONDS = 0.2


@contextmanager
def cluster() -> Iterator[None]:
    """The Ray cluster that this process is connected to, or for the time of the block that which ``RAY_ADDRESS`` names,
    or a private one of this machine.

    Raises:
        RayUnavailable: it did not come up, or can't be reached.
    """
    if ray.is_initialized():
        yield
        return
    address = os.environ.get("RAY_ADDRESS", "local")
    # A dashboard is a private cluster's to leave out; a cluster that exists has made its choice.
    dashboard = False if address == "local" else None
    ray_cluster.connect(address, include_dashboard=dashboard)
    try:
        yield
    finally:
        ray.shutdown()


def run_loop(
    loop: Callable[[dict[str, Any]], None],
    config: Mapping[str, Any],
    resources: Resources,
    *,
    name: str,
    storage: Path,
    checkpoints: CheckpointConfig,
    on_report: Callable[[dict[str, Any]], None],
) -> ray.train.Result:
    """Run ``loop`` in each worker until it has ended in all of them. Needs a running :func:`cluster`.

    ``on_report`` is called in this process with what rank 0 reports. A run of the same ``name`` in the same
    ``storage`` goes on from its last checkpoint, and so do workers that replace a lost one.

    Raises:
        TrainingFailed: the cluster is too small, workers failed more than ``max_failures`` times, or Ray lost a
            process of the run that it does not start anew, as Ray Train's controller.
    """
    _check_capacity(resources)
    board = Board.remote()  # type: ignore[attr-defined]
    trainer = Trainer(
        loop,
        train_loop_config=dict(config),
        scaling_config=ScalingConfig(
            num_workers=resources.workers,
            use_gpu=resources.gpus_per_worker > 0,
            resources_per_worker={
                "CPU": resources.cpus_per_worker,
                **({"GPU": resources.gpus_per_worker} if resources.gpus_per_worker else {}),
            },
        ),
        run_config=RunConfig(
            name=name,
            storage_path=str(storage.resolve()),
            failure_config=FailureConfig(max_failures=resources.max_failures),
            checkpoint_config=checkpoints,
            callbacks=[_Forward(board)],  # type: ignore[list-item] # a UserCallback is asked for, Callback is what is typed
        ),
    )
    try:
        return _run(trainer, board, on_report)
    except (ray.train.TrainingFailedError, RayError) as error:
        raise TrainingFailed(f"training run {name} failed: {_first_reason(error)}") from error


def _check_capacity(resources: Resources) -> None:
    """Ray would wait for ever, in silence, for a worker that fits nowhere."""
    have = ray.cluster_resources()
    for kind, each in (("CPU", resources.cpus_per_worker), ("GPU", resources.gpus_per_worker)):
        asked = each * resources.workers
        if asked > have.get(kind, 0):
            raise TrainingFailed(
                f"{resources.workers} workers with {each:g} {kind} each need {asked:g} {kind}, "
                f"and the cluster has {have.get(kind, 0):g}: ask for fewer, or set RAY_ADDRESS to a larger cluster"
            )


def _first_reason(error: Exception) -> str:
    failures: dict[int, Exception] = getattr(error, "worker_failures", {})
    cause = failures[min(failures)] if failures else getattr(error, "controller_failure", error)
    return one_line(f"{type(cause).__name__}: {cause}")[:300]


class Trainer(ray.train.torch.TorchTrainer):
    """Ray's, without its cleaner of placement groups, which removes those of a controller that died.

    The cleaner also takes a controller for dead that the state API does not find, as on a busy machine, and so ends a
    run that is well (``is_actor_alive`` in ``ray/train/v2/_internal/state/util.py``, Ray 2.60). It is not needed: a
    placement group goes with the job that made it, which is this process's.
    """

    def _create_default_callbacks(self) -> list[Any]:
        callbacks = super()._create_default_callbacks()  # type: ignore[misc] # not in what is typed
        return [each for each in callbacks if not isinstance(each, PlacementGroupCleanerCallback)]


class _Forward(UserCallback):
    """Runs in Ray Train's controller: what rank 0 reported is forwarded to the board."""

    def __init__(self, board: Any) -> None:
        self.board = board

    def after_report(
        self,
        run_context: Any,  # noqa: ARG002
        metrics: list[dict[str, Any]],
        checkpoint: Checkpoint | None,  # noqa: ARG002
    ) -> None:
        ray.get(self.board.pin.remote(metrics[0]))


def _run(
    trainer: ray.train.torch.TorchTrainer, board: Any, on_report: Callable[[dict[str, Any]], None]
) -> ray.train.Result:
    """Fit in a thread of its own, and tell ``on_report`` of each report from this one.

    Ray Train takes over Ctrl-C where it is called from the main thread, and then ends the process
    without a word.
    """
    outcome: Future[ray.train.Result] = Future()

    def work() -> None:
        try:
            outcome.set_result(trainer.fit())
        except BaseException as error:  # noqa: BLE001 - raised again by outcome.result()
            outcome.set_exception(error)

    threading.Thread(target=work, name="fit", daemon=True).start()
    seen, over = 0, False
    with _interrupt_noted() as interrupted:
        while not (over or interrupted.is_set()):
            over = bool(wait([outcome], timeout=POLL_SECONDS).done)
            for report in ray.get(board.since.remote(seen)):
                seen += 1
                on_report(report)
    return outcome.result()


@contextmanager
def _interrupt_noted() -> Iterator[threading.Event]:
    """Set once Ctrl-C came, for the block to look at and end; a second one is handled at once, as it was before.

    What Python raises for the first is lost where the main thread happens to be in a destructor or in a callback, of
    which Ray and SQLAlchemy have many ("Exception ignored in …"): the run would go on to its end.
    """
    noted = threading.Event()
    before = signal.getsignal(signal.SIGINT)
    if not callable(before) or threading.current_thread() is not threading.main_thread():
        yield noted
        return

    def note(number: int, frame: FrameType | None) -> None:
        if noted.is_set():
            before(number, frame)
        noted.set()

    signal.signal(signal.SIGINT, note)
    try:
        yield noted
    finally:
        signal.signal(signal.SIGINT, before)
    if noted.is_set():
        raise KeyboardInterrupt
