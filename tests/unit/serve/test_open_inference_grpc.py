"""The gRPC messages, held against Triton's own client."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import tritonclient.grpc as triton
from hypothesis import given, settings
from hypothesis import strategies as st
from tritonclient.grpc import service_pb2 as pb

from serve.dataplane import Result
from serve.gateway.errors import MalformedRequest
from serve.gateway.open_inference import grpc_codec
from serve.gateway.open_inference.datatypes import DATATYPES
from serve.gateway.open_inference.request import InferRequest
from serve.runtimes.base import ModelMetadata, Tensor
from tests.unit.serve.test_open_inference_binary import columns, equal


def typed(name: str, datatype: str, values: list[Any], **more: Any) -> Any:
    tensor = pb.ModelInferRequest.InferInputTensor(name=name, datatype=datatype, shape=[len(values)], **more)
    field = DATATYPES[datatype].contents
    assert field is not None
    getattr(tensor.contents, field).extend(values)
    return tensor


@settings(max_examples=80)
@given(st.lists(columns, min_size=1, max_size=4))
def test_raw_contents_of_triton_s_client_are_read_as_they_were(batch: list[tuple[str, Any]]) -> None:
    request = pb.ModelInferRequest(model_name="m", id="a")
    for index, (datatype, array) in enumerate(batch):
        tensor = triton.InferInput(f"c{index}", list(array.shape), datatype).set_data_from_numpy(array)
        request.inputs.append(tensor._get_tensor())
        request.raw_input_contents.append(tensor._get_content() or b"")
    found = grpc_codec.decode_request(pb.ModelInferRequest.FromString(request.SerializeToString()))
    assert (found.id, found.outputs, found.binary_output) == ("a", None, True)
    for index, (_, array) in enumerate(batch):
        equal(found.columns[f"c{index}"], array)


@settings(max_examples=80)
@given(st.lists(columns.filter(lambda column: column[0] != "FP16"), min_size=1, max_size=4))
def test_typed_contents_are_read_as_they_were(batch: list[tuple[str, Any]]) -> None:
    request = pb.ModelInferRequest(model_name="m")
    for index, (datatype, array) in enumerate(batch):
        values = [text.encode() for text in array] if datatype == "BYTES" else array.tolist()
        request.inputs.append(typed(f"c{index}", datatype, values))
    found = grpc_codec.decode_request(pb.ModelInferRequest.FromString(request.SerializeToString()))
    assert (found.id, found.binary_output) == (None, False)
    for index, (_, array) in enumerate(batch):
        equal(found.columns[f"c{index}"], array)


@settings(max_examples=80)
@given(st.lists(columns, min_size=1, max_size=4), st.booleans())
def test_triton_s_client_reads_what_is_answered(batch: list[tuple[str, Any]], raw: bool) -> None:
    outputs = {f"c{index}": array for index, (_, array) in enumerate(batch)}
    request = InferRequest("a", {}, None, binary_output=raw)
    response = grpc_codec.encode_response(Result("m", "1", outputs), request)
    assert (response.model_name, response.model_version, response.id) == ("m", "1", "a")
    assert bool(response.raw_output_contents) == (raw or any(datatype == "FP16" for datatype, _ in batch))
    back = pb.ModelInferResponse.FromString(response.SerializeToString())
    answer = triton.InferResult(back)
    for index, (datatype, array) in enumerate(batch):
        expected = np.array([text.encode() for text in array], dtype=object) if array.dtype == object else array
        if back.raw_output_contents:
            found = answer.as_numpy(f"c{index}")
        else:
            # Triton's client can't read typed contents with numpy 2 (it forbids the copy that it needs).
            values = list(getattr(back.outputs[index].contents, str(DATATYPES[datatype].contents)))
            found = np.array(values, dtype=object if datatype == "BYTES" else array.dtype)
        assert list(found.shape) == list(back.outputs[index].shape)
        np.testing.assert_array_equal(found.astype(array.dtype), expected)


def refused(message: str, *inputs: Any, **fields: Any) -> None:
    with pytest.raises(MalformedRequest) as caught:
        grpc_codec.decode_request(pb.ModelInferRequest(inputs=inputs, **fields))
    assert message in str(caught.value)


def empty(datatype: str, rows: int = 1) -> Any:
    return pb.ModelInferRequest.InferInputTensor(name="a", datatype=datatype, shape=[rows])


def test_what_does_not_fit_together_is_told_where() -> None:
    refused("raw_input_contents: expected 1, one an input, got 2", empty("FP32"), raw_input_contents=[b"", b""])
    refused(
        "inputs[0]: expected contents or raw_input_contents, got both",
        typed("a", "FP32", [1.0]),
        raw_input_contents=[b"\0" * 4],
    )
    refused(
        "inputs[0]: column 'a': expected 4 bytes for 1 x FP32, got 3", empty("FP32"), raw_input_contents=[b"\0" * 3]
    )
    refused("inputs[0].contents.fp32_contents: expected 1 values, as shape says, got 0", empty("FP32"))
    refused("inputs[0]: FP16 has no contents of its type", empty("FP16"))
    refused("inputs[0].datatype: expected one of BOOL", empty("FP31"))
    refused("inputs[0].shape: expected [rows] or [rows, 1], got [-1]", empty("FP32", -1))
    refused("inputs[1]: there is an input 'a' already", typed("a", "FP32", [1.0]), typed("a", "FP32", [1.0]))
    refused("inputs[0].contents: column 'a', row 1: expected INT8, got 200", typed("a", "INT8", [1, 200]))
    refused("column 'a', row 0: expected UTF-8, got b'\\xff'", typed("a", "BYTES", [b"\xff"]))
    wrong = empty("FP32")
    wrong.contents.int_contents.append(1)
    refused("inputs[0].contents: expected fp32_contents for FP32, got int_contents", wrong)


def test_parameters_and_outputs_are_those_of_http() -> None:
    request = pb.ModelInferRequest(inputs=[typed("a", "FP32", [1.0])], outputs=[{"name": "score"}])
    request.parameters["timeout"].int64_param = 2_000_000
    request.parameters["other"].double_param = 1.5
    found = grpc_codec.decode_request(request)
    assert (found.timeout_seconds, found.outputs) == (2.0, ["score"])
    request.outputs[0].parameters["classification"].int64_param = 3
    with pytest.raises(MalformedRequest, match=r"outputs\[0\].parameters: 'classification' is not served"):
        grpc_codec.decode_request(request)
    with pytest.raises(MalformedRequest, match="'timeout': expected microseconds"):
        grpc_codec.decode_request(pb.ModelInferRequest(parameters={"timeout": pb.InferParameter(string_param="1")}))
    with pytest.raises(MalformedRequest, match="'timeout': has no value"):
        grpc_codec.decode_request(pb.ModelInferRequest(parameters={"timeout": pb.InferParameter()}))


def test_metadata_and_the_index_are_messages_of_the_service() -> None:
    tensors = (Tensor("a", np.dtype(np.float32), (-1,)), Tensor("b", np.dtype(object), (-1, 1)))
    found = grpc_codec.model_metadata("m", "1", ModelMetadata("onnx", tensors, tensors[:1]))
    assert [(t.name, t.datatype, list(t.shape)) for t in found.inputs] == [("a", "FP32", [-1]), ("b", "BYTES", [-1, 1])]
    assert (found.name, list(found.versions), found.platform, len(found.outputs)) == ("m", ["1"], "onnx", 1)
    assert list(grpc_codec.server_metadata("s", "2", ("x", "y")).extensions) == ["x", "y"]
    models = [("m", "1", "READY", ""), ("n", "2", "UNAVAILABLE", "why")]
    for ready, names in ((False, ["m", "n"]), (True, ["m"])):
        index = grpc_codec.repository_index(models, pb.RepositoryIndexRequest(ready=ready))
        assert [model.name for model in index.models] == names
