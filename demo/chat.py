"""``python -m demo chat``: a small language model, served here, and a streamed chat with it by OpenAI's client."""

from __future__ import annotations

import shutil
import time
from pathlib import Path
from typing import TYPE_CHECKING

import httpx

from console import one_line, say, stage
from demo.processes import DemoError, Processes, require_free_port

if TYPE_CHECKING:
    from openai import OpenAI
    from openai.types.chat import ChatCompletionMessageParam

FOLDER = Path("build/demo-llm")
MODELS = Path("build/language-models")
SETTINGS = Path(__file__).parent / "llm.yaml"
NAME = "assistant"
KEY_LIFE = "1h"
KEY_SECONDS = 60
START_SECONDS = 300
QUESTIONS = ("What is the capital of France?", "And of Italy? Answer in one sentence.")
MOST_TOKENS = 48


def chat() -> None:
    """Fetch and convert the model once, serve it, talk to it, and show what the ledger says of it.

    Raises:
        UserError: a step did not do what it should.
    """
    from demo.language_model import small_model
    from serve.settings import KEY_VARIABLE, read_settings

    started = time.monotonic()
    settings = read_settings(SETTINGS)
    require_free_port(settings.http.port, "the ingress")
    require_free_port(settings.dashboard.port, "the Ray dashboard")
    shutil.rmtree(FOLDER, ignore_errors=True)
    small_model(MODELS)
    url = f"http://127.0.0.1:{settings.http.port}"
    processes = Processes(FOLDER / "logs", {"SERVE_SETTINGS": str(SETTINGS)})
    try:
        with processes.background("serve", "run", "serve.config") as serving:
            with stage("wait for the engine"):
                serving.wait_until_ready(f"{url}/v2/health/ready", START_SECONDS)
            create = ("python", "-m", "serve", "keys", "create", "demo", "--models", NAME, "--expires", KEY_LIFE)
            key = processes.environment[KEY_VARIABLE] = processes.secret(*create)
            _wait_for_key(url, key)
            _talk(f"{url}/v1", key)
            # The ledger is written at each flush, away from the requests.
            time.sleep(2 * settings.usage.flush_seconds + 0.5)
            processes.run("python", "-m", "serve", "usage", "--by", "model")
    finally:
        processes.require_none_left()
    say(f"\n✓ demo chat  {time.monotonic() - started:.0f} s; nothing is left running; its files are in {FOLDER}")


def _wait_for_key(url: str, key: str) -> None:
    """A new key is known within a second.

    Raises:
        DemoError: it isn't.
    """
    until = time.monotonic() + KEY_SECONDS
    headers = {"authorization": f"Bearer {key}"}
    while True:
        try:
            answer = httpx.get(f"{url}/v1/models", headers=headers, timeout=5)
        except httpx.TransportError as error:
            found = f"it did not answer ({one_line(str(error)) or type(error).__name__})"
        else:
            if answer.status_code == httpx.codes.OK:
                return
            found = f"it answered {answer.status_code}"
        if time.monotonic() > until:
            raise DemoError(
                f"{url}/v1/models: expected the new key to be known within {KEY_SECONDS} s, but {found}: see the logs "
                f"in {FOLDER / 'logs'}"
            )
        time.sleep(0.1)


def _talk(url: str, key: str) -> None:
    from openai import OpenAI, OpenAIError

    messages: list[ChatCompletionMessageParam] = []
    with OpenAI(base_url=url, api_key=key, timeout=120) as client:
        for question in QUESTIONS:
            messages.append({"role": "user", "content": question})
            say(f"\n> {question}")
            try:
                answer = _streamed(client, messages)
            except OpenAIError as error:
                raise DemoError(f"the chat failed: {error}") from error
            messages.append({"role": "assistant", "content": answer})


def _streamed(client: OpenAI, messages: list[ChatCompletionMessageParam]) -> str:
    """The answer, printed as it comes."""
    began = time.monotonic()
    first: float | None = None
    parts: list[str] = []
    stream = client.chat.completions.create(
        model=NAME,
        messages=messages,
        stream=True,
        stream_options={"include_usage": True},
        max_tokens=MOST_TOKENS,
        temperature=0,
    )
    tokens = 0
    for chunk in stream:
        if chunk.usage is not None:
            tokens = chunk.usage.completion_tokens
        text = chunk.choices[0].delta.content if chunk.choices else None
        if text:
            first = first or time.monotonic() - began
            parts.append(text)
            say(text, end="")
    seconds = time.monotonic() - began
    say("")
    say(f"  {tokens} tokens, the first after {first or seconds:.2f} s, all after {seconds:.2f} s")
    return "".join(parts)
