"""OpenAI's API as OpenAI's own client calls it: models, whole answers, and every kind of error."""

from __future__ import annotations

import asyncio
import json
import logging
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import jsonschema
import openai
import pytest

from serve.caller import Limits
from serve.dataplane import DataPlane
from serve.gateway import errors
from serve.gateway.admission import Bounds
from serve.gateway.asgi import build
from serve.gateway.openai import request
from serve.gateway.openai.request import DEEPEST
from serve.gateway.transports import transports
from tests.unit.serve.conftest import Client
from tests.unit.serve.language import ANSWERS, MESSAGES, WORDS, House, house, listening

KEY = {"authorization": "Bearer any"}
CHAT = "/v1/chat/completions"


@pytest.fixture
def inn(tmp_path: Path) -> Iterator[House]:
    with listening(house(tmp_path)) as made:
        yield made


@pytest.fixture
def local(tmp_path: Path) -> tuple[House, Client]:
    made = house(tmp_path)
    return made, Client(made.gateway)


def test_a_key_is_shown_the_models_that_it_may_use(inn: House) -> None:
    assert [model.id for model in inn.client().models.list()] == ["large", "small"]
    assert [model.id for model in inn.client("small").models.list()] == ["small"]
    assert inn.client().models.retrieve("large").object == "model"
    with pytest.raises(openai.NotFoundError) as missing:
        inn.client().models.retrieve("huge")
    assert missing.value.code == "model_not_found"
    with pytest.raises(openai.PermissionDeniedError):
        inn.client("small").models.retrieve("large")


def test_a_chat_is_answered_under_the_name_that_was_asked_for(inn: House) -> None:
    answer = inn.client().chat.completions.with_raw_response.create(
        model="small", messages=MESSAGES, temperature=0, extra_body={"top_k": 3}
    )
    parsed = answer.parse()
    assert parsed.choices[0].message.content == "".join(WORDS)
    assert parsed.model == "small"
    assert parsed.usage is not None
    assert parsed.usage.total_tokens == 10
    assert (answer.headers["model-name"], answer.headers["model-version"]) == ("small", "backend-7")
    (ran,) = inn.plane.ran
    assert ran == (
        "chat",
        {"model": "small", "messages": MESSAGES, "temperature": 0, "top_k": 3},
        answer.headers["x-request-id"],
    )


def test_completions_and_embeddings_are_answered(inn: House) -> None:
    completion = inn.client().completions.create(model="small", prompt="A parcel is", max_tokens=3)
    assert (completion.choices[0].text, completion.model) == (" late", "small")
    embeddings = inn.client().embeddings.create(model="large", input=["a", "b"], encoding_format="float")
    assert embeddings.data[0].embedding == [0.25, -0.5]
    assert [operation for operation, _, _ in inn.plane.ran] == ["completions", "embeddings"]


def test_the_async_client_is_answered_too(inn: House) -> None:
    async def ask() -> list[str | None]:
        async with openai.AsyncOpenAI(base_url=f"{inn.url}/v1", api_key="any", max_retries=0) as asynchronous:
            one = asynchronous.chat.completions.create(model="small", messages=MESSAGES)
            other = asynchronous.chat.completions.create(model="large", messages=MESSAGES)
            return [answer.model for answer in await asyncio.gather(one, other)]

    assert asyncio.run(ask()) == ["small", "large"]


@pytest.mark.parametrize(
    ("error", "raised", "kind", "code", "param"),
    [
        (
            errors.BackendError(400, "context_length_exceeded", "4097 tokens", "messages"),
            openai.BadRequestError, "invalid_request_error", "context_length_exceeded", "messages",
        ),
        (
            errors.BackendError(422, None, "what the model can't do"),
            openai.UnprocessableEntityError, "invalid_request_error", None, None,
        ),
        (
            errors.BackendError(429, "insufficient_quota", "no more"),
            openai.RateLimitError, "insufficient_quota", "insufficient_quota", None,
        ),
        (errors.BackendError(502, None, "it failed"), openai.InternalServerError, "server_error", None, None),
        (errors.BackendError(504, None, "too long"), openai.InternalServerError, "server_error", None, None),
        (
            errors.RateLimited("key any", "1 request per second", 2.5),
            openai.RateLimitError, "rate_limit_error", "rate_limit_exceeded", None,
        ),
        (
            errors.BudgetReached("key any", "$1 a day", "at midnight"),
            openai.RateLimitError, "insufficient_quota", "insufficient_quota", None,
        ),
        (errors.Unavailable("down"), openai.InternalServerError, "server_error", "service_unavailable", None),
        (
            errors.ModelNotFound("small", None, []),
            openai.NotFoundError, "invalid_request_error", "model_not_found", None,
        ),
        (ValueError("password=hunter2"), openai.InternalServerError, "server_error", None, None),
    ],
    ids=lambda value: getattr(value, "__name__", None) or (repr(value) if isinstance(value, Exception) else None),
)  # fmt: skip
def test_an_error_is_the_client_s_own_exception(
    inn: House, error: Exception, raised: type[openai.APIStatusError], kind: str, code: str | None, param: str | None
) -> None:
    inn.plane.steps = [error]
    for stream in (False, True):
        with pytest.raises(raised) as found:
            inn.client().chat.completions.create(model="small", messages=MESSAGES, stream=stream)
        assert type(found.value) is raised
        assert (found.value.type, found.value.code, found.value.param) == (kind, code, param)
        assert "hunter2" not in str(found.value)
        if isinstance(error, errors.ServeError):
            assert str(error) in str(found.value)
            assert found.value.status_code == error.status
        headers = found.value.response.headers
        if isinstance(error, errors.RateLimited):
            assert headers["retry-after"] == "3"
        if code == "insufficient_quota":
            # Its clients try each other 429 again.
            assert (headers["x-should-retry"], headers.get("retry-after")) == ("false", None)
    assert {line["reason"] for line in inn.lines()} == {
        type(error).__name__ if isinstance(error, errors.ServeError) else "InternalError"
    }


def test_who_has_no_key_or_another_model_s_is_told_so(inn: House) -> None:
    with pytest.raises(openai.AuthenticationError) as unknown:
        inn.client("nobody").chat.completions.create(model="small", messages=MESSAGES)
    assert unknown.value.code == "invalid_api_key"
    for model in ("large", "nothing"):
        with pytest.raises(openai.PermissionDeniedError):
            inn.client("small").chat.completions.create(model=model, messages=MESSAGES)
    with pytest.raises(openai.NotFoundError) as missing:
        inn.client().chat.completions.create(model="nothing", messages=MESSAGES)
    assert missing.value.code == "model_not_found"
    assert inn.plane.ran == []


def test_limits_of_keys_and_of_language_models_hold(tmp_path: Path) -> None:
    made = house(tmp_path, limits=Limits(requests_per_second=3), models={"small": Limits(requests_per_second=1)})
    local = Client(made.gateway)
    body = {"model": "small", "messages": MESSAGES}
    assert local.post(CHAT, json=body, headers=KEY).status_code == 200
    again = local.post(CHAT, json=body, headers=KEY)
    assert (again.status_code, again.json()["error"]["code"]) == (429, "rate_limit_exceeded")
    assert "model small" in again.json()["error"]["message"]
    assert local.post(CHAT, json={**body, "model": "large"}, headers=KEY).status_code == 200
    spent = local.post(CHAT, json={**body, "model": "large"}, headers=KEY)
    assert "key any" in spent.json()["error"]["message"]
    assert int(spent.headers["retry-after"]) >= 1


BODY: dict[str, Any] = {"model": "small", "messages": MESSAGES}


@pytest.mark.parametrize(
    ("path", "change", "param", "code"),
    [
        (CHAT, {"model": None}, "model", "missing_required_parameter"),
        (CHAT, {"model": 3}, "model", "invalid_type"),
        (CHAT, {"model": ""}, "model", "invalid_value"),
        (CHAT, {"model": "x" * 257}, "model", "invalid_value"),
        (CHAT, {"x" * 257: 1}, f"{'x' * 60}…", "unknown_parameter"),
        (CHAT, {"stream": "yes"}, "stream", "invalid_type"),
        (CHAT, {"stream": 1}, "stream", "invalid_type"),
        (CHAT, {"stream_options": {"include_usage": True}}, "stream_options", "invalid_value"),
        (CHAT, {"stream": True, "stream_options": True}, "stream_options", "invalid_type"),
        (
            CHAT, {"stream": True, "stream_options": {"include_usage": 1}},
            "stream_options.include_usage", "invalid_type",
        ),
        (CHAT, {"messages": MESSAGES * 2049}, "messages", "array_above_max_length"),
        (CHAT, {"stop": list("abcde")}, "stop", "array_above_max_length"),
        (CHAT, {"tools": [{}] * 129}, "tools", "array_above_max_length"),
        (CHAT, {"logit_bias": {str(n): 1 for n in range(1025)}}, "logit_bias", "object_above_max_length"),
        (CHAT, {"n": 129}, "n", "integer_above_max_value"),
        (CHAT, {"n": -1}, "n", "integer_below_min_value"),
        (CHAT, {"n": 1.5}, "n", "invalid_type"),
        (CHAT, {"n": True}, "n", "invalid_type"),
        (CHAT, {"top_logprobs": -1}, "top_logprobs", "integer_below_min_value"),
        ("/v1/completions", {"best_of": 21}, "best_of", "integer_above_max_value"),
        ("/v1/completions", {"prompt": ["a"] * 129}, "prompt", "array_above_max_length"),
        ("/v1/completions", {"prompt": [[1]] * 129}, "prompt", "array_above_max_length"),
        ("/v1/embeddings", {"input": ["a"] * 2049}, "input", "array_above_max_length"),
        ("/v1/embeddings", {"input": "a", "stream": True}, "stream", "unsupported_parameter"),
    ],
)  # fmt: skip
def test_what_can_be_seen_to_be_wrong_never_gets_to_a_backend(
    local: tuple[House, Client], path: str, change: dict[str, Any], param: str, code: str
) -> None:
    made, asking = local
    response = asking.post(path, json={**BODY, **change}, headers=KEY)
    error = response.json()["error"]
    assert (response.status_code, error["param"], error["code"]) == (400, param, code)
    assert error["type"] == "invalid_request_error"
    assert error["message"].startswith(param)
    assert made.plane.ran == []


@pytest.mark.parametrize(
    "change",
    [
        {"stop": list("abcd"), "n": 128, "stream": None, "stream_options": None, "top_logprobs": 0},
        {"stream": False, "messages": MESSAGES * 2048},
        {"messages": [], "temperature": "hot", "n": 0, "stop": 7},
    ],
)
def test_what_is_for_a_backend_to_judge_gets_to_it(local: tuple[House, Client], change: dict[str, Any]) -> None:
    made, asking = local
    assert asking.post(CHAT, json={**BODY, **change}, headers=KEY).status_code == 200
    (_, body, _) = made.plane.ran[0]
    assert body == {name: value for name, value in {**BODY, **change}.items() if not name.startswith("stream")}


def test_the_tokens_of_one_text_may_be_many(local: tuple[House, Client]) -> None:
    _, asking = local
    for path, name in (("/v1/completions", "prompt"), ("/v1/embeddings", "input")):
        body = {"model": "small", name: list(range(5000))}
        assert asking.post(path, json=body, headers=KEY).status_code == 200


def nested(depth: int) -> bytes:
    return b'{"model": "small", "x": ' + b"[" * (depth - 1) + b"]" * (depth - 1) + b"}"


def many(value: str, count: int) -> bytes:
    return f'{{"model": "small", "metadata": [{",".join([value] * count)}]}}'.encode()


@pytest.mark.parametrize(
    ("content", "media_type", "said"),
    [
        (b"{", "application/json", "not JSON"),
        (b"", "application/json", "not JSON"),
        (b'{"model": "\xff"}', "application/json", "not JSON"),
        (b'{"model": NaN}', "application/json", "not JSON"),
        (b"[]", "application/json", "expected an object"),
        (b"null", "application/json", "expected an object"),
        (nested(DEEPEST + 1), "application/json", "within each other"),
        (b"[" * 1020 + b"]" * 1020, "application/json", "within each other"),
        (b"[" * 5000 + b"]" * 5000, "application/json", "not JSON"),
        (json.dumps(BODY).encode(), "text/plain", "content-type 'text/plain'"),
        (json.dumps(BODY).encode("utf-16"), "application/json; charset=utf-16", "not JSON"),
    ],
)
def test_a_body_that_is_no_request_is_a_400_in_openai_s_shape(
    local: tuple[House, Client], content: bytes, media_type: str, said: str
) -> None:
    made, asking = local
    response = asking.post(CHAT, content=content, headers={**KEY, "content-type": media_type})
    assert response.status_code == 400
    assert response.json()["error"].keys() == {"message", "type", "param", "code"}
    assert said in response.json()["error"]["message"]
    assert made.plane.ran == []


def test_a_body_as_deep_as_may_be_and_a_large_one_are_read(local: tuple[House, Client]) -> None:
    made, asking = local
    json_type = {**KEY, "content-type": "application/json"}
    assert asking.post(CHAT, content=nested(DEEPEST), headers=json_type).status_code == 200
    large = {**BODY, "user": "x" * 600_000}
    assert asking.post(CHAT, json=large, headers=KEY).status_code == 200
    assert made.plane.ran[-1][1] == large


@pytest.mark.parametrize(
    ("value", "most"), [("1", 300), ("null", 300), ("[]", 100), ('"a"', 100), ('{"a":1}', 50), ("[[1]]", 50)]
)
def test_a_body_of_more_values_than_can_be_looked_at_at_once_is_a_400(
    local: tuple[House, Client], monkeypatch: pytest.MonkeyPatch, value: str, most: int
) -> None:
    monkeypatch.setattr(request, "MOST_NUMBERS", 300)
    # And the body's own: its array of metadata, and two names.
    monkeypatch.setattr(request, "MOST_VALUES", 105)
    made, asking = local
    json_type = {**KEY, "content-type": "application/json"}
    assert asking.post(CHAT, content=many(value, most), headers=json_type).status_code == 200
    response = asking.post(CHAT, content=many(value, most + 5), headers=json_type)
    assert response.status_code == 400
    assert "expected at most" in response.json()["error"]["message"]
    assert len(made.plane.ran) == 1


def test_paths_and_methods_that_are_not_there_have_openai_s_shape(local: tuple[House, Client]) -> None:
    _, asking = local
    for method, path, status in (("GET", "/v1/files", 404), ("GET", CHAT, 405), ("POST", "/v1/models", 405)):
        response = asking.request(method, path, headers=KEY)
        assert (response.status_code, list(response.json()["error"])) == (status, ["message", "type", "param", "code"])


def test_an_id_that_the_client_chose_names_each_of_its_requests(local: tuple[House, Client]) -> None:
    made, asking = local
    for _ in range(2):
        response = asking.post(CHAT, json=BODY, headers={**KEY, "x-request-id": "mine"})
        assert response.headers["x-request-id"] == "mine"
    assert [request_id for _, _, request_id in made.plane.ran] == ["mine", "mine"]


def test_a_model_that_a_key_may_not_use_is_not_named_to_it(local: tuple[House, Client]) -> None:
    made, asking = local
    made.plane.models = ("small", "secret")
    response = asking.get("/v1/models/small-2", headers={"authorization": "Bearer small"})
    assert response.status_code == 403
    made.plane.models = ("secret",)
    missing = asking.post(CHAT, json=BODY, headers={"authorization": "Bearer small"})
    assert missing.status_code == 404
    assert "secret" not in missing.text


def test_without_language_models_nothing_of_it_is_there(plane: DataPlane) -> None:
    asking = Client(build(plane, transports(docs=True), Bounds(1000, 5)))
    assert asking.get("/v1/models").status_code == 404
    assert "/v1/models" not in asking.get("/openapi.json").json()["paths"]
    none = Client(build(plane, transports(docs=True, language=True), Bounds(1000, 5)))
    assert none.get("/v1/models").json() == {"object": "list", "data": []}
    assert none.post(CHAT, json=BODY).status_code == 404
    assert CHAT in none.get("/openapi.json").json()["paths"]
    assert "Continue a conversation" in none.get("/docs").text


@pytest.mark.parametrize(
    ("method", "path", "content"),
    [
        ("GET", "/v1/models", None),
        ("GET", "/v1/models/{model}", None),
        ("POST", CHAT, {"model": "small", "messages": MESSAGES, "stop": ["a"], "n": 2}),
        ("POST", CHAT, {"model": "small", "messages": MESSAGES, "stream": "yes"}),
        ("POST", "/v1/completions", {"model": "small", "prompt": ["A"]}),
        ("POST", "/v1/completions", {"model": "nothing"}),
        ("POST", "/v1/embeddings", {"model": "small", "input": "A", "encoding_format": "float"}),
    ],
)
def test_requests_and_answers_are_what_the_description_says(
    local: tuple[House, Client], method: str, path: str, content: object
) -> None:
    _, asking = local
    document = asking.get("/openapi.json").json()

    def validate(schema: object, value: object) -> None:
        whole = {"components": document["components"], "allOf": [schema]}
        jsonschema.Draft202012Validator(whole).validate(value)

    options = {} if content is None else {"json": content}
    response = asking.request(method, path.format(model="small"), headers=KEY, **options)
    operation = document["paths"][path][method.lower()]
    answer = operation["responses"][str(response.status_code)]
    if "$ref" in answer:
        answer = document["components"]["responses"][answer["$ref"].rpartition("/")[2]]
    elif content is not None:
        validate(operation["requestBody"]["content"]["application/json"]["schema"], content)
    validate(answer["content"]["application/json"]["schema"], response.json())


def test_each_request_is_counted_and_logged(local: tuple[House, Client]) -> None:
    made, asking = local
    answer = asking.post(CHAT, json=BODY, headers=KEY)
    (counted,) = made.served
    assert (counted.protocol, counted.model, counted.version, counted.code) == ("openai", "small", "backend-7", "200")
    (line,) = made.lines()
    assert (line["caller"], line["model"], line["bytes_out"]) == ("k1", "small", len(answer.content))


def test_a_failure_of_ours_is_in_the_log(local: tuple[House, Client], caplog: pytest.LogCaptureFixture) -> None:
    made, asking = local
    made.plane.steps = [ValueError("password=hunter2")]
    with caplog.at_level(logging.ERROR, "ray.serve"):
        response = asking.post(CHAT, json=BODY, headers=KEY)
    assert response.status_code == 500
    assert "hunter2" in caplog.text
    assert "hunter2" not in response.text
    assert ANSWERS["chat"]["model"] not in response.text
