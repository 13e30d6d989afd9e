"""Versions of models → answers over HTTP.

``serve run serve.config`` (Ray's own command) or ``python -m serve run`` starts what ``serve.yaml``
describes. Importing this package loads neither Ray nor MLflow nor a runtime.
"""

import os
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from ray.serve import Application

# Serve reads these when its processes start. Without them a request crosses two Python processes
# instead of none on its way to the replica, at about twenty times the latency.
os.environ.setdefault("RAY_SERVE_ENABLE_HA_PROXY", "1")
os.environ.setdefault("RAY_SERVE_THROUGHPUT_OPTIMIZED", "1")


def config(args: dict[str, str]) -> "Application":
    """Build the application for ``serve run serve.config [settings=PATH]`` and start Serve for it.

    Ray's command calls this before it starts Ray itself, and then reuses what it finds started. A
    mistake of the user's prints one line and ends the process with exit code 2. In a cluster that was given
    the application to deploy, Serve calls this in a task of its own, and shows the error as its status.
    """
    import sys

    import console
    from serve.start import application, ray_runs

    if ray_runs():
        return application(args)
    built: list[Application] = []

    def build() -> int:
        built.append(application(args))
        return 0

    if code := console.run(build):
        sys.exit(code)
    return built[0]
