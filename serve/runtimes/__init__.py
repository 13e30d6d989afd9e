"""Backends that run a model: one a file. A new one is a file and a line in :data:`RUNTIMES`.

Importing this package loads none of them.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from serve.runtimes.base import Runtime


def _onnx() -> Runtime:
    from serve.runtimes.onnx import OnnxRuntime

    return OnnxRuntime()


RUNTIMES: dict[str, Callable[[], Runtime]] = {
    "onnx": _onnx,
}
