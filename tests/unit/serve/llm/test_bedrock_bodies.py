"""Whatever body comes: what botocore would take for Converse's, or a 400 that names its place."""

from __future__ import annotations

import itertools
import json
from typing import Any

from hypothesis import given, settings
from hypothesis import strategies as st

from serve.gateway.errors import BackendError
from serve.llm.bedrock import embeddings, request
from tests.unit.serve.llm.converse import PIXEL, accepted

HI = {"role": "user", "content": "Hi"}
TITAN = "amazon.titan-embed-text-v2:0"

texts = st.text(st.characters(codec="utf-8"), max_size=8)
names = st.sampled_from(["look", "wait"])
schemas = st.just({"type": "object"}) | st.dictionaries(texts, texts | st.integers(), max_size=2)
parts = texts.map(lambda text: {"type": "text", "text": text}) | st.just(
    {"type": "image_url", "image_url": {"url": f"data:image/png;base64,{PIXEL}"}}
)
calls = st.builds(
    lambda number, name, given: {
        "id": f"t{number}",
        "type": "function",
        "function": {"name": name, "arguments": json.dumps(given)},
    },
    st.integers(0, 9),
    names,
    schemas,
)
plain = st.fixed_dictionaries({"role": st.sampled_from(["user", "system", "developer"]), "content": texts}) | (
    st.fixed_dictionaries({"role": st.just("user"), "content": st.lists(parts, max_size=3)})
)
using = st.fixed_dictionaries(
    {"role": st.just("assistant"), "content": st.none() | texts}, optional={"tool_calls": st.lists(calls, max_size=2)}
) | st.fixed_dictionaries({"role": st.just("tool"), "tool_call_id": st.just("t1"), "content": texts})
tools = names.flatmap(
    lambda name: st.fixed_dictionaries(
        {"name": st.just(name)},
        optional={"description": texts, "parameters": schemas, "strict": st.booleans()},
    )
).map(lambda function: {"type": "function", "function": function})
options: dict[str, st.SearchStrategy[Any]] = {
    "max_tokens": st.integers(1, 5000),
    "temperature": st.floats(0, 1),
    "top_p": st.floats(0, 1),
    "stop": st.just("END") | st.lists(st.just("END"), max_size=2),
    "response_format": schemas.map(lambda schema: {"type": "json_schema", "json_schema": {"schema": schema}}),
    "reasoning_effort": st.sampled_from(["low", "high"]),
    "additional_model_request_fields": st.dictionaries(st.just("thinking"), schemas, max_size=1),
    "n": st.just(1),
    "user": texts,
}


@st.composite
def good(draw: st.DrawFn) -> dict[str, Any]:
    body = draw(st.fixed_dictionaries({}, optional=options))
    said: list[Any] = [HI, *draw(st.lists(plain, max_size=3))]
    if draw(st.booleans()):
        said += draw(st.lists(plain | using, max_size=3))
        body["tools"] = draw(st.lists(tools, min_size=1, max_size=2))
        body |= draw(st.fixed_dictionaries({}, optional={"tool_choice": st.sampled_from(["auto", "required"])}))
    return {**body, "messages": said}


junk = st.recursive(
    st.none() | st.booleans() | st.integers(-3, 2**40) | st.floats() | st.text(max_size=8),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=8), inner, max_size=3),
    max_leaves=6,
)


@st.composite
def spoiled(draw: st.DrawFn) -> Any:
    """A good body with something else in one place of it, however deep, or in several."""
    body = json.loads(json.dumps(draw(good())))
    for _ in range(draw(st.integers(1, 3))):
        place: Any = body
        while True:
            keys = list(place) if isinstance(place, dict) else list(range(len(place)))
            if not keys:
                break
            key = draw(st.sampled_from(keys))
            if isinstance(place[key], dict | list) and draw(st.integers(0, 3)):
                place = place[key]
                continue
            place[key] = draw(junk)
            break
    return body


def held(asked: dict[str, Any]) -> None:
    assert accepted(asked) == ""
    json.dumps(asked, allow_nan=False)
    turns = [turn["role"] for turn in asked["messages"]]
    assert all(first != second for first, second in itertools.pairwise(turns))


@settings(max_examples=80)
@given(good())
def test_every_good_body_becomes_what_botocore_takes(body: dict[str, Any]) -> None:
    held(request.chat(body))


@settings(max_examples=120)
@given(spoiled())
def test_whatever_body_becomes_what_botocore_takes_or_a_400(body: dict[str, Any]) -> None:
    error: BackendError | None = None
    try:
        asked = request.chat(body)
    except BackendError as raised:
        error = raised
    if error is None:
        held(asked)
    else:
        assert (error.status, bool(error.param), bool(str(error))) == (400, True, True)


@settings(max_examples=80)
@given(junk | st.lists(texts, min_size=1, max_size=200), junk, junk, st.sampled_from(["cohere.embed-v4:0", TITAN]))
def test_whatever_input_becomes_calls_for_all_of_it_or_a_400(text: Any, size: Any, kind: Any, model: str) -> None:
    error: BackendError | None = None
    try:
        calls = embeddings.requests({"input": text, "dimensions": size, "input_type": kind}, model)
    except BackendError as raised:
        error = raised
    if error is not None:
        assert error.status == 400
        return
    sent = [each for call in calls for each in call.get("texts", [call.get("inputText")])]
    assert sent == ([text] if isinstance(text, str) else text)
    assert all(len(call.get("texts", [])) <= 96 for call in calls)
