"""Bedrock's errors, by their names, their texts and their statuses."""

from __future__ import annotations

import json
import logging
import pickle

import pytest
from hypothesis import given
from hypothesis import strategies as st

from serve.gateway.errors import BackendError, ServeError, Unavailable
from serve.llm.bedrock import errors
from serve.llm.bedrock.errors import Again, CredentialsRefused, NotReached


def said(name: str, message: str = "why", status: int = 400) -> ServeError:
    return errors.refused(
        "eu-west-1", status, {"x-amzn-errortype": name}, json.dumps({"message": message}).encode()
    ).error


@pytest.mark.parametrize(
    "message",
    [
        "Input is too long for requested model.",
        "The model returned the following errors: prompt is too long: 210000 tokens > 200000 maximum",
        "This model's maximum context length is 8192 tokens.",
        "input length and `max_tokens` exceed context limit: the request exceeds 200000 tokens",
    ],
)
def test_a_prompt_that_is_too_long_is_told_by_openais_code(message: str) -> None:
    error = said("ValidationException", message)
    assert (error.status, error.openai_code, str(error)) == (400, "context_length_exceeded", message)


def test_a_model_that_is_none_is_not_found() -> None:
    error = said("ValidationException", "The provided model identifier is invalid.")
    assert (error.status, error.openai_code) == (404, "model_not_found")


@pytest.mark.parametrize(
    "name", ["ThrottlingException", "throttlingException", "ThrottlingException:http://a/b", "Throttling"]
)
def test_a_name_is_known_in_each_of_its_spellings(name: str) -> None:
    failure = errors.refused("r", 400, {"x-amzn-errortype": name}, b"")
    assert (failure.error.status, failure.again) == (429, Again.HERE)
    by_body = errors.refused("r", 400, {}, json.dumps({"__type": f"com.amazon#{name.split(':')[0]}"}).encode())
    assert by_body.error.status == 429


def test_what_speaks_of_us_is_for_the_log_alone(caplog: pytest.LogCaptureFixture) -> None:
    secret = "User: arn:aws:sts::123456789012:assumed-role/ours is not authorized"
    with caplog.at_level(logging.WARNING, "ray.serve"):
        for name in ("AccessDeniedException", "UnrecognizedClientException", "ServiceQuotaExceededException"):
            assert "123456789012" not in str(said(name, secret, 403))
    assert caplog.text.count(secret) == 3


@pytest.mark.parametrize(
    ("status", "wanted"),
    [(400, 400), (403, 403), (404, 404), (408, 504), (424, 502), (429, 429), (500, 503), (507, 503)],
)
def test_an_error_without_a_name_has_a_status(status: int, wanted: int) -> None:
    assert errors.refused("r", status, {}, b"<html>").error.status == wanted


@given(st.text(max_size=30), st.text(max_size=600), st.integers(300, 599), st.binary(max_size=30))
def test_whatever_comes_is_an_error_of_ours(name: str, message: str, status: int, body: bytes) -> None:
    for content in (body, json.dumps({"message": message}).encode(), json.dumps([message]).encode()):
        error = errors.refused("r", status, {"x-amzn-errortype": name}, content).error
        assert isinstance(error, BackendError | Unavailable)
        assert 400 <= error.status < 600
        assert 0 < len(str(error)) < 600


@pytest.mark.parametrize(
    "error",
    [NotReached("eu-west-1", "no"), CredentialsRefused(), errors.failure("r", "ThrottlingException", "no").error],
)
def test_an_error_survives_the_way_between_processes(error: ServeError) -> None:
    came = pickle.loads(pickle.dumps(error))
    assert (type(came), str(came), came.status) == (type(error), str(error), error.status)
