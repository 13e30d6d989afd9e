"""The limit to be held against: FastAPI and ONNX Runtime in one process, and nothing else.

No validation, no limits, no keys, no versions: what a notebook's author would write on the first day.
"""

from __future__ import annotations

import os

import numpy as np
import onnxruntime
from fastapi import FastAPI, Request, Response

MODEL_VARIABLE = "BARE_MODEL"
KINDS = {"BYTES": object, "FP32": np.float32}

options = onnxruntime.SessionOptions()
options.intra_op_num_threads = 1
session = (
    onnxruntime.InferenceSession(os.environ[MODEL_VARIABLE], options, providers=["CPUExecutionProvider"])
    if MODEL_VARIABLE in os.environ
    else None
)
app = FastAPI()


@app.get("/v2/health/ready")
async def ready() -> Response:
    return Response(status_code=200 if session is not None else 503)


@app.post("/v2/models/{name}/infer")
async def infer(name: str, request: Request) -> dict[str, object]:
    if session is None:
        return {"error": f"{MODEL_VARIABLE} is not set"}
    body = await request.json()
    inputs = {given["name"]: np.asarray(given["data"], KINDS[given["datatype"]]) for given in body["inputs"]}
    outputs = [
        {"name": found.name, "datatype": "FP32", "shape": list(values.shape), "data": values.tolist()}
        for found, values in zip(session.get_outputs(), session.run(None, inputs), strict=True)
    ]
    return {"model_name": name, "outputs": outputs}
