"""An issuer that runs, and a verifier of its tokens."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from serve.access.tokens import TokenVerifier
from tests.unit.serve.access import issuer as issuers
from tests.unit.serve.access.clock import Clock
from tests.unit.serve.access.issuer import Issuer


@pytest.fixture
def issuer() -> Iterator[Issuer]:
    with issuers.running() as found:
        yield found


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def problems() -> list[str]:
    return []


@pytest.fixture
def verifier(issuer: Issuer, problems: list[str], clock: Clock) -> TokenVerifier:
    return TokenVerifier(issuer.settings(), problems.append, clock)
