"""What a container can't have, where the serving settings say it.

Errors::

    UserError
    └── UnfitForContainer    the serving settings say what a container can't have: path, what was expected
"""

from __future__ import annotations

from pathlib import PurePosixPath

from console import UserError

PLACE = "the serving settings"
WRITABLE = "/tmp"  # noqa: S108 - of a container whose root is read-only


class UnfitForContainer(UserError):
    """The serving settings say what a container can't have."""


def require_writable(path: str, folder: object) -> None:
    """``path``: in the settings. ``folder``: what they say there; ``None`` is no folder.

    Raises:
        UnfitForContainer: the container can't write there.
    """
    if folder is not None and not PurePosixPath(str(folder)).is_relative_to(WRITABLE):
        raise UnfitForContainer(
            f"{PLACE}: {path} is {folder}, expected a folder below {WRITABLE}: nothing else is writable"
        )
