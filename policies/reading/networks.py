"""Networks, as the resources that let them in name them."""

from __future__ import annotations

from ipaddress import ip_network
from typing import Any

WIDEST = 7
"""Bits of the widest private network's prefix, ``fc00::/7``. Two halves of the internet are the internet."""


def is_internet(cidr: Any) -> bool:
    """Whether it is all of the internet, or a part of it that no private network is as wide as."""
    if not isinstance(cidr, str):
        return False
    try:
        return ip_network(cidr.strip(), strict=False).prefixlen < WIDEST
    except ValueError:
        return False


def is_among(first: Any, last: Any, ports: tuple[int, ...]) -> bool:
    """Whether each port from ``first`` to ``last`` is one of ``ports``."""
    if not all(isinstance(each, int | float) and not isinstance(each, bool) for each in (first, last)):
        return False
    # Never a range of them: what is given may be no port at all.
    return bool(0 < sum(first <= each <= last for each in set(ports)) == last - first + 1)
