"""The feature views, by name. To add one, write a module with a ``VIEW`` in it and name it here."""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING

from spark_jobs.errors import SparkUnavailable, ViewUnknown

if TYPE_CHECKING:
    from spark_jobs.views.view import FeatureView

PUBLISH = "publish"
"""The other command of ``python -m spark_jobs``: no view may have this name."""

VIEWS: dict[str, str] = {
    "flights": "spark_jobs.views.flights",
}
"""View name → the module whose ``VIEW`` it is. Modules, so that listing the views imports none."""


def load_view(name: str) -> FeatureView:
    """Import the view of this name.

    Raises:
        ViewUnknown: no view of this name is registered.
        SparkUnavailable: pyspark is not installed.
    """
    if name not in VIEWS:
        raise ViewUnknown(f"no view is called {name!r}; there is {', '.join(sorted(VIEWS))}")
    try:
        view: FeatureView = import_module(VIEWS[name]).VIEW
    except ModuleNotFoundError as error:
        if (error.name or "").partition(".")[0] != "pyspark":
            raise
        raise SparkUnavailable("pyspark is not installed: pip install 'ml-training-deployment[spark]'") from error
    return view
