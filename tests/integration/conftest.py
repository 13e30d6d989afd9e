from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import pytest
from xdist.scheduler import LoadScopeScheduling

from tests.integration import finetuned
from tests.integration.finetuned import Tuned

# On two cores: torch's threads spin while they wait, and each of MLflow's servers keeps eight processes for jobs that
# nobody gives it. Here as well as in whatever the tests start.
os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")
os.environ.setdefault("MLFLOW_SERVER_ENABLE_JOB_EXECUTION", "false")

FOLDER = Path(__file__).parent.relative_to(Path(__file__).parents[2]).as_posix()

SHARING = {
    "demo": ("test_demo.py", "test_demo_chat.py"),
    "infra": ("infra/",),
    "spark_jobs": ("spark_jobs/",),
    "tuned": ("training/test_finetune.py", "serve/llm/test_vllm_registry.py"),
}
"""Files that one process runs: their fixtures take long and are made once, or they take the ports that users have.
Any other file is a group of its own.
"""


def _group(nodeid: str) -> str:
    name = nodeid.partition("::")[0].removeprefix(f"{FOLDER}/")
    return next((group for group, prefixes in SHARING.items() if name.startswith(prefixes)), name)


class Grouped(LoadScopeScheduling):
    """Gives each group to one process. (pytest 9.2 has no effect of ``xdist_group``.)"""

    def _split_scope(self, nodeid: str) -> str:
        return _group(nodeid)


def pytest_xdist_make_scheduler(config: pytest.Config, log: Any) -> Grouped:
    return Grouped(config, log)


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """The groups that take longest first, so that neither of two processes waits long for the other in the end."""
    items.sort(key=lambda item: _group(item.nodeid) not in SHARING)


@pytest.fixture(scope="session")
def tuned(tmp_path_factory: pytest.TempPathFactory) -> Tuned:
    return finetuned.tuned(tmp_path_factory.mktemp("project"))
