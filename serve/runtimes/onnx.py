"""ONNX Runtime on the CPU."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import onnxruntime as ort
from onnxruntime.capi import onnxruntime_pybind11_state as state

from console import one_line
from serve.runtimes.base import Array, ModelMetadata, ModelUnloadable, RuntimeFailure, Tensor

PLATFORM = "onnx_onnxruntime"

DTYPES: dict[str, np.dtype[Any]] = {
    "tensor(float16)": np.dtype(np.float16),
    "tensor(float)": np.dtype(np.float32),
    "tensor(double)": np.dtype(np.float64),
    "tensor(int8)": np.dtype(np.int8),
    "tensor(int16)": np.dtype(np.int16),
    "tensor(int32)": np.dtype(np.int32),
    "tensor(int64)": np.dtype(np.int64),
    "tensor(uint8)": np.dtype(np.uint8),
    "tensor(uint16)": np.dtype(np.uint16),
    "tensor(uint32)": np.dtype(np.uint32),
    "tensor(uint64)": np.dtype(np.uint64),
    "tensor(bool)": np.dtype(np.bool_),
    "tensor(string)": np.dtype(object),
}

FAILURES: tuple[type[Exception], ...] = (
    *(kind for kind in vars(state).values() if isinstance(kind, type) and issubclass(kind, Exception)),
    ValueError,
    RuntimeError,
)
"""Everything that ONNX Runtime raises; its own classes derive from ``Exception`` alone."""


class OnnxRuntime:
    """One inference session on the CPU."""

    def __init__(self) -> None:
        self._session: Any = None
        self._metadata: ModelMetadata | None = None

    def load(self, model: Path, threads: int) -> None:
        options = ort.SessionOptions()
        options.intra_op_num_threads = threads
        options.inter_op_num_threads = 1
        # Threads that spin between requests take the CPU from the event loop beside them.
        options.add_session_config_entry("session.intra_op.allow_spinning", "0")
        options.log_severity_level = 3
        try:
            self._session = ort.InferenceSession(str(model), options, providers=["CPUExecutionProvider"])
            self._metadata = ModelMetadata(
                platform=PLATFORM,
                inputs=tuple(_tensor(node) for node in self._session.get_inputs()),
                outputs=tuple(_tensor(node) for node in self._session.get_outputs()),
            )
            self._warm_up()
        except FAILURES as error:
            raise ModelUnloadable(f"ONNX Runtime can't load {model}: {one_line(str(error))[:300]}") from error

    def predict(self, inputs: Mapping[str, Array], outputs: Sequence[str]) -> dict[str, Array]:
        try:
            values = self._session.run(outputs, inputs)
        except FAILURES as error:
            raise RuntimeFailure(one_line(str(error))) from error
        return dict(zip(outputs, values, strict=True))

    def unload(self) -> None:
        self._session = None

    @property
    def metadata(self) -> ModelMetadata:
        if self._metadata is None:
            raise RuntimeFailure("no model is loaded")
        return self._metadata

    def _warm_up(self) -> None:
        row = {
            node.name: np.full([max(size, 1) for size in node.shape], "" if node.dtype == object else 0, node.dtype)
            for node in self.metadata.inputs
        }
        self._session.run(None, row)


def _tensor(node: Any) -> Tensor:
    if node.type not in DTYPES:
        raise ValueError(f"{node.name} is {node.type}, expected one of {', '.join(DTYPES)}")
    shape = tuple(size if isinstance(size, int) else -1 for size in node.shape)
    return Tensor(node.name, DTYPES[node.type], shape)
