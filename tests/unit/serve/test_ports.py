"""Each Serve of a machine has ports of its own behind its ingress."""

from __future__ import annotations

import itertools
import os
import socket

import pytest

from serve import ports

VARIABLES = (*ports.SINGLE, *itertools.chain(*ports.REPLICAS))


@pytest.fixture(autouse=True)
def environment(monkeypatch: pytest.MonkeyPatch) -> None:
    for variable in VARIABLES:
        monkeypatch.setenv(variable, "")
        monkeypatch.delenv(variable)


def reserved() -> set[int]:
    singles = {int(os.environ[variable]) for variable in ports.SINGLE}
    ranges = [range(int(os.environ[lowest]), int(os.environ[highest])) for lowest, highest in ports.REPLICAS]
    assert not set(ranges[0]) & set(ranges[1])
    return singles | set(itertools.chain(*ranges))


def test_two_reservations_have_no_port_in_common(monkeypatch: pytest.MonkeyPatch) -> None:
    with ports.reserve():
        one = reserved()
        for variable in VARIABLES:
            monkeypatch.delenv(variable)
        with ports.reserve():
            other = reserved()
    assert len(one) == len(other)
    assert len(one) >= ports.SIZE - 2
    assert not one & other


def test_a_block_with_a_port_in_use_is_passed_over() -> None:
    with ports.reserve() as free:
        first = free.getsockname()[1]
    for variable in VARIABLES:
        del os.environ[variable]
    with socket.socket() as other:
        other.bind(("127.0.0.1", first + 10))
        other.listen()
        with ports.reserve():
            assert first + 10 not in reserved()


def test_what_the_user_has_set_stays(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("RAY_SERVE_HAPROXY_METRICS_PORT", "9101")
    with ports.reserve():
        assert os.environ["RAY_SERVE_HAPROXY_METRICS_PORT"] == "9101"


def test_no_block_left_is_said_in_one_line(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(ports, "_free", lambda *_: False)
    with pytest.raises(ports.NoPortsLeft, match="between 20000 and 30000"):
        ports.reserve()
