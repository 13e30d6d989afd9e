"""What a price list says of the prices that were asked for."""

from __future__ import annotations

from dataclasses import dataclass, field


@dataclass
class Found:
    """``url``: of what was read. ``prices``: key → each price that it has; more than one is none."""

    url: str
    prices: dict[str, set[float]] = field(default_factory=dict)

    def add(self, key: str, usd: float) -> None:
        self.prices.setdefault(key, set()).add(usd)

    def of(self, key: str) -> float | None:
        found = self.prices.get(key, set())
        return next(iter(found)) if len(found) == 1 else None

    def trouble(self, key: str) -> str:
        """Why there is no price of ``key``."""
        found = sorted(self.prices.get(key, set()))
        return f"several prices: {', '.join(f'{usd:g}' for usd in found)}" if found else "not in the list"
