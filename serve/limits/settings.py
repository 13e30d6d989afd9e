"""``limits:`` in ``serve.yaml``: for every key, or for all callers of a model together."""

from __future__ import annotations

from typing import Annotated

from pydantic import Field

from serve.caller import Limits
from serve.section import Section

Rate = Annotated[float, Field(gt=0)]
Count = Annotated[int, Field(ge=1)]


class LimitSettings(Section):
    """``None``: no limit of this kind.

    ``requests_per_second`` and ``rows_per_second`` allow one second's worth at once, and at least one;
    ``concurrency`` is requests at once, ``body_bytes`` the body of one request, ``batch_rows`` its rows.
    """

    requests_per_second: Rate | None = None
    rows_per_second: Rate | None = None
    concurrency: Count | None = None
    body_bytes: Count | None = None
    batch_rows: Count | None = None

    def limits(self) -> Limits:
        """The same, as the limiter takes it."""
        return Limits(
            self.requests_per_second, self.rows_per_second, self.concurrency, self.body_bytes, self.batch_rows
        )
