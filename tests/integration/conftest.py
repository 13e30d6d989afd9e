from __future__ import annotations

import pytest

from tests.integration import finetuned
from tests.integration.finetuned import Tuned


@pytest.fixture(scope="session")
def tuned(tmp_path_factory: pytest.TempPathFactory) -> Tuned:
    return finetuned.tuned(tmp_path_factory.mktemp("project"))
