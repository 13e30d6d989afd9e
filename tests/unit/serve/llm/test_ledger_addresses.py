"""Which addresses of a PostgreSQL ledger are taken, before anything is asked."""

from __future__ import annotations

import sys

import pytest

from serve.llm.ledger.store import BadLedgerAddress, LedgerUnsupported, open_store


@pytest.mark.parametrize(
    ("url", "part"),
    [
        ("postgresql://u:hunter2@h/d", "ledger 'postgresql:…': there is a password in it: leave it out"),
        ("postgresql://h:5/d?user=u&password=hunter2", "there is a password in it"),
        ("postgresql://u@h/d?sslpassword=hunter2", "there is a password in it"),
        ("postgresql://u:hunter%2@h/d", "libpq can't read it"),
        ("postgresql://u@h/d?pass=hunter2", "libpq can't read it"),
        ("postgresql://u@h/d?hunter2", "libpq can't read it"),
        ("postgresql://u:hun/ter2@h/d", "an @ too many"),
        ("postgresql://u:hun@ter2@h/d", "a password in it"),
        ("postgresql://u@hun@ter2/d", "an @ too many"),
        ("postgresql:u:hunter2@h/d", "libpq can't read it"),
        ("postgresql://\ud800", "libpq can't read it"),
    ],
)
def test_an_address_with_a_password_is_refused_without_it(url: str, part: str) -> None:
    with pytest.raises(BadLedgerAddress) as caught:
        open_store(url)
    assert part in str(caught.value)
    assert "hun" not in str(caught.value)
    assert "ter2" not in str(caught.value)
    assert caught.value.__cause__ is None


def test_without_its_package_it_is_said_what_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "psycopg", None)
    with pytest.raises(LedgerUnsupported, match=r"install ml-training-deployment\[postgresql\]") as caught:
        open_store("postgresql://u:hunter2@h/d")
    assert "hunter2" not in str(caught.value)
