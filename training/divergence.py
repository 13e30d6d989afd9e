"""A run whose loss is no number any more: nothing is learned from then on, and nothing of it may answer."""

from __future__ import annotations

import math

from training.errors import TrainingFailed


def require_finite(loss: float, at: str, learning_rate: float) -> None:
    """``at``: where it was measured, such as ``step 3``.

    Raises:
        TrainingFailed: it is infinite, or not a number.
    """
    if not math.isfinite(loss):
        raise TrainingFailed(
            f"the loss of {at} is {loss:g}: the run has diverged; try a --learning-rate below {learning_rate:g}"
        )
