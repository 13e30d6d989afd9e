"""What language models took stands beside what a stack did cost."""

from __future__ import annotations

import contextlib
import re
from datetime import UTC, datetime, time
from pathlib import Path

import pytest
from matplotlib.figure import Figure

from infra.costs.plot import draw
from serve.llm.ledger.entries import Entry
from serve.llm.ledger.store import Sums
from serve.llm.use import Use
from tests.ledgers import Place
from tests.unit.infra.costs.bill import PERIOD, day, last, run, told
from tests.unit.serve.llm.uses import use


def noted(place: Place, *uses: Use) -> str:
    """A ledger's address, with these in it."""
    with contextlib.closing(place.store()) as store:
        store.write([Entry(str(number), each) for number, each in enumerate(uses)])
    return place.url


def at(number: int) -> datetime:
    return datetime.combine(last(number), time(12), UTC)


def test_the_ledger_of_language_models_stands_beside_the_bill_and_is_not_added(
    moto: str, folder: Path, place: Place, capsys: pytest.CaptureFixture[str]
) -> None:
    told(moto, {"ResultsByTime": [day(last(1), {"Amazon Bedrock": "3"})]})
    url = noted(
        place,
        use(at=at(1), model="assistant", dollars=2.5),
        use(at=at(2), model="assistant", dollars=0.25),
        use(at=at(1), model="own", dollars=None),
        # Of a day that the bill does not have yet, and of one before it.
        use(at=at(0), model="assistant", dollars=100.0),
        use(at=at(9), model="assistant", dollars=100.0),
    )
    picture = folder / "costs.png"
    assert run(folder, "--days", "7", "--ledger", url, "--plot", str(picture)) == 0
    output = capsys.readouterr().out
    assert re.search(r"^  all +USD +3\.00$", output, re.MULTILINE)
    assert re.search(r"^  assistant  USD +2\.75  2 requests$", output, re.MULTILINE)
    assert re.search(r"^  own +USD +unknown  1 requests, 1 of unknown price$", output, re.MULTILINE)
    assert picture.read_bytes().startswith(b"\x89PNG")


def test_a_ledger_that_is_not_there_is_said_before_anything_is_asked(
    folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run(folder, "--ledger", f"sqlite:///{folder / 'none.db'}") == 2
    assert "there is no ledger yet" in capsys.readouterr().err


def test_the_picture_has_the_ledger_as_a_line_of_its_days(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    drawn: list[list[float]] = []
    monkeypatch.setattr(
        Figure, "savefig", lambda figure, *_, **__: drawn.append(list(figure.axes[0].lines[0].get_ydata()))
    )
    begins = datetime(2026, 11, 2, tzinfo=UTC)
    used = [Sums(begins, name, 1, 1, 0, 1, 0.5, 0) for name in ("assistant", "own")]
    draw(tmp_path / "costs.png", "dev", PERIOD, [], (0.0, 1.0), used)
    assert drawn == [[0.0, 1.0]]
