"""A line of progress now and then, while Spark works on a long stage."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import contextmanager

from pyspark import SparkContext

from console import Stage, stage


@contextmanager
def spark_stage(name: str, context: SparkContext, every_seconds: float = 10.0) -> Iterator[Stage]:
    """A :func:`console.stage` that also tells of Spark's tasks: every few seconds, where more of them are done."""
    done = threading.Event()
    with stage(name) as current:
        reporter = threading.Thread(target=_report, args=(current, context, done, every_seconds), daemon=True)
        reporter.start()
        try:
            yield current
        finally:
            done.set()
            reporter.join()


def _report(current: Stage, context: SparkContext, done: threading.Event, every_seconds: float) -> None:
    tracker = context.statusTracker()
    said = ""
    while not done.wait(every_seconds):
        stages = [info for id_ in tracker.getActiveStageIds() if (info := tracker.getStageInfo(id_))]
        if stages:
            completed = sum(info.numCompletedTasks for info in stages)
            text = f"{completed} of {sum(info.numTasks for info in stages)} tasks done"
            if text != said:
                current.note(text)
            said = text
