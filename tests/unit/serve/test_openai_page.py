"""``docs/llm.md``: what it says of calling a language model is so."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import openai
import pytest

from serve.gateway.errors import (
    BodyTooLarge,
    BudgetReached,
    Forbidden,
    ModelNotFound,
    RateLimited,
    RequestTimeout,
    ServeError,
    Unauthenticated,
    Unavailable,
)
from serve.gateway.openai.problem import error_body
from serve.gateway.openai.request import DEEPEST, HIGHEST, LONGEST, MOST_NUMBERS, MOST_VALUES
from serve.llm.prompts.lookup import PromptNotFound
from tests.documentation import ROOT, Example, examples
from tests.unit.serve.language import WORDS, House, chat_chunks, house, listening

PAGE = ROOT / "docs" / "llm.md"
TEXT = PAGE.read_text(encoding="utf-8")
CALLS = [example for example in examples(PAGE) if "/v1/" in example.command]


@pytest.fixture
def inn(tmp_path: Path) -> Iterator[House]:
    with listening(house(tmp_path)) as made:
        made.plane.models = ("small",)
        made.plane.steps = chat_chunks()
        yield made


def environment(inn: House) -> dict[str, str]:
    return {"PATH": os.environ["PATH"], "SERVE_KEY": "any", "NO_PROXY": "*"}


@pytest.mark.parametrize("example", CALLS, ids=lambda example: example.command.splitlines()[-1].strip()[:60])
def test_a_call_of_the_page_prints_what_the_page_shows(example: Example, inn: House) -> None:
    command = example.program.replace("http://localhost:8000", inn.url).replace("localhost:8000", inn.url)
    found = subprocess.run(
        ["bash", "-c", command], env=environment(inn), capture_output=True, text=True, timeout=60, check=True
    )
    if '"stream": true' in command:
        assert found.stdout.endswith("data: [DONE]\n\n")
    elif example.output:
        assert json.loads(found.stdout) == json.loads(example.output)
    else:
        assert json.loads(found.stdout)["choices"]


def test_the_page_s_program_prints_the_answer_and_what_it_took(inn: House) -> None:
    (program,) = re.findall(r"^```python\n(.*?)^```", TEXT, re.MULTILINE | re.DOTALL)
    program = program.replace("http://localhost:8000", inn.url)
    found = subprocess.run(
        [sys.executable, "-c", program],
        env={**environment(inn), "PYTHONIOENCODING": "utf-8"},
        capture_output=True,
        encoding="utf-8",
        timeout=60,
        check=True,
    )
    assert found.stdout == "".join(WORDS) + "\n10 tokens\n"


def rows(title: str) -> list[list[str]]:
    section = re.split(r"^#+ ", TEXT, flags=re.MULTILINE)
    (found,) = [part for part in section if part.startswith(f"{title}\n")]
    return [
        [cell.strip() for cell in line.strip("|").split("|")]
        for line in found.splitlines()
        if line.startswith("|") and not line.startswith("|---")
    ][1:]


def raised(status: int, body: object) -> str:
    """The name of what OpenAI's client raises."""
    answers = httpx.MockTransport(lambda _: httpx.Response(status, json=body))
    with httpx.Client(transport=answers) as http, pytest.raises(openai.APIStatusError) as found:
        openai.OpenAI(base_url="http://none/v1", api_key="any", max_retries=0, http_client=http).models.list()
    return type(found.value).__name__


@pytest.mark.parametrize("row", rows("Errors"), ids=lambda row: f"{row[0]} {row[1]}")
def test_the_client_raises_what_the_page_s_table_says(row: list[str]) -> None:
    for status in row[0].split(", "):
        assert f"`{raised(int(status), {'error': {'code': row[1].strip('`')}})}`" == row[2]


@pytest.mark.parametrize(
    "error",
    [
        Unauthenticated("no key came"),
        Forbidden("key a", "use model small"),
        ModelNotFound("small", None, []),
        PromptNotFound("greeting@champion"),
        RequestTimeout(1),
        BodyTooLarge(1),
        RateLimited("key a", "1 request per second", 1),
        BudgetReached("key a", "$1 a day", "at midnight"),
        Unavailable("down"),
    ],
    ids=lambda error: type(error).__name__,
)
def test_the_page_s_table_has_each_error_as_it_comes(error: ServeError) -> None:
    body: Any = error_body(error)
    named = {(row[0], row[1]): row[2] for row in rows("Errors")}
    assert named[str(error.status), f"`{body['error']['code']}`"] == f"`{raised(error.status, body)}`"


def test_the_page_s_bounds_are_those_that_hold() -> None:
    bounds = {row[0]: row[1] for row in rows("Bounds")}
    assert bounds["arrays and objects within each other"] == str(DEEPEST)
    assert bounds["texts, names, arrays and objects; numbers"] == f"{MOST_VALUES}; {MOST_NUMBERS}"
    lengths = {name: most for each in LONGEST.values() for name, most in each.items()}
    numbers = {name: most for each in HIGHEST.values() for name, most in each.items()}
    for cells, most in bounds.items():
        told = most.split("; ")
        for index, cell in enumerate(cells.split(";")):
            for name in re.findall(r"`(\w+)`", cell):
                assert str({**lengths, **numbers}.pop(name)) == told[index]
    said = {name for cells in bounds for name in re.findall(r"`(\w+)`", cells)}
    assert said == {*lengths, *numbers}
