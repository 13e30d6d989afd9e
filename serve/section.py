"""What the settings' sections have in common. Imports nothing of the project, so that each of their modules can."""

from __future__ import annotations

from typing import Annotated

from pydantic import BaseModel, ConfigDict, StringConstraints

ModelName = Annotated[str, StringConstraints(pattern=r"^[A-Za-z0-9][A-Za-z0-9._-]{0,127}$")]
"""Names a model, a backend or an adapter: a folder in the cache, and a segment of a URL."""


class Section(BaseModel):
    """Of each key it knows what is expected, and it stays as it was read."""

    model_config = ConfigDict(extra="forbid", frozen=True, strict=True, allow_inf_nan=False)
