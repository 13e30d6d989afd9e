"""Who calls: what the gateway knows of a request's sender once it is authenticated."""

from __future__ import annotations

from dataclasses import dataclass, field
from fnmatch import fnmatchcase


@dataclass(frozen=True, slots=True)
class Limits:
    """What a key, or all callers of a model together, may use. ``None``: no limit of this kind."""

    requests_per_second: float | None = None
    rows_per_second: float | None = None
    concurrency: int | None = None
    body_bytes: int | None = None
    batch_rows: int | None = None


UNLIMITED = Limits()


@dataclass(frozen=True, slots=True)
class Caller:
    """A key, or the subject of a token.

    ``id`` is stable and no secret (it stands in logs); ``models`` are patterns as in a shell
    (``parcels-*``); ``admin`` may load and unload models. ``limits`` are the key's own, ``None`` where
    the settings' apply.
    """

    id: str
    name: str
    models: tuple[str, ...] = ()
    admin: bool = False
    limits: Limits | None = None
    _may: dict[str, bool] = field(default_factory=dict, repr=False, compare=False)

    def may_use(self, model: str) -> bool:
        """Whether one of the patterns is this model's."""
        found = self._may.get(model)
        if found is None:
            found = any(fnmatchcase(model, pattern) for pattern in self.models)
            if len(self._may) < 1000:
                self._may[model] = found
        return found

    @property
    def account(self) -> str:
        """Under which use is counted: a key's name, which stays when the key is rotated; a token's subject as such."""
        return self.id if self.id.startswith("jwt:") else self.name

    def __str__(self) -> str:
        return f"key {self.name}"


ANYBODY = Caller("-", "anybody", models=("*",), admin=True)
"""The caller where keys are off."""
