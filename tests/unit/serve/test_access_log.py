"""What is written of a request, and what is not."""

from __future__ import annotations

import json
import random
from pathlib import Path

from serve.gateway.access_log import MOST_REFUSALS, AccessLog, Line

GOOD = Line("id", None, "k1", "open_inference", "POST", "/v2", 200, None, "parcels", "7", 3, 100, 50, 0.0012)


def lines(folder: Path) -> list[dict[str, object]]:
    (file,) = folder.glob("access-*.jsonl")
    return [json.loads(line) for line in file.read_text().splitlines()]


def test_a_line_says_who_asked_what_and_what_became_of_it(tmp_path: Path) -> None:
    log = AccessLog(tmp_path, 1.0)
    assert log.wants(200)
    log.write(GOOD)
    log.close()
    (line,) = lines(tmp_path)
    assert line.pop("at")
    assert line == {
        "request_id": "id",
        "caller": "k1",
        "protocol": "open_inference",
        "method": "POST",
        "path": "/v2",
        "status": 200,
        "model": "parcels",
        "version": "7",
        "rows": 3,
        "bytes_in": 100,
        "bytes_out": 50,
        "seconds": 0.0012,
    }


def test_good_answers_are_sampled_and_refusals_are_all_written(tmp_path: Path) -> None:
    log = AccessLog(tmp_path, 0.1, random.Random(0))
    assert 60 < sum(log.wants(200) for _ in range(1000)) < 140
    assert all(log.wants(429) for _ in range(MOST_REFUSALS))


def test_a_flood_of_refusals_is_counted_and_not_written(tmp_path: Path) -> None:
    log = AccessLog(tmp_path, 0)
    assert sum(log.wants(401) for _ in range(MOST_REFUSALS + 250)) == MOST_REFUSALS
    log.flush()
    assert lines(tmp_path)[-1]["refusals_not_written"] == 250
    assert log.wants(401)
    log.close()


def test_without_a_folder_nothing_is_written() -> None:
    log = AccessLog(None, 1.0)
    assert not log.wants(200)
    assert not log.wants(500)
    log.flush()
