"""Networks that are the internet, and ports that are among others."""

from __future__ import annotations

from typing import Any

import pytest

from policies.reading.networks import is_among, is_internet


@pytest.mark.parametrize("cidr", ["0.0.0.0/0", "::/0", "0::0/0", "0.0.0.0/1", "128.0.0.0/1", "2000::/3", " 0.0.0.0/0 "])
def test_the_internet_and_its_parts_are_the_internet(cidr: str) -> None:
    assert is_internet(cidr)


@pytest.mark.parametrize("cidr", ["10.0.0.0/8", "fc00::/7", "192.0.2.1", "203.0.113.0/24", "VPC", "", None, 0])
def test_networks_of_somebody_are_not(cidr: Any) -> None:
    assert not is_internet(cidr)


@pytest.mark.parametrize(
    ("first", "last", "ports", "expected"),
    [
        (443, 443, (80, 443), True),
        (443.0, 443.0, (80, 443), True),
        (80, 81, (80, 81), True),
        (80, 443, (80, 443), False),
        (0, 65535, (80, 443), False),
        (443, 80, (80, 443), False),
        (443, 443, (), False),
        (None, None, (80,), False),
        ("443", "443", (443,), False),
        (True, True, (1,), False),
        (float("nan"), float("inf"), (443,), False),
    ],
)
def test_each_port_is_among_them(first: Any, last: Any, ports: tuple[int, ...], expected: bool) -> None:
    assert is_among(first, last, ports) is expected
