"""The model in MLServer: a custom runtime around ONNX Runtime, written as MLServer's documentation shows it.

Runs in MLServer's own environment (``requirements.txt`` beside), and imports nothing of ours.
"""

from __future__ import annotations

import numpy as np
import onnxruntime
from mlserver import MLModel  # type: ignore[import-not-found,unused-ignore]
from mlserver.codecs import NumpyCodec, StringCodec  # type: ignore[import-not-found,unused-ignore]
from mlserver.types import InferenceRequest, InferenceResponse  # type: ignore[import-not-found,unused-ignore]
from mlserver.utils import get_model_uri  # type: ignore[import-not-found,unused-ignore]


class OnnxModel(MLModel):  # type: ignore[misc,unused-ignore]
    """A graph whose inputs are [N] string or [N] float32, one per request input."""

    async def load(self) -> bool:
        """Open the session with one intra-op thread, as the other contestants do."""
        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads = 1
        options.inter_op_num_threads = 1
        file = await get_model_uri(self.settings)
        self.session = onnxruntime.InferenceSession(file, options, providers=["CPUExecutionProvider"])
        self.names = [node.name for node in self.session.get_outputs()]
        return True

    async def predict(self, payload: InferenceRequest) -> InferenceResponse:
        """Decode by MLServer's codecs, run the graph, encode its outputs [N] float32 by MLServer's codec."""
        columns = {}
        for given in payload.inputs:
            if given.datatype == "BYTES":
                columns[given.name] = np.array(self.decode(given, default_codec=StringCodec), object)
            else:
                columns[given.name] = self.decode(given, default_codec=NumpyCodec)
        values = self.session.run(self.names, columns)
        return InferenceResponse(
            model_name=self.name,
            model_version=self.version,
            outputs=[NumpyCodec.encode_output(name, array) for name, array in zip(self.names, values, strict=True)],
        )
