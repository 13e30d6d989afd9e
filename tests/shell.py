"""The environment of a user's own shell, for the commands that the tests type."""

from __future__ import annotations

import os

# MLflow writes the first into the environment of the process that sets an address; a make that runs the
# tests writes the others, and a make under it would print which folder it enters.
INHERITED = frozenset({"MLFLOW_TRACKING_URI", "MAKEFLAGS", "MFLAGS", "MAKELEVEL", "MAKEOVERRIDES"})


def environment() -> dict[str, str]:
    """This process's variables without what MLflow and make have added to them."""
    return {name: value for name, value in os.environ.items() if name not in INHERITED}
