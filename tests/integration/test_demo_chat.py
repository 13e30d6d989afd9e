"""``make demo-llm`` as a new user runs it: a real language model, and a real chat with it."""

from __future__ import annotations

import re

import pytest

from tests import shell

pytestmark = [pytest.mark.integration, pytest.mark.timeout(1200)]

SECONDS = 900


def test_a_small_model_is_served_asked_and_written_down_and_nothing_is_left() -> None:
    found = shell.make("demo-llm", SECONDS)
    assert found.returncode == 0, found.stdout
    assert "Traceback" not in found.stdout
    assert re.search(r"> What is the capital of France\?\n.*Paris", found.stdout)
    counts = [int(each) for each in re.findall(r"^  (\d+) tokens, the first after", found.stdout, re.MULTILINE)]
    assert len(counts) == 2
    assert all(counts)
    [line] = re.findall(r"^assistant .*$", found.stdout, re.MULTILINE)
    _, requests, asked, _, answered, dollars, unknown = line.split()
    assert (int(requests), int(answered), int(unknown)) == (2, sum(counts), 0)
    assert int(asked) > 20
    assert float(dollars) > 0
    assert found.stdout.rstrip().splitlines()[-1].startswith("✓ demo chat")
