from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
import ray

from tests import synthetic
from training import workers


@pytest.fixture(scope="session")
def view_folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("orders") / "view"
    synthetic.write_view(folder, 4000)
    return folder


@pytest.fixture(scope="module")
def ray_cluster() -> Iterator[str]:
    """The cluster that this process is connected to, by its address."""
    with workers.cluster():
        yield ray.get_runtime_context().gcs_address
