"""Scoring requests: what MLflow's server and ours both answer, both refuse, and answer otherwise on purpose."""

from __future__ import annotations

import json
from dataclasses import dataclass

from tests.unit.serve import tiny

JSON = "application/json"
CSV = "text/csv"
ROWS: list[dict[str, object]] = [
    {"zone": "south", "depot": "north", "weight": 1.5, "hour": 7},
    {"zone": "elsewhere", "depot": "south", "weight": 0.25, "hour": 23.5},
]
COLUMNS = tiny.columns(ROWS)
NAMES = list(tiny.FEATURES)
DATA = [list(row.values()) for row in ROWS]
HEADER = "zone,depot,weight,hour\n"
LINES = HEADER + "south,north,1.5,7\nelsewhere,south,0.25,23.5\n"


@dataclass(frozen=True)
class Body:
    """A request's body. ``media_type`` is the header ``content-type``, ``None`` where there is none."""

    content: bytes
    media_type: str | None

    @property
    def headers(self) -> dict[str, str]:
        return {"content-type": self.media_type} if self.media_type is not None else {}


def of_json(document: object, media_type: str | None = JSON) -> Body:
    return Body(json.dumps(document).encode(), media_type)


def of_csv(text: str, media_type: str = CSV) -> Body:
    return Body(text.encode(), media_type)


def records(**changes: object) -> Body:
    return of_json({"dataframe_records": [ROWS[0] | changes, ROWS[1]]})


def inputs(**changes: object) -> Body:
    return of_json({"inputs": COLUMNS | changes})


def split(**changes: object) -> Body:
    return of_json({"dataframe_split": {"columns": NAMES, "data": DATA} | changes})


def without(name: str, row: dict[str, object]) -> dict[str, object]:
    return {key: value for key, value in row.items() if key != name}


ANSWERED: dict[str, Body] = {
    "split": split(),
    "split with an index": split(index=[5, 6]),
    "split in another order": split(columns=NAMES[::-1], data=[row[::-1] for row in DATA]),
    "split of columns": split(data=COLUMNS),
    "split of records": split(data=ROWS),
    "split of records without columns": of_json({"dataframe_split": {"data": ROWS}}),
    "records": records(),
    "records where one lacks a text": of_json({"dataframe_records": [ROWS[0], without("depot", ROWS[1])]}),
    "records where one lacks a number": of_json({"dataframe_records": [ROWS[0], without("hour", ROWS[1])]}),
    "records with a null text": records(depot=None),
    "records with a null number": records(hour=None),
    "records with a category never seen": records(zone="süd\nost"),
    "inputs": inputs(),
    "inputs of records": of_json({"inputs": ROWS}),
    "inputs of one record": of_json({"inputs": ROWS[0]}),
    "inputs with one value for all rows": inputs(hour=1),
    "inputs with a null text": inputs(depot=[None, "south"]),
    "inputs with a null number": inputs(hour=[None, 2]),
    "inputs with large and small numbers": inputs(weight=[1e30, 1e-45], hour=[-123456789, 0.1]),
    "instances": of_json({"instances": ROWS}),
    "instances of columns": of_json({"instances": COLUMNS}),
    "instances of one record": of_json({"instances": ROWS[0]}),
    "instances with a null number": of_json({"instances": [ROWS[0] | {"hour": None}, ROWS[1]]}),
    "params": of_json({"inputs": COLUMNS, "params": {"x": 1}}),
    "params that are null": of_json({"dataframe_records": ROWS, "params": None}),
    "params that are no object": of_json({"instances": ROWS, "params": [1]}),
    "a charset": of_json({"inputs": COLUMNS}, f"{JSON}; charset=utf-8"),
    "a charset in capitals": of_json({"inputs": COLUMNS}, f"{JSON};charset=UTF-8"),
    "a byte order mark": Body(b"\xef\xbb\xbf" + of_json({"inputs": COLUMNS}).content, JSON),
    "csv": of_csv(LINES),
    "csv with a charset": of_csv(LINES, f"{CSV}; charset=utf-8"),
    "csv with a byte order mark": of_csv("\ufeff" + LINES),
    "csv with CRLF": of_csv(LINES.replace("\n", "\r\n")),
    "csv with CR": of_csv(LINES.replace("\n", "\r")),
    "csv without a last line end": of_csv(LINES.rstrip()),
    "csv with blank lines": of_csv("\n  \n" + LINES.replace("\n", "\n\n")),
    "csv in another order": of_csv("hour,weight,depot,zone\n7,1.5,north,south\n"),
    "csv with an index": of_csv(",zone,depot,weight,hour\n0,south,north,1,7\n1,north,north,2,8\n"),
    "csv with quotes": of_csv('"zone",depot,weight,hour\n"so,uth","nor""th","1.5",7\n'),
    "csv with a line end in quotes": of_csv(HEADER + '"a\nb",north,1.5,7\n'),
    "csv with a quote inside a field": of_csv(HEADER + 'so"uth,north,1.5,7\n'),
    "csv with letters beyond ASCII": of_csv(HEADER + "süd,norð,1.5,7\n"),
    "csv with a NUL": of_csv(HEADER + "so\0uth,north,1.5,7\n"),
    "csv with spaces around numbers": of_csv(HEADER + "south,north, 1.5 , 7\n"),
    "csv with spaces around texts": of_csv(HEADER + " south , north ,1.5,7\n"),
    "csv with a missing text": of_csv(HEADER + "south,,1.5,7\nsouth,north,1.5,7\n"),
    "csv with a missing number": of_csv(HEADER + "south,north,1.5,\n"),
    "csv with what pandas takes for missing": of_csv(HEADER + 'south,NA,1,null\nsouth,None,1,NaN\nsouth,"",1,#N/A\n'),
    "csv with a row that ends early": of_csv(HEADER + "south,north,1.5\n"),
    "csv with digits for a text": of_csv(HEADER + "007,3,1,7\n"),
    "csv with numbers in many forms": of_csv(HEADER + "south,north,1e3,+5\nsouth,north,5.,.5\nsouth,north,1E-3,-0\n"),
    "csv with seventeen digits": of_csv(HEADER + "south,north,0.12345678901234567,1e-45\n"),
    "csv with booleans for numbers": of_csv(HEADER + "south,north,True,7\nsouth,north,False,7\n"),
}
"""Both answer with 200 and with the same JSON, to the last digit."""

REFUSED: dict[str, Body] = {
    "nothing": Body(b"", JSON),
    "no JSON": Body(b"{", JSON),
    "JSON that is not UTF-8": Body(b'{"inputs": "\xff"}', JSON),
    "an array": of_json(ROWS),
    "a number": of_json(3),
    "null": of_json(None),
    "an empty object": of_json({}),
    "two formats": of_json({"inputs": COLUMNS, "instances": ROWS}),
    "a chat": of_json({"messages": [{"role": "user", "content": "hello"}]}),
    "split without data": of_json({"dataframe_split": {"columns": NAMES}}),
    "split without columns": of_json({"dataframe_split": {"data": DATA}}),
    "split with an unknown key": split(dtype="float"),
    "split with a column twice": split(columns=["zone", *NAMES[:3]]),
    "split with too long a row": split(data=[DATA[0], [*DATA[1], 3]]),
    "split with too short an index": split(index=[5]),
    "split that is an array": of_json({"dataframe_split": DATA}),
    "records of arrays": of_json({"dataframe_records": DATA}),
    "records that are an object": of_json({"dataframe_records": COLUMNS}),
    "no records": of_json({"dataframe_records": []}),
    "records without a column": of_json({"dataframe_records": [without("depot", row) for row in ROWS]}),
    "a text for a number": records(weight="heavy"),
    "an array for a number": records(weight=[1.5]),
    "an object for a number": records(weight={"a": 1}),
    "inputs without a column": of_json({"inputs": without("hour", dict(COLUMNS))}),
    "inputs of two lengths": inputs(hour=[1]),
    "inputs of arrays of one": of_json({"inputs": {name: [[x] for x in column] for name, column in COLUMNS.items()}}),
    "inputs that are rows": of_json({"inputs": DATA}),
    "inputs that are null": of_json({"inputs": None}),
    "inputs that are a text": of_json({"inputs": "south"}),
    "inputs that are empty": of_json({"inputs": {}}),
    "instances that are rows": of_json({"instances": DATA}),
    "instances that are values": of_json({"instances": [1, 2, 3]}),
    "instances that are empty": of_json({"instances": []}),
    "instances where one lacks a key": of_json({"instances": [ROWS[0], without("depot", ROWS[1])]}),
    "instances where one is no object": of_json({"instances": [ROWS[0], 3]}),
    "another charset": of_json({"inputs": COLUMNS}, f"{JSON}; charset=latin-1"),
    "another name of UTF-8": of_json({"inputs": COLUMNS}, f"{JSON}; charset=utf8"),
    "a parameter of the media type": of_json({"inputs": COLUMNS}, f"{JSON}; format=pandas-split"),
    "plain text": of_json({"inputs": COLUMNS}, "text/plain"),
    "a form": Body(b"a=1", "application/x-www-form-urlencoded"),
    "csv: nothing": of_csv(""),
    "csv: blank lines": of_csv("\n\n"),
    "csv in another charset": Body("süd".encode("latin-1"), f"{CSV}; charset=latin-1"),
    "csv that is not UTF-8": Body(HEADER.encode() + b"\xff,north,1,7\n", CSV),
    "csv in UTF-16": Body(LINES.encode("utf-16"), CSV),
    "csv with a parameter of the media type": of_csv(LINES, f"{CSV}; header=present"),
    "csv without a column": of_csv("zone,depot,weight\nsouth,north,1\n"),
    "csv with semicolons": of_csv(LINES.replace(",", ";")),
    "csv with spaces in the header": of_csv("zone, depot, weight, hour\nsouth,north,1,7\n"),
    "csv with a text for a number": of_csv(HEADER + "south,north,heavy,7\n"),
    "csv with hexadecimal digits": of_csv(HEADER + "south,north,0x10,7\n"),
    "csv with underscores in a number": of_csv(HEADER + "south,north,1_000,7\n"),
    "csv with a decimal comma": of_csv(HEADER + 'south,north,"1,5",7\n'),
    "csv with a number beyond float64": of_csv(HEADER + "south,north,1e400,7\n"),
    "csv with too long a row": of_csv(HEADER + "south,north,1,7\nsouth,north,1,7,9\n"),
    "csv with an open quote": of_csv(HEADER + 'south,"north,1,7\n'),
}
"""Both answer with the same 4xx."""


@dataclass(frozen=True)
class Deviation:
    """A body that we answer otherwise than MLflow, on purpose."""

    body: Body
    theirs: int
    ours: int
    reason: str


CONTRACT = "the contract says what a column takes; MLflow converts, or scores what it can't know"
NO_NUMBER = "MLflow's answer has NaN or Infinity in it, which is not JSON"
LOSES = "MLflow drops it silently: a misspelt name would go unnoticed"
RFC = "RFC 9110: names of media types and of parameters have no case, values may be quoted, parameters empty"
SHIFTED = "MLflow takes the first value for an index and shifts the others by a column: a wrong prediction"

DEVIATIONS: dict[str, Deviation] = {
    "records with another column": Deviation(
        of_json({"dataframe_records": [row | {"colour": 1} for row in ROWS]}), 200, 400, LOSES
    ),
    "inputs with another column": Deviation(inputs(colour=[1, 2]), 200, 400, LOSES),
    "csv with another column": Deviation(of_csv("zone,depot,weight,hour,x\nsouth,north,1,7,9\n"), 200, 400, LOSES),
    "csv with a column twice": Deviation(of_csv("zone,depot,weight,hour,zone\nsouth,north,1,7,x\n"), 200, 400, LOSES),
    "csv with a column that has no name": Deviation(of_csv(HEADER[:-1] + ",\nsouth,north,1,7,\n"), 200, 400, LOSES),
    "an unknown key": Deviation(of_json({"inputs": COLUMNS, "outputs": ["score"]}), 200, 400, LOSES),
    "signature_name": Deviation(of_json({"inputs": COLUMNS, "signature_name": "default"}), 200, 400, LOSES),
    "a number as text": Deviation(records(weight="1.5"), 200, 400, CONTRACT),
    "inputs with numbers as texts": Deviation(inputs(weight=["1", "2"]), 200, 400, CONTRACT),
    "a boolean for a number": Deviation(records(weight=True), 200, 400, CONTRACT),
    "a number for a text": Deviation(records(zone=3), 200, 400, CONTRACT),
    "instances with a number for a text": Deviation(
        of_json({"instances": [ROWS[0] | {"zone": 3}]}), 200, 400, CONTRACT
    ),
    "null where none may be, a text": Deviation(records(zone=None), 200, 400, CONTRACT),
    "null where none may be, a number": Deviation(records(weight=None), 200, 400, NO_NUMBER),
    "csv with nothing where none may be": Deviation(of_csv(HEADER + "south,north,,7\n"), 200, 400, NO_NUMBER),
    "csv with NA for a text": Deviation(of_csv(HEADER + "NA,north,1,7\n"), 200, 400, CONTRACT),
    "csv with a comment": Deviation(of_csv(HEADER + "# comment\nsouth,north,1,7\n"), 200, 400, NO_NUMBER),
    "a number beyond float32": Deviation(records(weight=1e300), 200, 400, NO_NUMBER),
    "csv with infinity": Deviation(of_csv(HEADER + "south,north,inf,7\n"), 200, 400, NO_NUMBER),
    "NaN": Deviation(records(hour=float("nan")), 200, 400, "JSON has no NaN; null is what is missing"),
    "UTF-16": Deviation(Body(json.dumps({"inputs": COLUMNS}).encode("utf-16"), JSON), 200, 400, "JSON is UTF-8"),
    "split without rows": Deviation(split(data=[]), 200, 400, "a batch has a row at least"),
    "inputs without rows": Deviation(of_json({"inputs": {name: [] for name in NAMES}}), 200, 400, "as above"),
    "csv without rows": Deviation(of_csv(HEADER), 200, 400, "as above"),
    "split with too short a row": Deviation(
        split(data=[DATA[0], DATA[1][:3]]), 200, 400, "MLflow fills it up with nulls: a value was lost"
    ),
    "csv with a longer first row": Deviation(of_csv(HEADER + "south,north,1,7,9\n"), 200, 400, SHIFTED),
    "csv with longer rows": Deviation(of_csv(HEADER + "0,south,north,1,7\n1,south,north,1,7\n"), 200, 400, SHIFTED),
    "csv with commas at the end": Deviation(of_csv(LINES.replace("\n", ",\n", 3)[: -len(",\n")]), 200, 400, SHIFTED),
    "no media type": Deviation(of_json({"inputs": COLUMNS}, None), 500, 200, "MLflow fails; JSON is the default"),
    "a media type in capitals": Deviation(of_json({"inputs": COLUMNS}, "Application/JSON"), 415, 200, RFC),
    "csv in capitals": Deviation(of_csv(LINES, "Text/CSV"), 415, 200, RFC),
    "a quoted charset": Deviation(of_json({"inputs": COLUMNS}, f'{JSON}; charset="utf-8"'), 415, 200, RFC),
    "a parameter in capitals": Deviation(of_json({"inputs": COLUMNS}, f"{JSON}; Charset=utf-8"), 415, 200, RFC),
    "an empty parameter": Deviation(of_json({"inputs": COLUMNS}, f"{JSON};"), 415, 200, RFC),
    "parquet": Deviation(
        Body(b"PAR1", "application/vnd.apache.parquet"), 400, 415, "not read here: CSV and JSON say the same"
    ),
}
