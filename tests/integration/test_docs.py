"""No command stands in the documentation that no test runs."""

from __future__ import annotations

import pytest

from tests.documentation import PAGES, Example, examples

TRAIN = "python -m training train flight-delay --view build/flights"

RUN_BY = {
    "make demo": "tests/integration/test_demo.py",
    "make test": "CI: it is what runs this",
    "serve run serve.config": "tests/integration/serve/test_running.py",
    "python -m serve run": "tests/integration/serve/test_running.py",
    "python -m spark_jobs flights --out build/flights": "tests/integration/spark_jobs/test_flights_real.py",
    TRAIN: "tests/integration/test_demo.py",
    f"{TRAIN} --resume RUN": "tests/integration/training/test_command.py",
    "python -m training register flight-delay --view build/flights": "tests/integration/test_demo.py",
}
"""A command → the test that runs it."""

RUN_AS_WRITTEN = {"serving.md": "tests/integration/serve/test_docs.py"}
"""A page whose commands are all run by one test."""


@pytest.mark.parametrize(
    "example",
    [example for page in PAGES for example in examples(page) if page.name not in RUN_AS_WRITTEN],
    ids=lambda example: f"{example.page}: {example.program}",
)
def test_a_command_in_the_documentation_is_run_by_a_test(example: Example) -> None:
    assert example.program in RUN_BY
