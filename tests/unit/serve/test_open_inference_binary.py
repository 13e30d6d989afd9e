"""Binary tensors, held against Triton's own client in both directions, and against bodies that lie."""

from __future__ import annotations

import json
import random
import struct
from typing import Any

import numpy as np
import pytest
import tritonclient.http as triton
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays_of

from serve.dataplane import Result
from serve.gateway.errors import InputRejected, MalformedRequest
from serve.gateway.open_inference import binary as tensors
from serve.gateway.open_inference.datatypes import DATATYPES, OF_DTYPE
from serve.gateway.open_inference.request import InferRequest, decode_request
from serve.gateway.open_inference.response import encode_response
from serve.validation import InputSchema, Texts
from tests.unit.serve import tiny
from tests.unit.serve.conftest import Client

INFER = f"/v2/models/{tiny.NAME}/infer"
LENGTH = "inference-header-content-length"

DTYPES: dict[str, np.dtype[Any]] = {name: dtype for dtype, name in OF_DTYPE.items()}
columns = st.sampled_from(sorted(DTYPES.keys() - {"BYTES"})).flatmap(
    lambda name: arrays_of.arrays(DTYPES[name], st.integers(0, 20)).map(lambda array: (name, array))
) | st.lists(st.text(max_size=5), max_size=20).map(lambda texts: ("BYTES", np.array(texts, dtype=object)))


def sent(columns: list[tuple[str, Any]], binary: list[bool], **options: Any) -> tuple[bytes, int | None]:
    inputs = []
    for index, ((datatype, array), as_binary) in enumerate(zip(columns, binary, strict=True)):
        tensor = triton.InferInput(f"c{index}", list(array.shape), datatype)
        inputs.append(tensor.set_data_from_numpy(array, binary_data=as_binary))
    body, length = triton.InferenceServerClient.generate_request_body(inputs, **options)
    return bytes(body), length


def equal(found: Any, expected: Any) -> None:
    np.testing.assert_array_equal(np.asarray(found, dtype=expected.dtype), expected)


@settings(max_examples=100)
@given(st.lists(st.tuples(columns, st.booleans()), max_size=4))
def test_what_triton_s_client_sends_is_read_as_it_was(batch: list[tuple[tuple[str, Any], bool]]) -> None:
    # JSON has no NaN, so that Triton's client can't send one in it.
    plain = [(column, binary or column[1].dtype.kind == "f") for column, binary in batch]
    body, length = sent([column for column, _ in plain], [binary for _, binary in plain])
    request = decode_request(body, length)
    assert request.binary_output
    for index, (_, array) in enumerate(column for column, _ in plain):
        equal(request.columns[f"c{index}"], array)


def test_bfloat16_is_the_upper_half_of_a_float32() -> None:
    numbers = np.array([1.0, -2.5, np.inf, np.nan, 3.140625], dtype=np.float32)
    raw = (numbers.view(np.uint32) >> 16).astype("<u2").tobytes()
    tensor = {"name": "a", "datatype": "BF16", "shape": [5], "parameters": {"binary_data_size": len(raw)}}
    header = json.dumps({"inputs": [tensor]}).encode()
    found = decode_request(header + raw, len(header)).columns["a"]
    assert isinstance(found, np.ndarray)
    np.testing.assert_array_equal(found, numbers)


@settings(max_examples=100)
@given(st.lists(st.tuples(columns, st.booleans()), max_size=4))
def test_triton_s_client_reads_what_is_answered(batch: list[tuple[tuple[str, Any], bool]]) -> None:
    plain = [(column[1], binary or column[1].dtype.kind == "f") for column, binary in batch]
    outputs = {f"c{index}": array for index, (array, _) in enumerate(plain)}
    request = InferRequest("a", {}, None, None, False, {f"c{i}": binary for i, (_, binary) in enumerate(plain)})
    body, length = encode_response(Result("m", "1", outputs), request)
    assert (length is None) == (not any(binary for _, binary in plain))
    answer = triton.InferResult.from_response_body(body, header_length=length)
    assert answer.get_response()["id"] == "a"
    for name, array in outputs.items():
        found = answer.as_numpy(name)
        if array.dtype == object and found.dtype != object:
            found = found.astype(object)
        expected = (
            [text.encode() if request.is_binary(name) else text for text in array] if array.dtype == object else array
        )
        np.testing.assert_array_equal(found, np.array(expected, dtype=array.dtype))


def test_an_array_in_another_order_of_bytes_or_axes_goes_out_little_endian_by_rows() -> None:
    array = np.asfortranarray(np.arange(6, dtype=np.float32).reshape(2, 3))
    body, length = encode_response(Result("m", "1", {"a": array}), InferRequest(None, {}, None, binary_output=True))
    assert struct.unpack("<6f", body[length:]) == (0, 1, 2, 3, 4, 5)


def as_arrays() -> list[tuple[str, Any]]:
    found = []
    for name, values in tiny.columns().items():
        if name in ("zone", "depot"):
            found.append(("BYTES", np.array([value or "" for value in values], dtype=object)))
        else:
            found.append(("FP32", np.array([np.nan if v is None else v for v in values], dtype=np.float32)))
    return found


def tiny_body(binary: tuple[bool, ...] = (True,) * 4, **options: Any) -> tuple[bytes, int | None]:
    body, length = sent(as_arrays(), list(binary), **options)
    assert length is not None
    for index, name in enumerate(tiny.FEATURES):
        body = body.replace(f'"c{index}"'.encode(), f'"{name}"'.encode())
        length += len(name) - 2
    return body, length


def test_a_binary_request_is_answered_in_binary_over_the_application(client: Client) -> None:
    body, length = tiny_body((True, False, True, True), request_id="mine")
    headers = {LENGTH: str(length), "content-type": "application/octet-stream"}
    response = client.post(INFER, content=body, headers=headers)
    assert response.status_code == 200, response.text
    assert response.headers["content-type"] == "application/octet-stream"
    answer = triton.InferResult.from_response_body(response.content, header_length=int(response.headers[LENGTH]))
    np.testing.assert_allclose(answer.as_numpy("probability"), tiny.expected(), rtol=1e-6)
    assert answer.get_response()["id"] == "mine"


def test_an_output_may_be_asked_for_as_json_or_as_binary(client: Client) -> None:
    wanted = [triton.InferRequestedOutput("score", binary_data=False), triton.InferRequestedOutput("probability")]
    body, length = tiny_body(outputs=wanted)
    response = client.post(INFER, content=body, headers={LENGTH: str(length)})
    answer = json.loads(response.content[: int(response.headers[LENGTH])])
    assert [sorted(output) for output in answer["outputs"]] == [
        ["data", "datatype", "name", "shape"],
        ["datatype", "name", "parameters", "shape"],
    ]
    body, length = tiny_body(outputs=wanted[:1])
    response = client.post(INFER, content=body, headers={LENGTH: str(length)})
    assert response.headers["content-type"] == "application/json"
    assert LENGTH not in response.headers


@pytest.mark.parametrize("length", ["", "-1", "x", "1.5", "9" * 30, "5000"])
def test_the_header_s_length_is_a_number_within_the_body(client: Client, length: str) -> None:
    response = client.post(INFER, content=tiny_body()[0], headers={LENGTH: length})
    assert response.status_code == 400
    assert f"{LENGTH}: expected a number of bytes" in response.json()["error"]


def tensor(datatype: str, shape: list[int], size: object, **more: object) -> dict[str, object]:
    return {"name": "a", "datatype": datatype, "shape": shape, "parameters": {"binary_data_size": size}} | more


FP32 = DATATYPES["FP32"]


@pytest.mark.parametrize(
    ("inputs", "rest", "message"),
    [
        ([tensor("FP32", [2], 4)], b"\0" * 4, "inputs[0]: column 'a': expected 8 bytes for 2 x FP32, got 4"),
        ([tensor("FP32", [1], 5)], b"\0" * 5, "inputs[0]: column 'a': expected 4 bytes for 1 x FP32, got 5"),
        ([tensor("FP32", [2**62], 8)], b"\0" * 8, "inputs[0]: column 'a': expected"),
        ([tensor("FP32", [2], 8)], b"\0" * 4, "binary_data_size: expected a number of bytes, 4 of which are left"),
        ([tensor("FP32", [1], -4)], b"\0" * 4, "inputs[0].parameters.binary_data_size"),
        ([tensor("FP32", [1], 2**62)], b"\0" * 4, "inputs[0].parameters.binary_data_size"),
        ([tensor("FP32", [1], 4.0)], b"\0" * 4, "inputs[0].parameters.binary_data_size"),
        ([tensor("FP32", [1], True)], b"\0", "inputs[0].parameters.binary_data_size"),
        ([tensor("FP32", [1], "4")], b"\0" * 4, "inputs[0].parameters.binary_data_size"),
        ([tensor("FP32", [1], 4, data=[1.0])], b"\0" * 4, "expected data or parameters.binary_data_size, got both"),
        ([tensor("FP32", [1], 4)], b"\0" * 5, "the body: 1 bytes follow that are no input's"),
        ([tensor("FP32", [1, 2], 8)], b"\0" * 8, "inputs[0].shape: expected [rows] or [rows, 1], got [1, 2]"),
        ([tensor("FP32", [1], 4)] * 2, b"\0" * 8, "inputs[1]: there is an input 'a' already"),
        ([tensor("BOOL", [3], 3)], b"\0\1\2", "column 'a', row 2: expected a byte 0 or 1, got 2"),
        (
            [tensor("BYTES", [2], 9)],
            b"\1\0\0\0x\xff\0\0\0",
            "column 'a', row 1: expected a length and a string within 9",
        ),
        ([tensor("BYTES", [1], 4)], b"\xff" * 4, "column 'a', row 0: expected a length and a string"),
        ([tensor("BYTES", [2**62], 4)], b"\0" * 4, "column 'a': expected at least"),
        ([tensor("BYTES", [2], 10)], b"\2\0\0\0\xc3\xbc\0\0\0\0"[:10], ""),
        ([tensor("BYTES", [1], 6)], b"\2\0\0\0\xff\xfe", "column 'a', row 0: expected UTF-8, got b'\\xff\\xfe'"),
        ([tensor("BYTES", [1], 6)], b"\1\0\0\0xy", "column 'a': expected 5 bytes for 1 x BYTES, got 6"),
        ([{"name": "a", "datatype": "FP32", "shape": [1]}], b"", "inputs[0].data: is missing"),
    ],
)
def test_sizes_are_held_against_the_shape_and_the_body(inputs: list[object], rest: bytes, message: str) -> None:
    header = json.dumps({"inputs": inputs}).encode()
    if not message:
        assert decode_request(header + rest, len(header)).columns["a"] == ["ü", ""]
        return
    with pytest.raises(MalformedRequest) as caught:
        decode_request(header + rest, len(header))
    assert message in str(caught.value)


def test_binary_data_without_its_header_is_told_so() -> None:
    body = json.dumps({"inputs": [tensor("FP32", [1], 4)]}).encode()
    with pytest.raises(MalformedRequest, match=r"inputs\[0\]: binary data needs the header"):
        decode_request(body)


def test_a_body_that_was_corrupted_raises_nothing_but_the_client_s_errors() -> None:
    schema = InputSchema(tiny.NAME, tiny.contract(), 500)
    body, length = tiny_body()
    assert length is not None
    chance = random.Random(20)
    refused = 0
    for _ in range(2000):
        bad = bytearray(body)
        for _ in range(chance.randint(1, 3)):
            at = chance.randrange(len(bad))
            if chance.random() < 0.7:
                bad[at] = chance.choice((chance.randrange(256), ord(str(chance.randrange(10)))))
            else:
                del bad[at : at + chance.randint(1, 5)]
        try:
            schema.arrays(
                decode_request(bytes(bad), chance.choice((length, length, min(length + 1, len(bad)), 0))).columns
            )
        except (MalformedRequest, InputRejected):
            refused += 1
    assert refused > 1000


MANY = tensors.MANY_ROWS + 3
KINDS: dict[str, list[str]] = {
    "codes": ["AA", "B6", "DL", "\0\0"],
    "one byte apart": [f"{'x' * place}{letter}{'x' * (20 - place)}" for place in range(21) for letter in "yz"],
    "a prefix of another": ["a" * length for length in range(1, 30)],
    "with empty ones": ["", "a", "Turbo-fan", ""],
    "nothing but empty": [""],
    "with NULs": ["a", "a\0", "\0\0\0", "\0\0\0a", "", "\1\0\0\0"],
    "beyond ASCII": ["ü", "日本", "naïve 🛫", "u"],
    "all different": [f"{number}" for number in range(MANY)],
    "some of 255 bytes": ["x" * 255, "x" * 254, *"abcdefgh"],
    "some of 256 bytes": ["x" * 256, *"abcdefgh"],
    "long": ["x" * 70, "y" * 200],
}

BEFORE, BEHIND = b"\xff" * 3, b"\xff" * 5


def careful(raw: bytes, rows: int) -> list[str] | str:
    try:
        return tensors._any_texts(BEFORE + raw + BEHIND, 3, 3 + len(raw), "a", rows, "inputs[0]")
    except MalformedRequest as error:
        return str(error)


def found(raw: bytes, rows: int) -> list[str] | str:
    try:
        values = tensors.decode(BEFORE + raw + BEHIND, 3, 3 + len(raw), "a", DATATYPES["BYTES"], rows, "inputs[0]")
    except MalformedRequest as error:
        return str(error)
    texts = list(values)
    if isinstance(values, Texts):
        assert {type(text) for text in texts} == {str}
        assert max(map(len, texts)) <= values.longest
    return [str(text) for text in texts]


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("rows", [1, 20, MANY])
def test_strings_are_read_alike_whichever_way_they_go(kind: str, rows: int) -> None:
    chance = random.Random(rows)
    texts = [chance.choice(KINDS[kind]) for _ in range(rows)]
    assert found(tensors.encode_texts(texts), rows) == texts


def test_the_ways_of_codes_and_of_short_strings_are_taken() -> None:
    for kind in ("codes", "with empty ones", "with NULs", "all different", "some of 255 bytes"):
        chance = random.Random(1)
        raw = tensors.encode_texts([chance.choice(KINDS[kind]) for _ in range(MANY)])
        assert isinstance(tensors.decode(raw, 0, len(raw), "a", DATATYPES["BYTES"], MANY, ""), Texts), kind


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("rows", [1, 20, MANY])
def test_corrupted_strings_are_refused_as_the_careful_way_refuses_them(kind: str, rows: int) -> None:
    chance = random.Random(rows)
    good = tensors.encode_texts([chance.choice(KINDS[kind]) for _ in range(rows)])
    refused = 0
    for _ in range(150):
        bad = bytearray(good)
        for _ in range(chance.randint(1, 2)):
            at = chance.randrange(len(bad))
            bad[at] = chance.choice((0, 1, 4, 0x80, 0xC3, 255, chance.randrange(256), bad[at] ^ 1))
        if chance.random() < 0.2:
            bad += bytes(chance.randint(1, 9))
        expected = careful(bytes(bad), rows)
        refused += isinstance(expected, str)
        assert found(bytes(bad), rows) == expected
    assert refused > 10


@pytest.mark.filterwarnings("ignore:overflow")
def test_strings_whose_hashes_share_a_slot_are_not_taken_for_each_other(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(tensors, "SLOT_MASK", np.uint64(0))
    for kind, texts in KINDS.items():
        chance = random.Random(2)
        batch = [chance.choice(texts) for _ in range(MANY)]
        assert found(tensors.encode_texts(batch), MANY) == batch, kind


@settings(max_examples=200)
@given(
    st.lists(st.tuples(st.sampled_from(["FP32", "FP64", "BOOL"]), st.integers(0, 4), st.integers(-1, 17)), max_size=5),
    st.integers(0, 3),
    st.integers(0, 40),
)
def test_the_usual_way_of_float32_tells_what_the_careful_one_does(
    inputs: list[tuple[str, int, int]], blanks: int, left: int
) -> None:
    described = [
        tensor(datatype, [rows], size if size < 0 or size > 12 else rows * DATATYPES[datatype].wire.itemsize)  # type: ignore[union-attr]
        | {"name": f"c{index}"}
        for index, (datatype, rows, size) in enumerate(inputs)
    ]
    header = json.dumps({"inputs": described}).encode() + b" " * blanks
    body = header + bytes(left // 4) + np.arange(left % 11, dtype=np.float32).tobytes()

    def outcome() -> list[tuple[str, list[object]]] | str:
        try:
            columns = decode_request(body, len(header)).columns
        except MalformedRequest as error:
            return str(error)
        return [(str(np.asarray(values).dtype), [*map(str, values)]) for values in columns.values()]

    usual = outcome()
    with pytest.MonkeyPatch.context() as patched:
        patched.setattr(tensors.BinaryData, "floats", lambda *_: None)
        assert outcome() == usual
