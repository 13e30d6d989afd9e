"""Makes rows of the flights view's source tables, as the files have them: all text."""

from __future__ import annotations

import csv
from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from pathlib import Path
from zoneinfo import ZoneInfo

Row = dict[str, str]

NEW_YORK = ZoneInfo("America/New_York")

HEADERS = {
    "flights": "year,month,day,dep_time,sched_dep_time,dep_delay,arr_time,sched_arr_time,arr_delay,carrier,flight,"
    "tailnum,origin,dest,air_time,distance,hour,minute,time_hour",
    "weather": "origin,year,month,day,hour,temp,dewp,humid,wind_dir,wind_speed,wind_gust,precip,pressure,visib,"
    "time_hour",
    "planes": "tailnum,year,type,manufacturer,model,engines,seats,speed,engine",
    "airports": "faa,name,lat,lon,alt,tz,dst,tzone",
}

CANCELLED = {"dep_time": "NA", "dep_delay": "NA", "arr_time": "NA", "arr_delay": "NA", "air_time": "NA"}
DIVERTED = {"arr_delay": "NA", "air_time": "NA"}


def flight(local: str = "2013-03-04 10:30", fold: int = 0, **changes: str) -> Row:
    """A flight from Newark to Houston that arrived 11 minutes late.

    ``local`` is its scheduled departure on New York's clocks; where they show it twice, ``fold=1``
    is the second time.
    """
    clock = datetime.fromisoformat(local).replace(tzinfo=NEW_YORK, fold=fold)
    hour = clock.replace(minute=0).astimezone(UTC)
    return {
        "year": str(clock.year),
        "month": str(clock.month),
        "day": str(clock.day),
        "hour": str(clock.hour),
        "minute": str(clock.minute),
        "time_hour": f"{hour:%Y-%m-%dT%H:%M:%SZ}",
        "sched_dep_time": f"{clock:%H%M}".lstrip("0") or "0",
        "sched_arr_time": f"{clock + timedelta(minutes=180):%H%M}".lstrip("0") or "0",
        "dep_time": f"{clock + timedelta(minutes=2):%H%M}".lstrip("0") or "2400",
        "arr_time": f"{clock + timedelta(minutes=191):%H%M}".lstrip("0") or "2400",
        "dep_delay": "2",
        "arr_delay": "11",
        "air_time": "200",
        "carrier": "UA",
        "flight": "1545",
        "tailnum": "N14228",
        "origin": "EWR",
        "dest": "IAH",
        "distance": "1400",
        **changes,
    }


def weather(instant: str = "2013-03-04T12:00:00Z", **changes: str) -> Row:
    """An hour of fair weather at Newark, from ``instant`` on."""
    clock = datetime.fromisoformat(instant).astimezone(NEW_YORK)
    return {
        "origin": "EWR",
        "year": str(clock.year),
        "month": str(clock.month),
        "day": str(clock.day),
        "hour": str(clock.hour),
        "temp": "39.02",
        "dewp": "26.06",
        "humid": "59.37",
        "wind_dir": "270",
        "wind_speed": "10.35702",
        "wind_gust": "NA",
        "precip": "0",
        "pressure": "1012",
        "visib": "10",
        "time_hour": instant,
        **changes,
    }


def plane(tailnum: str = "N14228", **changes: str) -> Row:
    return {
        "tailnum": tailnum,
        "year": "1999",
        "type": "Fixed wing multi engine",
        "manufacturer": "BOEING",
        "model": "737-824",
        "engines": "2",
        "seats": "149",
        "speed": "NA",
        "engine": "Turbo-fan",
        **changes,
    }


def airport(faa: str = "IAH", **changes: str) -> Row:
    return {
        "faa": faa,
        "name": "George Bush Intercontinental",
        "lat": "29.984433",
        "lon": "-95.341442",
        "alt": "97",
        "tz": "-6",
        "dst": "A",
        "tzone": "America/Chicago",
        **changes,
    }


def write_source(
    folder: Path,
    flights: Sequence[Row] = (),
    weather: Sequence[Row] = (),
    planes: Sequence[Row] = (),
    airports: Sequence[Row] = (),
) -> Path:
    """Write the four tables into ``folder``; a table without rows has its header alone."""
    folder.mkdir(parents=True, exist_ok=True)
    tables = {"flights": flights, "weather": weather, "planes": planes, "airports": airports}
    for name, rows in tables.items():
        with (folder / f"{name}.csv").open("w", newline="", encoding="utf-8") as file:
            writer = csv.DictWriter(file, HEADERS[name].split(","))
            writer.writeheader()
            writer.writerows(rows)
    return folder
