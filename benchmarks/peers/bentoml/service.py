"""The model in BentoML: a service with one typed endpoint around ONNX Runtime, batching off.

Runs in BentoML's own environment (``requirements.txt`` beside), and imports nothing of ours. The model's
file and name come in the environment: ``PEER_MODEL``, ``PEER_NAME``.
"""

import os
from typing import Any

import bentoml  # type: ignore[import-not-found,unused-ignore]
import numpy as np
import onnxruntime
from pydantic import BaseModel

DTYPES: dict[str, Any] = {"BYTES": object, "FP32": np.float32}


class Tensor(BaseModel):
    """A tensor of the Open Inference Protocol: a column of N rows, its data flat."""

    name: str
    datatype: str
    shape: list[int]
    data: list[Any]


class Answer(BaseModel):
    """An inference response of the Open Inference Protocol."""

    model_name: str
    outputs: list[Tensor]


# The access log is off for every contestant; BentoML's metrics stay on, as they are by default.
@bentoml.service(workers=1, logging={"access": {"enabled": False}})  # type: ignore[misc,unused-ignore]
class Model:
    """A graph whose inputs are [N] string or [N] float32, one per request input."""

    def __init__(self) -> None:
        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads = 1
        options.inter_op_num_threads = 1
        file = os.environ["PEER_MODEL"]
        self.session = onnxruntime.InferenceSession(file, options, providers=["CPUExecutionProvider"])
        self.names = [node.name for node in self.session.get_outputs()]

    @bentoml.api(route=f"/v2/models/{os.environ['PEER_NAME']}/infer")  # type: ignore[untyped-decorator,unused-ignore]
    async def infer(self, inputs: list[Tensor]) -> Answer:
        """Answer the ``inputs`` of an inference request."""
        # On the event loop: a plain `def` runs in a thread, and the hop costs more than a row of this model.
        columns = {tensor.name: np.array(tensor.data, DTYPES[tensor.datatype]) for tensor in inputs}
        values = self.session.run(self.names, columns)
        outputs = [
            Tensor(name=name, datatype="FP32", shape=list(array.shape), data=array.tolist())
            for name, array in zip(self.names, values, strict=True)
        ]
        return Answer(model_name=os.environ["PEER_NAME"], outputs=outputs)
