"""What a replica and the coordinator say to each other."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

Kind = Literal["key", "model"]


@dataclass(frozen=True, slots=True)
class Use:
    """What a replica did with one entry.

    ``requests`` and ``rows``: spent since the last exchange whose reply came. ``running``: its requests
    now, 0 where their number is not limited. The rates are the entry's limits, per second.
    """

    kind: Kind
    name: str
    requests: int
    rows: int
    running: int
    requests_per_second: float | None
    rows_per_second: float | None


@dataclass(frozen=True, slots=True)
class Report:
    """The entries that were asked for since the last report, also in vain.

    ``number`` counts a replica's reports. ``base`` is the number of the last reply that came, 0 if none
    did. ``again``: the reply to the last report did not come, so tell everything anew.
    """

    number: int
    base: int
    again: bool
    uses: tuple[Use, ...]


@dataclass(frozen=True, slots=True)
class Others:
    """What the other replicas did with an entry, as far as the coordinator knows.

    ``requests`` and ``rows``: their spending, summed up from some start. ``running``: their requests now.
    ``level_requests`` and ``level_rows``: tokens in the bucket of all replicas, with this one's reports
    taken off; ``None`` if there is no such limit. ``first``: the replica did not follow the sums until
    now, so the levels count.
    """

    kind: Kind
    name: str
    requests: int
    rows: int
    running: int
    level_requests: float | None
    level_rows: float | None
    first: bool


@dataclass(frozen=True, slots=True)
class Reply:
    """What changed since the last reply. ``replicas``: how many are known. ``new``: this one was not."""

    number: int
    replicas: int
    new: bool
    news: tuple[Others, ...]
