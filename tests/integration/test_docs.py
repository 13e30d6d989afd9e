"""No command stands in the documentation that no test runs, but for those that need what no test has."""

from __future__ import annotations

import pytest

from tests.documentation import PAGES, Example, examples
from tests.integration import finetuned

SPARK = "python -m spark_jobs"
IN_S3 = "tests/integration/spark_jobs/test_s3.py"
TRAIN = "python -m training train flight-delay --view build/flights"
COSTS = "python -m infra costs --stack dev --days 30 --by service --csv costs.csv --plot costs.png"
IMPORT_MODEL = "python -m training import-model smollm2 --folder build/language-models/smollm2-135m-instruct"
FIT = "python -m infra fit --model-config config.json"
KEYS_OF_A_STACK = "python -m serve keys create laptop --settings keys.yaml --expires 90d"
COMMENT = "python -m infra comment --stack dev --check check.txt --preview preview.json > comment.md"

RUN_BY = {
    "make demo": "tests/integration/test_demo.py",
    "make demo-llm": "tests/integration/test_demo_chat.py",
    "make test": "CI: it is what runs this",
    "serve run serve.config": "tests/integration/serve/test_running.py",
    "python -m serve run": "tests/integration/serve/test_running.py",
    "python -m spark_jobs flights --out build/flights": "tests/integration/spark_jobs/test_flights_real.py",
    f"{SPARK} flights --source s3://our-data/nycflights13 --out s3://our-data/views/flights": IN_S3,
    f"{SPARK} publish --view build/flights --to sqlite:///build/online.db": (
        "tests/integration/spark_jobs/test_flights_real.py"
    ),
    f"{SPARK} publish --view s3://our-data/views/flights --to dynamodb:features --expires 90d": IN_S3,
    TRAIN: "tests/integration/test_demo.py",
    f"{TRAIN} --resume RUN": "tests/integration/training/test_command.py",
    "python -m training register flight-delay --view build/flights": "tests/integration/test_demo.py",
    IMPORT_MODEL: "tests/integration/finetuned.py",
    f"python -m training finetune {finetuned.NAME} {' '.join(finetuned.FLAGS)}": "tests/integration/finetuned.py",
    "python -m training release flight-delay --to s3://mtd-dev-artifacts-123456789012/models": (
        "tests/integration/training/test_release.py, to a folder; tests/unit/test_folders.py sends one to S3"
    ),
    "python -m infra check --stack dev": "tests/integration/infra/test_pages.py",
    "python -m infra check --stack prod --rules": "tests/integration/infra/test_policies.py: its table",
    **{
        f"python -m infra check --stack {stack} --folder examples/refused": "tests/integration/infra/test_policies.py"
        for stack in ("insecure", "misfit", "too-dear")
    },
    f"{FIT} --context 8192 --sequences 16": "tests/integration/infra/test_fit.py",
    f"{FIT} --instance g6.xlarge": "tests/integration/infra/test_fit.py",
    KEYS_OF_A_STACK: "tests/integration/infra/test_pages.py",
    "python -m infra check --stack prod": "tests/integration/infra/test_costs_page.py: what the page shows of it",
    "python -m infra prices": "tests/integration/infra/test_costs_page.py",
    "python -m infra prices --refresh": "tests/unit/infra/prices/test_prices.py, from sites on a loopback port",
    COSTS: "tests/unit/infra/costs/test_costs.py, of an emulated Cost Explorer",
    COMMENT: "tests/unit/infra/check/test_comment.py",
    "zizmor --offline --persona=auditor --collect=all .github": "tests/unit/test_workflows.py",
}
"""A command → the test that runs it."""

NEEDS = {
    "pulumi ": "the Pulumi CLI and an account",
    "aws ": "an AWS account",
    "az ": "an Azure subscription",
    "gh ": "a repository on GitHub",
    "docker ": "a container engine and a registry in an account",
    "infra/images/build.sh ": "a base image from a registry; scripts/check_images.py builds on one that it makes",
    "curl -s https://api.example.com/": "a stack that is up",
    'curl -s "$URL/': "a stack that is up; tests/integration/serve/test_docs.py asks a local ingress the same",
    'curl -s "$(pulumi ': "a stack that is up; tests/integration/serve/test_docs.py asks a local ingress the same",
}
"""How a command begins that no test here can run → what it needs."""

RUN_AS_WRITTEN = {
    "embeddings.md": "tests/integration/serve/llm/test_encoder.py",
    "llm.md": "tests/unit/serve/test_openai_page.py",
    "prompts.md": "tests/integration/serve/llm/test_prompts.py",
    "serving.md": "tests/integration/serve/test_docs.py",
    "access.md": "tests/unit/serve/access/test_keys_command.py",
    "usage.md": "tests/unit/serve/llm/test_usage_command.py",
}
"""A page whose commands are all run by one test."""


@pytest.mark.parametrize(
    "example",
    [example for page in PAGES for example in examples(page) if page.name not in RUN_AS_WRITTEN],
    ids=lambda example: f"{example.page}: {example.program}",
)
def test_a_command_in_the_documentation_is_run_by_a_test(example: Example) -> None:
    assert example.program in RUN_BY or example.program.startswith(tuple(NEEDS))


@pytest.mark.parametrize("beginning", NEEDS)
def test_what_no_test_can_run_stands_in_the_documentation(beginning: str) -> None:
    assert any(example.program.startswith(beginning) for page in PAGES for example in examples(page))
