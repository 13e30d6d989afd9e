"""What the demo's chat does where the ingress does not answer."""

from __future__ import annotations

import httpx
import pytest

from demo import chat
from demo.processes import DemoError

URL = "http://127.0.0.1:1"


def asks(monkeypatch: pytest.MonkeyPatch, *answers: int | httpx.TransportError) -> None:
    """``GET`` has these answers, the last one ever after."""
    left = list(answers)

    def get(url: str, **_: object) -> httpx.Response:
        answer = left.pop(0) if len(left) > 1 else left[0]
        if isinstance(answer, httpx.TransportError):
            raise answer
        return httpx.Response(answer)

    monkeypatch.setattr(httpx, "get", get)


def test_a_key_is_waited_for_while_the_ingress_is_slow_or_does_not_know_it(monkeypatch: pytest.MonkeyPatch) -> None:
    asks(monkeypatch, httpx.ReadTimeout("timed out"), 401, httpx.ConnectError("refused"), 200)
    chat._wait_for_key(URL, "key")


@pytest.mark.parametrize(
    ("answer", "told"),
    [
        (401, "it answered 401"),
        (httpx.ConnectError("Connection refused"), "it did not answer (Connection refused)"),
        (httpx.ReadTimeout(""), "it did not answer (ReadTimeout)"),
    ],
)
def test_a_key_that_stays_unknown_is_one_line_that_says_what_came_instead(
    monkeypatch: pytest.MonkeyPatch, answer: int | httpx.TransportError, told: str
) -> None:
    monkeypatch.setattr(chat, "KEY_SECONDS", 0.2)
    asks(monkeypatch, answer)
    with pytest.raises(DemoError) as raised:
        chat._wait_for_key(URL, "key")
    assert str(raised.value).startswith(f"{URL}/v1/models: expected the new key to be known within 0.2 s, but {told}")
