"""The fast JSON decoder and the careful one: they take the same documents, and a refusal names its place."""

from __future__ import annotations

import json
import re
from typing import Any

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from serve.gateway.errors import MalformedRequest
from serve.gateway.open_inference import careful, document
from serve.gateway.open_inference.datatypes import DATATYPES
from serve.gateway.open_inference.request import InferRequest, assemble, decode_request
from tests.unit.serve import tiny

PLACE = re.compile(r"the request|the body|inputs\[\d+\]|outputs\[\d+\]|^id|^model_name|^model_version")

scalars: st.SearchStrategy[Any] = (
    st.none()
    | st.booleans()
    | st.integers(-300, 300)
    | st.sampled_from([2**31, -(2**63), 2**63 - 1, 2**63, 2**64 - 1, 2**64, -(2**63) - 1, 2**53 + 1, 10**25, 10**310])
    | st.floats(allow_nan=False, allow_infinity=False)
    | st.text(max_size=4)
)
texts: dict[bool, st.SearchStrategy[Any]] = {True: st.text(max_size=6), False: scalars | st.lists(scalars, max_size=2)}


def mostly(good: st.SearchStrategy[Any]) -> st.SearchStrategy[Any]:
    """Mostly what is right; a document of many parts is then right as a whole often enough."""
    return st.one_of(*[good] * 9, scalars | st.lists(scalars, max_size=2) | st.dictionaries(st.text(), scalars))


parameters = st.dictionaries(
    st.sampled_from(["timeout", "binary_data_output", "binary_data", "binary_data_size", "classification", "other"]),
    scalars,
    max_size=2,
)


@st.composite
def inputs(draw: st.DrawFn) -> Any:
    name = draw(st.sampled_from(sorted(DATATYPES)))
    kinds = DATATYPES[name].kinds
    good = scalars.filter(lambda value: type(value) in kinds)
    data = draw(st.lists(good, max_size=3) | st.lists(scalars, max_size=3))
    return {
        "name": draw(mostly(st.text(max_size=3))),
        "datatype": draw(mostly(st.just(name))),
        "shape": draw(mostly(st.just([len(data)]) | st.just([len(data), 1]))),
        "data": draw(mostly(st.just(data) | st.just([[value] for value in data]))),
    } | draw(st.just({}) | st.fixed_dictionaries({"parameters": parameters}))


optional = {
    "id": mostly(st.text(max_size=3)),
    "outputs": mostly(
        st.lists(st.fixed_dictionaries({"name": st.text(max_size=3)}, optional={"parameters": parameters}), max_size=2)
    ),
    "parameters": mostly(parameters),
    "model_name": mostly(st.text(max_size=3)),
    "extra": scalars,
}
documents = st.fixed_dictionaries({"inputs": mostly(st.lists(inputs(), max_size=3))}, optional=optional)


def outcome(parsed: document.Document | None) -> InferRequest | str | None:
    if parsed is None:
        return None
    try:
        return assemble(parsed, None)
    except MalformedRequest as error:
        return str(error)


def same(text: bytes, *, alike: bool = False) -> None:
    """Hold both decoders against each other, and a refusal against what it must say.

    ``alike``: the careful one may take nothing more, but for matrices and integers beyond 63 bits.
    """
    fast = document.parse_fast(text)
    try:
        slow: document.Document | None = careful.parse(text)
        message = ""
    except MalformedRequest as error:
        slow, message = None, str(error)
    if fast is None:
        assert slow is not None or PLACE.search(message), message
    else:
        assert slow is not None, f"only the fast decoder takes {text!r}: {message}"
    if alike and fast is None and slow is not None:
        assert b"[[" in text.replace(b" ", b"") or re.search(rb"\d{19}", text), (
            f"only the careful decoder takes {text!r}"
        )
    if fast is not None:
        assert repr(outcome(fast)) == repr(outcome(slow))
    if isinstance(found := outcome(slow), str):
        assert PLACE.search(found), found


@settings(max_examples=150)
@given(documents)
@example({"inputs": [{"name": "a", "datatype": "UINT64", "shape": [1], "data": [2**64 - 1]}]})
@example({"inputs": [{"name": "a", "datatype": "FP64", "shape": [2, 1], "data": [[1], [2**53 + 1]]}]})
def test_both_decoders_take_the_same_documents(sent: Any) -> None:
    same(json.dumps(sent).encode(), alike=True)


@settings(max_examples=150)
@given(documents, st.data())
def test_both_decoders_take_the_same_texts(sent: Any, data: st.DataObject) -> None:
    text = bytearray(json.dumps(sent, ensure_ascii=data.draw(st.booleans())).encode("utf-8", "replace"))
    at = data.draw(st.integers(0, len(text) - 1))
    with_what = st.sampled_from(
        [b"", b'"', b"\\", b"{", b"}", b"[", b"]", b",", b":", b"0", b"-", b".", b"e9", b"null"]
    )
    more = st.sampled_from([b"\\u0061", b"\\ud800", b"\xff", b"\x00", b" ", b"NaN", b"1e400"]) | st.binary(max_size=2)
    text[at : at + data.draw(st.integers(0, 2))] = data.draw(with_what | more)
    same(bytes(text))


@pytest.mark.parametrize(
    "text",
    [
        b'{"inputs": [], "inputs": [], "id": "a", "id": "b"}',
        b'{"inp\\u0075ts": [{"n\\u0061me": "a", "shape": [1], "datatype": "BYTES", "data": ["\\u0062"]}]}',
        b'{"inputs": [{"data": [1], "name": "a", "shape": [1], "datatype": "FP32"}]}',
        b'{"inputs": [{"data": [1], "name": "a", "shape": [1], "datatype": "FP32", "datatype": "BYTES"}]}',
        b'{"inputs": [{"datatype": "FP32", "data": ["a"], "data": [-0], "name": "a", "name": "b", "shape": [1]}]}',
        b'\xef\xbb\xbf{"inputs": []}',
        b'{"inputs": []} {}',
    ],
)
def test_both_decoders_agree_on_keys_given_twice_in_escapes_and_in_any_order(text: bytes) -> None:
    same(text)


def test_integers_are_held_to_what_their_datatype_holds() -> None:
    def weight(datatype: str, value: object) -> Any:
        tensor = {"name": "a", "datatype": datatype, "shape": [1], "data": [value]}
        return decode_request(json.dumps({"inputs": [tensor]}).encode()).columns["a"]

    assert weight("UINT64", 2**64 - 1) == [2**64 - 1]
    assert weight("INT8", -128) == [-128]
    for datatype, value in (("INT8", 128), ("UINT8", -1), ("UINT64", 2**64), ("INT64", -(2**63) - 1), ("INT16", 1.0)):
        with pytest.raises(MalformedRequest, match=rf"inputs\[0\].data: column 'a', row 0: expected {datatype}, got"):
            weight(datatype, value)


def request(**more: object) -> InferRequest:
    return decode_request(json.dumps(tiny.infer_body() | more).encode())


def test_the_timeout_is_in_microseconds_and_zero_is_none() -> None:
    assert request(parameters={"timeout": 1_500_000}).timeout_seconds == 1.5
    assert request(parameters={"timeout": 0}).timeout_seconds is None
    assert request().timeout_seconds is None
    for wrong in (-1, 1.5, "1", True, 2**64):
        with pytest.raises(MalformedRequest, match="'timeout': expected microseconds"):
            request(parameters={"timeout": wrong})


def test_which_outputs_are_binary_is_the_request_s_word_unless_an_output_has_its_own() -> None:
    assert not request().is_binary("score")
    outputs = [{"name": "score", "parameters": {"binary_data": False}}, {"name": "probability"}]
    found = request(parameters={"binary_data_output": True}, outputs=outputs)
    assert [found.is_binary(name) for name in ("score", "probability")] == [False, True]


@pytest.mark.parametrize(
    ("more", "message"),
    [
        (
            {"parameters": {"a": None}},
            "the request.parameters: 'a': expected a string, a number or a boolean, got None",
        ),
        ({"parameters": {"binary_data_output": 1}}, "'binary_data_output': expected a boolean, got 1"),
        ({"outputs": [{"name": "a", "parameters": {"binary_data": "x"}}]}, "outputs[0].parameters: 'binary_data'"),
        ({"outputs": [{"name": "a", "parameters": {"classification": 3}}]}, "'classification' is not served"),
        ({"outputs": [{"name": "a", "parameters": {"b": {}}}]}, "outputs[0].parameters: 'b': expected a string"),
        ({"model_name": 3}, "model_name: expected a string, got 3"),
    ],
)
def test_parameters_that_mean_something_are_checked(more: dict[str, object], message: str) -> None:
    with pytest.raises(MalformedRequest, match=re.escape(message)):
        request(**more)


def test_what_kserve_s_client_sends_beside_the_specification_is_tolerated() -> None:
    assert request(model_name="parcels", model_version="7", id="a").id == "a"
