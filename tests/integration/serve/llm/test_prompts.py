"""A prompt from a file to an answer: the command → MLflow → the gateway → the Bedrock stand-in, and the ledger.

``docs/prompts.md``: its commands, its program and its table are those that run here.
"""

from __future__ import annotations

import asyncio
import contextlib
import io
import os
import re
import shlex
import signal
import sqlite3
import subprocess
import sys
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from unittest import mock

import openai
import pytest
import requests

from benchmarks.ports import free_port
from serve.llm.language import Language
from serve.settings import Settings
from tests.bedrock import StandIn
from tests.documentation import ROOT, examples, shape
from tests.shell import environment
from tests.unit.serve.language import House, house, listening, until
from training.__main__ import main
from training.prompts import PromptRegistry
from training.registry import client, local_uri

pytestmark = pytest.mark.integration

PAGE = ROOT / "docs" / "prompts.md"
TEXT = PAGE.read_text(encoding="utf-8")
COMMANDS = [example for example in examples(PAGE) if example.command.startswith("python -m training")]
OWN = {"role": "user", "content": "Is it late?"}
VALUES = {"company": "Snail Mail", "language": "{{company}}"}
ALIAS_SECONDS = 0.2


@dataclass(frozen=True)
class Inn:
    house: House
    stand_in: StandIn
    ledger: Path

    def ask(self, prompt: str = "greeting@champion", variables: Any = VALUES, **more: Any) -> Any:
        body = {"prompt": prompt, "variables": variables}
        return self.house.client().chat.completions.create(
            model="small", extra_body=body, **{"messages": [OWN], **more}
        )

    def uses(self) -> list[tuple[str, ...]]:
        with sqlite3.connect(self.ledger) as database:
            return database.execute("SELECT prompt, prompt_version, ended FROM uses ORDER BY at").fetchall()


@dataclass(frozen=True)
class Project:
    """A folder with the page's files and a registry. ``say`` runs ``python -m training prompts`` there."""

    folder: Path

    @property
    def registry(self) -> str:
        return local_uri(self.folder / "mlruns")

    def say(self, *arguments: str, code: int = 0, registry: str = "") -> str:
        with (
            mock.patch.dict(os.environ, MLFLOW_TRACKING_URI=registry or self.registry),
            contextlib.chdir(self.folder),
            contextlib.redirect_stdout(io.StringIO()) as told,
            contextlib.redirect_stderr(io.StringIO()) as refused,
        ):
            assert main(["prompts", *arguments]) == code, refused.getvalue()
        return (refused if code else told).getvalue()


@pytest.fixture(scope="module")
def project(tmp_path_factory: pytest.TempPathFactory) -> Project:
    """One in which the page's commands ran; each is held to what the page shows of it."""
    made = Project(tmp_path_factory.mktemp("project"))
    for name, text in re.findall(r"`(greeting\.\w+)`:\n\n```\w+\n(.*?)^```", TEXT, re.MULTILINE | re.DOTALL):
        (made.folder / name).write_text(text)
    for example in COMMANDS:
        shown = [shape(line) for line in example.output.splitlines()]
        assert [shape(line) for line in made.say(*shlex.split(example.program)[4:]).strip().splitlines()] == shown
    return made


@contextlib.contextmanager
def serving(stand_in: StandIn, folder: Path, registry: str) -> Iterator[Inn]:
    backend = {"kind": "bedrock", "retries": 0, "endpoint": stand_in.url, "regions": ["us-west-2"]}
    settings = Settings.model_validate(
        {
            "backends": {"west": {**backend, "model": "us.amazon.nova-lite-v1:0"}},
            "language_models": {"small": {"routes": [{"backend": "west"}]}},
            "usage": {"ledger": f"sqlite:///{folder}/usage.db", "flush_seconds": 0.05},
            "prompts": {"alias_seconds": ALIAS_SECONDS},
        }
    )
    made = house(folder / "log")
    language = Language.of(settings, registry)
    loops: list[asyncio.AbstractEventLoop] = []

    async def run(*given: Any) -> Any:
        # In the server's own loop, as a replica starts it.
        if not loops:
            loops.append(asyncio.get_running_loop())
            await language.start()
        return await language.router.run(*given)

    made.plane.run = run  # type: ignore[method-assign]
    with listening(made):
        yield Inn(made, stand_in, folder / "usage.db")
        for loop in loops:
            asyncio.run_coroutine_threadsafe(language.close(), loop).result(240)


@pytest.fixture
def inn(stand_in: StandIn, tmp_path: Path, project: Project) -> Iterator[Inn]:
    project.say("promote", "greeting/1")
    with serving(stand_in, tmp_path, project.registry) as made:
        yield made


def told(inn: Inn) -> dict[str, Any]:
    """What the backend was asked last, without the request's own message."""
    body = inn.stand_in.asked[-1].body
    assert {"prompt", "variables"}.isdisjoint(body)
    assert body["messages"][-1]["content"][-1] == {"text": OWN["content"]}
    return body


def test_the_version_that_an_alias_names_answers_and_the_next_one_soon_after_it_is_promoted(
    inn: Inn, project: Project
) -> None:
    answer = inn.ask()
    assert answer.metadata == {"prompt": "greeting", "prompt_version": "1"}
    assert told(inn)["system"] == [
        # A value's braces are no variable.
        {"text": "You write for the customers of Snail Mail.\nAnswer in one sentence, in {{company}}."}
    ]
    assert "✓ greeting@champion is version 2, and was version 1" in project.say("promote", "greeting@challenger")
    time.sleep(ALIAS_SECONDS)
    stream = inn.ask(stream=True)
    assert (stream.response.headers["prompt-name"], stream.response.headers["prompt-version"]) == ("greeting", "2")
    chunks = list(stream)
    assert chunks[0].model_extra["metadata"] == {"prompt": "greeting", "prompt_version": "2"}
    assert [chunk for chunk in chunks[1:] if "metadata" in (chunk.model_extra or {})] == []
    assert "".join(chunk.choices[0].delta.content or "" for chunk in chunks) == "Hello there."
    assert [turn["role"] for turn in told(inn)["messages"]] == ["user", "assistant", "user"]
    # A version stays what it is.
    assert inn.ask("greeting/1", messages=[OWN]).metadata["prompt_version"] == "1"
    plain = inn.house.client().chat.completions.create(model="small", messages=[OWN])  # type: ignore[list-item]
    assert plain.metadata is None
    until(lambda: len(inn.uses()) == 4)
    assert inn.uses() == [
        ("greeting", "1", "done"),
        ("greeting", "2", "done"),
        ("greeting", "1", "done"),
        ("", "", "done"),
    ]


@pytest.mark.parametrize(
    ("given", "kind", "param", "code"),
    [
        ({"prompt": "greeting"}, openai.BadRequestError, "prompt", "invalid_value"),
        ({"prompt": {"id": "greeting"}}, openai.BadRequestError, "prompt", "invalid_type"),
        ({"variables": {"company": "A"}}, openai.BadRequestError, "variables.language", "missing_required_parameter"),
        ({"variables": {**VALUES, "company": 3}}, openai.BadRequestError, "variables.company", "invalid_type"),
        ({"variables": {**VALUES, "colour": "red"}}, openai.BadRequestError, "variables", "unknown_parameter"),
        (
            {"variables": {f"v{number}": "" for number in range(129)}},
            openai.BadRequestError,
            "variables",
            "object_above_max_length",
        ),
        ({"prompt": "greeting@nobody"}, openai.NotFoundError, "prompt", "prompt_not_found"),
        ({"prompt": "farewell/1"}, openai.NotFoundError, "prompt", "prompt_not_found"),
    ],
)
def test_a_mistake_is_told_as_the_page_s_table_says(
    inn: Inn, given: dict[str, Any], kind: type[openai.APIStatusError], param: str, code: str
) -> None:
    for stream in (False, True):
        with pytest.raises(kind) as found:
            inn.ask(**given, stream=stream)
        assert (found.value.param, found.value.code) == (param, code)
    assert inn.stand_in.asked == []
    named = re.sub(r"^variables\..*", "variables.NAME", param)
    status = found.value.status_code
    assert re.search(rf"^\| {status} \| `{named}` \| [^|]*`{code}`", TEXT, re.MULTILINE)


def test_the_page_s_call_and_program_print_what_it_says(inn: Inn, tmp_path: Path) -> None:
    [call] = [example for example in examples(PAGE) if example.command.startswith("curl")]
    (program,) = re.findall(r"^```python\n(.*?)^```", TEXT, re.MULTILINE | re.DOTALL)
    for command, shown in (
        (["bash", "-c", call.program.replace("localhost:8000", inn.house.url)], call.output),
        (
            [sys.executable, "-c", program.replace("http://localhost:8000", inn.house.url)],
            "Hello there.\n{'prompt': 'greeting', 'prompt_version': '1'}",
        ),
    ):
        found = subprocess.run(
            command,
            cwd=tmp_path,
            env={"PATH": os.environ["PATH"], "SERVE_KEY": "any", "NO_PROXY": "*"},
            capture_output=True,
            text=True,
            timeout=240,
            check=True,
        )
        assert found.stdout.replace("\r", "").strip() == shown
    assert inn.stand_in.asked[0].body == inn.stand_in.asked[1].body


def test_what_the_command_can_not_do_is_one_line(project: Project) -> None:
    files = {
        "latin.txt": "é".encode("latin-1"),
        "empty.txt": b" \n",
        "jinja.txt": b"{% if x %}{{x}}{% endif %}",
        "long.txt": b"x" * 100_001,
        "huge.txt": b"x" * 500_000,
        "text.yaml": b"a text",
        "none.json": b"[]",
        "roles.json": b'[{"role": "nobody", "content": "x"}]',
        "parts.json": b'[{"role": "user", "content": [{"type": "text", "text": "x"}]}]',
        "broken.json": b"[",
        "broken.yaml": b"[",
    }
    for name, data in files.items():
        (project.folder / name).write_bytes(data)
    client(project.registry).create_registered_model("a-model")
    for arguments, part in (
        ("promote greeting/9", "no prompt greeting/9 in the registry"),
        ("promote farewell@champion", "no prompt farewell@champion in the registry"),
        ("promote greeting", "'greeting': expected NAME@ALIAS or NAME/VERSION"),
        ("promote greeting/1 --alias v1", "--alias 'v1'"),
        ("promote greeting/1 --alias latest", "--alias 'latest'"),
        ("show greeting@nobody", "no prompt greeting@nobody"),
        ("show a-model@champion", "no prompt a-model@champion"),
        ("list farewell", "no prompt farewell"),
        ("add a/b greeting.txt", "'a/b' can't name a prompt"),
        ("add a-model greeting.txt", "a-model is the name of a model"),
        ("add greeting nowhere.txt", "nowhere.txt: cannot be read: No such file"),
        ("add greeting latin.txt", "latin.txt: is not UTF-8"),
        ("add greeting empty.txt", "empty.txt is empty"),
        ("add greeting jinja.txt", "a template of Jinja's"),
        ("add greeting long.txt", "has 100001 characters, expected at most 100000"),
        ("add greeting huge.txt", "is larger than 400000 bytes"),
        ("add greeting text.yaml", "expected a list of messages"),
        ("add greeting none.json", "none.json has no messages"),
        ("add greeting roles.json", "0.role: Input should be"),
        ("add greeting parts.json", "0.content: Input should be a valid string"),
        ("add greeting broken.json", "is not JSON"),
        ("add greeting broken.yaml", "is not YAML"),
        (f"add greeting greeting.txt --message {'x' * 1001}", "--message has 1001 characters"),
    ):
        told = project.say(*arguments.split(), code=2)
        assert part in told
        assert told.startswith("error: ")
        assert told.count("\n") == 1
    assert [version.version for version in PromptRegistry(project.registry).versions("greeting")] == ["2", "1"]


def test_what_others_registered_that_can_not_be_filled_is_refused_and_hides_nothing(inn: Inn, project: Project) -> None:
    registry = client(project.registry)
    registry.register_prompt("theirs", "{% if x %}{{x}}{% endif %}")
    registry.register_prompt("theirs", [{"role": "user", "content": [{"type": "text", "text": "x"}]}])
    registry.register_prompt("theirs", "Say {{x}}")
    for number, part in ((1, "Jinja"), (2, "expected a text")):
        with pytest.raises(openai.BadRequestError, match=part) as found:
            inn.ask(f"theirs/{number}", {"x": "y"})
        assert found.value.param == "prompt"
    assert inn.ask("theirs@latest", {"x": "y"}).metadata["prompt_version"] == "3"
    rows = [line.split() for line in project.say("list").splitlines()]
    assert ["theirs", "3", "-", "x"] in rows
    assert "greeting" in {row[0] for row in rows}


@contextlib.contextmanager
def mlflow_server(registry: str, folder: Path) -> Iterator[tuple[str, subprocess.Popen[bytes]]]:
    port = free_port()
    command = ["mlflow", "server", "--backend-store-uri", registry, "--artifacts-destination", str(folder)]
    process = subprocess.Popen(
        [sys.executable, "-m", *command, "--host", "127.0.0.1", "--port", str(port), "--workers", "1"],
        env=environment(),
        cwd=folder,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
        start_new_session=True,
    )
    try:
        url = f"http://127.0.0.1:{port}"
        for _ in range(2400):
            assert process.poll() is None
            with contextlib.suppress(requests.ConnectionError, requests.Timeout):
                if requests.get(f"{url}/health", timeout=5).ok:
                    break
            time.sleep(0.1)
        else:
            raise AssertionError("the server does not answer")
        yield url, process
    finally:
        with contextlib.suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGKILL)
        process.wait(120)


def test_a_server_s_prompts_go_on_being_used_when_it_is_gone(
    stand_in: StandIn, tmp_path: Path, project: Project
) -> None:
    with mlflow_server(project.registry, tmp_path) as (url, process):
        assert project.say("add", "remote", "greeting.txt", registry=url).startswith("✓ remote/1 added")
        assert "remote/1 has this text already" in project.say("add", "remote", "greeting.txt", registry=url)
        assert "no prompt remote/2 in the registry" in project.say("promote", "remote/2", code=2, registry=url)
        project.say("promote", "remote/1", registry=url)
        assert "remote" in project.say("list", registry=url)
        with serving(stand_in, tmp_path, url) as inn:
            with pytest.raises(openai.NotFoundError):
                inn.ask("remote@nobody")
            assert inn.ask("remote@champion").metadata["prompt_version"] == "1"
            os.killpg(process.pid, signal.SIGKILL)
            process.wait(120)
            time.sleep(ALIAS_SECONDS)
            assert inn.ask("remote@champion").metadata["prompt_version"] == "1"
            with pytest.raises(openai.InternalServerError) as found:
                inn.ask("remote/7")
            assert (found.value.status_code, found.value.code) == (503, "service_unavailable")
            assert url not in str(found.value)
            assert found.value.response.headers["retry-after"] == "1"
        assert "does not answer" in project.say("list", code=2, registry=url)
