"""Versions of models → answers over HTTP.

``serve run serve.config`` (Ray's own command) or ``python -m serve run`` starts what ``serve.yaml``
describes. Importing this package loads neither Ray nor MLflow nor a runtime.
"""

import os
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from ray.serve import Application

FAST_PATH = {
    # Without them a request crosses two Python processes instead of none on its way to the replica, at about twenty
    # times the latency.
    "RAY_SERVE_ENABLE_HA_PROXY": "1",
    "RAY_SERVE_THROUGHPUT_OPTIMIZED": "1",
    # A handle counts what it sends to a replica, and each answer says what the replica has. After 10 s without one it
    # would forget, and each of the requests that come together then asks the replica before it goes there. Not for
    # ever: what the replica had from other processes may have ended.
    "RAY_SERVE_QUEUE_LENGTH_CACHE_TIMEOUT_S": "60",
}
"""What Serve's processes read when they start, where the user has not said otherwise."""

for _variable, _value in FAST_PATH.items():
    os.environ.setdefault(_variable, _value)


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
