from __future__ import annotations

from pathlib import Path

import pytest

from tests.integration import finetuned
from tests.integration.finetuned import Tuned

FOLDER = Path(__file__).parent

SHARING = {
    "infra": ("infra/",),
    "spark_jobs": ("spark_jobs/",),
    "tuned": ("training/test_finetune.py", "serve/llm/test_vllm_registry.py"),
}
"""Files whose fixtures take long and are made once: one process runs them. Any other file is a group of its own."""


def _group(file: Path) -> str:
    name = file.relative_to(FOLDER).as_posix()
    return next((group for group, prefixes in SHARING.items() if name.startswith(prefixes)), name)


@pytest.hookimpl(tryfirst=True)
def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """The groups that take longest first, so that neither of two processes waits long for the other in the end."""
    groups = {item: _group(item.path) for item in items}
    for item, group in groups.items():
        item.add_marker(pytest.mark.xdist_group(group))
    items.sort(key=lambda item: groups[item] not in SHARING)


@pytest.fixture(scope="session")
def tuned(tmp_path_factory: pytest.TempPathFactory) -> Tuned:
    return finetuned.tuned(tmp_path_factory.mktemp("project"))
