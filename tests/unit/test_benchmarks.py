from __future__ import annotations

import json
import struct
from collections.abc import Callable
from pathlib import Path

import httpx
import numpy as np
import pytest
from tritonclient.http import InferenceServerClient, InferInput, InferResult

from benchmarks import report
from benchmarks.__main__ import main
from benchmarks.cases import CASES, GOALS, INLINE, REPLICA, Goal, Round, evaluate, median, order
from benchmarks.ingress import AnswerWrong, require_right
from benchmarks.load import Load, LoadFailed, Target, parse, target
from benchmarks.peers import PEERS, SOURCES
from benchmarks.requests import (
    HEADER_LENGTH,
    AnswerUnreadable,
    Array,
    binary_body,
    json_body,
    read_answer,
    sample,
    typical,
)
from benchmarks.serves import benchmark_settings
from serve.settings import Settings
from tests.unit.serve import tiny

COLUMNS: dict[str, Array] = {
    "zone": np.array(["south", "", "Zürich"], object),
    "weight": np.array([1.5, -0.0, np.nan], np.float32),
    "depot": np.array(["a", "bb", "ccc"], object),
}

WRK = """\
Running 3s test @ http://127.0.0.1:8100/v2/models/m/infer
  1 threads and 1 connections
  Thread Stats   Avg      Stdev     Max   +/- Stdev
    Latency     1.03ms  150.00us   4.11ms   93.00%
    Req/Sec     0.98k    60.00     1.10k    80.00%
  Latency Distribution
     50%  {p50}
     75%    1.10ms
     90%    1.20ms
     99%  {p99}
  2930 requests in 3.00s, 640.00KB read
{trouble}Requests/sec:    976.51
Transfer/sec:    213.30KB
"""


def wrk(p50: str = "  1.02ms", p99: str = "  1.61ms", trouble: str = "") -> str:
    return WRK.format(p50=p50, p99=p99, trouble=trouble)


def rounds(case: str, contestant: str, clients: int, *values: float, p50: bool = False) -> list[Round]:
    return [
        Round(case, number, contestant, clients, Load(p50=value if p50 else 2.0, p99=9.0, rate=value))
        for number, value in enumerate(values)
    ]


def whole_case(key: str, rate: Callable[[str], float]) -> list[Round]:
    case = CASES[key]
    return [
        Round(key, number, contestant.label, clients, Load(p50=1e3 / rate(contestant.label), p99=9.0, rate=value))
        for number in range(2)
        for clients in case.clients
        for contestant in case.contestants
        for value in [rate(contestant.label)]
    ]


def result(*measured: Round) -> report.Result:
    machine = report.Machine(
        "A CPU @ 2 GHz", 2, "x86_64", "3.11.9", "2026-01-02", 0.1, {"ray": "2", "mlserver": "1.7.1"}
    )
    return report.Result(machine, "python -m benchmarks ingress", 2, 3, measured)


def test_a_binary_body_is_what_the_triton_client_sends() -> None:
    inputs = []
    for name, values in COLUMNS.items():
        given = InferInput(name, list(values.shape), "BYTES" if values.dtype == object else "FP32")
        given.set_data_from_numpy(values, binary_data=True)
        inputs.append(given)
    theirs, length = InferenceServerClient.generate_request_body(inputs)
    ours = binary_body(COLUMNS)
    at = int(ours.headers[HEADER_LENGTH])
    assert json.loads(ours.content[:at]) == json.loads(theirs[:length])
    assert ours.content[at:] == theirs[length:]
    assert ours.is_binary


def test_a_json_body_has_the_columns_flat() -> None:
    body = json_body({name: COLUMNS[name][:1] for name in ("zone", "weight")})
    assert json.loads(body.content)["inputs"] == [
        {"name": "zone", "shape": [1], "datatype": "BYTES", "data": ["south"]},
        {"name": "weight", "shape": [1], "datatype": "FP32", "data": [1.5]},
    ]
    assert not body.is_binary


def test_the_sample_is_the_same_each_time_and_of_what_training_saw() -> None:
    first, second = sample(tiny.contract(), 50), sample(tiny.contract(), 50)
    features = tiny.contract().features
    assert [*first] == [column.name for column in features]
    for column in features:
        np.testing.assert_array_equal(first[column.name], second[column.name])
        assert first[column.name].shape == (50,)
        assert first[column.name].dtype == (object if column.is_categorical else np.float32)
    assert all(values.shape == (1,) for values in typical(tiny.contract()).values())


def test_an_answer_is_read_in_json_and_in_binary_as_the_triton_client_reads_it() -> None:
    values = np.array([0.25, 0.5], np.float32)
    output = {"name": "p", "shape": [2, 1], "datatype": "FP32"}
    text = json.dumps({"outputs": [{**output, "data": [[0.25], [0.5]]}]}).encode()
    np.testing.assert_array_equal(read_answer(text, None), values)
    header = json.dumps({"outputs": [{**output, "parameters": {"binary_data_size": 8}}]}).encode()
    binary = header + struct.pack("<ff", 0.25, 0.5)
    np.testing.assert_array_equal(read_answer(binary, str(len(header))), values)
    theirs = InferResult.from_response_body(binary, False, len(header)).as_numpy("p")
    np.testing.assert_array_equal(theirs.reshape(-1), values)


@pytest.mark.parametrize("content", [b"", b"[]", b"{}", b'{"outputs": []}', b'{"outputs": [{"name": "p"}]}'])
def test_what_is_no_inference_response_says_so(content: bytes) -> None:
    with pytest.raises(AnswerUnreadable):
        read_answer(content, None)


@pytest.mark.parametrize(
    ("status", "data", "problem"),
    [
        (503, [0.5], "peer answers 503"),
        (200, [0.5, 0.5], "peer answers 2 probabilities, expected 1"),
        (200, [0.5001], "off those of ONNX Runtime"),
        (200, [float("nan")], "nan off those of ONNX Runtime"),
    ],
)
def test_a_contestant_that_answers_wrongly_is_not_measured(status: int, data: list[float], problem: str) -> None:
    answer = httpx.Response(status, text=json.dumps({"outputs": [{"name": "p", "data": data}]}))
    with pytest.raises(AnswerWrong, match=problem):
        require_right("peer", answer, np.array([0.5], np.float32))


def test_a_right_answer_may_differ_in_the_last_digits() -> None:
    answer = httpx.Response(200, text='{"outputs": [{"name": "p", "data": [0.500001]}]}')
    require_right("peer", answer, np.array([0.5], np.float32))


@pytest.mark.parametrize(
    ("p50", "p99", "expected"),
    [
        ("  1.02ms", "  1.61ms", (1.02, 1.61)),
        ("812.00us", "  1.10s", (0.812, 1100.0)),
    ],
)
def test_latencies_are_read_in_every_unit(p50: str, p99: str, expected: tuple[float, float]) -> None:
    found = parse(wrk(p50, p99), "URL")
    assert (found.p50, found.p99, found.rate) == (pytest.approx(expected[0]), pytest.approx(expected[1]), 976.51)


@pytest.mark.parametrize(
    "trouble",
    [
        "  Non-2xx or 3xx responses: 3\n",
        "  Socket errors: connect 0, read 0, write 0, timeout 2\n",
    ],
)
def test_answers_that_failed_are_no_figures(trouble: str) -> None:
    with pytest.raises(LoadFailed, match=trouble.strip()):
        parse(wrk(trouble=trouble), "URL")


@pytest.mark.parametrize("text", ["", wrk().replace("976.51", "0.00"), wrk().replace("99%", "98%")])
def test_a_run_that_measured_nothing_is_no_figure(text: str) -> None:
    with pytest.raises(LoadFailed, match="measured nothing"):
        parse(text, "URL")


@pytest.mark.parametrize(("make", "checked"), [(json_body, "0.25"), (binary_body, "0.5")])
def test_the_script_sends_the_file_and_checks_a_probability(
    make: Callable[..., object], checked: str, tmp_path: Path
) -> None:
    body = make({"x": np.zeros(2, np.float32)})
    made = target("http://h/infer", body, np.array([0.25, 0.5], np.float32), tmp_path)  # type: ignore[arg-type]
    script = made.script.read_text()
    assert (tmp_path / "body").read_bytes() == body.content  # type: ignore[attr-defined]
    assert f"math.abs(found - {checked}) > 1e-05" in script
    assert f'io.open("{tmp_path / "body"}", "rb")' in script


def test_what_the_script_says_of_a_wrong_answer_ends_the_measurement(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    program = tmp_path / "wrk"
    program.write_text("#!/bin/sh\nprintf 'status 503, \\377' >&2\nexit 1\n")
    program.chmod(0o755)
    monkeypatch.setenv("PATH", f"{tmp_path}:/bin:/usr/bin")
    with pytest.raises(LoadFailed, match="wrk on URL failed: status 503"):
        Target("URL", tmp_path / "request.lua").measure(1, 1)


def test_the_median_is_of_each_figure_by_itself() -> None:
    assert median([Load(1, 9, 5), Load(3, 7, 1), Load(2, 8, 9)]) == Load(2, 8, 5)


@pytest.mark.parametrize(("ours", "reached"), [(140.0, True), (141.0, False)])
def test_at_most_is_of_the_latency(ours: float, reached: bool) -> None:
    goal = Goal("one-row", 1, "p50", "a", "b", 0.7, "at most")
    measured = rounds("one-row", "a", 1, 1.0, ours, 999.0, p50=True) + rounds(
        "one-row", "b", 1, 200, 200, 200, p50=True
    )
    found = evaluate(goal, measured)
    assert found is not None
    assert found.reached is reached
    assert (found.ratio, found.least, found.greatest) == (ours / 200, 1 / 200, 999 / 200)


@pytest.mark.parametrize(("ours", "reached"), [(400.0, True), (399.0, False)])
def test_at_least_is_of_the_rate(ours: float, reached: bool) -> None:
    goal = Goal("one-row", 16, "rate", "a", "b", 2, "at least")
    found = evaluate(goal, rounds("one-row", "a", 16, ours) + rounds("one-row", "b", 16, 200.0))
    assert found is not None
    assert found.reached is reached


@pytest.mark.parametrize(("ours", "reached"), [(79.0, False), (80.0, True), (105.0, True), (157.0, None)])
def test_a_server_that_passes_its_ceiling_was_not_measured_but_disturbed(ours: float, reached: bool | None) -> None:
    goal = Goal("1000-rows", 1, "rate", "a", "b", 0.8, "at least", ceiling=True)
    found = evaluate(goal, rounds("1000-rows", "a", 1, ours) + rounds("1000-rows", "b", 1, 100.0))
    assert found is not None
    assert found.reached is reached


def test_a_disturbed_run_is_called_so_and_never_reached() -> None:
    disturbed = result(*whole_case("1000-rows", lambda label: 157.0 if "binary" in label else 100.0))
    page = report.page(disturbed)
    assert page.count("| **disturbed run**: a server can't pass its ceiling |") == 2
    assert "| yes |" not in page
    assert sum("DISTURBED" in line for line in report.terminal(disturbed)) == 2


def test_a_goal_of_which_a_side_is_missing_is_not_judged() -> None:
    goal = Goal("one-row", 16, "rate", "a", "b", 2, "at least")
    assert evaluate(goal, rounds("one-row", "a", 16, 400.0)) is None
    assert evaluate(goal, rounds("one-row", "a", 16, 400.0) + rounds("one-row", "b", 1, 200.0)) is None


def test_every_goal_is_of_contestants_that_are_measured_at_so_many_clients() -> None:
    for goal in GOALS:
        case = CASES[goal.case]
        assert {goal.of, goal.against} <= {contestant.label for contestant in case.contestants}
        assert goal.clients in case.clients


def test_every_server_of_a_case_can_be_started() -> None:
    for case in CASES.values():
        assert {*case.servers} <= {*PEERS, INLINE, REPLICA}
        assert case.baseline in {contestant.label for contestant in case.contestants}


def test_no_contestant_is_always_first() -> None:
    contestants = CASES["one-row"].contestants
    turns = [order(contestants, number) for number in range(len(contestants))]
    assert {turn[0] for turn in turns} == {*contestants}
    assert all({*turn} == {*contestants} for turn in turns)


def test_the_page_says_what_was_reached_and_what_was_not() -> None:
    measured = whole_case("one-row", lambda label: 250.0 if label == "this ingress" else 200.0)
    page = report.page(result(*measured))
    goals = [line for line in page.splitlines() if " × MLServer |" in line and "goal" not in line and "at " in line]
    assert goals == [
        "| one row, 1 client: p50 of this ingress at most 0.7 × MLServer | 0.80 | 0.80–0.80 | **no** |",
        "| one row, 16 clients: requests/s of this ingress at least 2 × MLServer | 1.25 | 1.25–1.25 | **no** |",
    ]
    assert "| 16 | this ingress | 250 | 1.25 | 4.00 ms | 0.80 | 9.00 ms |" in page
    faster = report.page(result(*whole_case("one-row", lambda label: 500.0 if label == "this ingress" else 200.0)))
    assert faster.count("| yes |") == 2


def test_the_page_names_the_machine_and_what_was_left_out() -> None:
    page = report.page(result(*whole_case("one-row", lambda _: 100.0)))
    assert (
        "Measured on 2026-01-02 by `python -m benchmarks ingress`: A CPU @ 2 GHz, 2 cores, x86_64, "
        "Python 3.11.9; ray 2, mlserver 1.7.1. The load average before it was 0.1." in page
    )
    assert page.count("Not measured in this run.") == 2
    assert page.count("| not measured |") == 6
    assert "$" not in page
    headings = [line for line in page.splitlines() if line.startswith("#")]
    assert len(headings) == len({*headings})


def test_rows_a_second_are_requests_times_rows() -> None:
    page = report.page(result(*whole_case("1000-rows", lambda _: 40.0)))
    assert "| 2 | this ingress, binary | 40,000 | 1.00 | 25.00 ms | 1.00 | 9.00 ms |" in page


def test_the_terminal_shows_tables_of_what_was_measured_alone() -> None:
    lines = [*report.terminal(result(*whole_case("replica", lambda label: 80.0 if label == "replica" else 100.0)))]
    assert "\nPlacement `replica` against `inline`, one row a request" in lines
    assert "\nOne row a request" not in lines
    assert any("placement replica" in line and "reached: 0.80" in line for line in lines)


def test_the_rounds_are_kept_whole() -> None:
    measured = whole_case("replica", lambda _: 100.0)
    kept = json.loads(json.dumps(report.document(result(*measured))))
    assert len(kept["measured"]) == len(measured)
    assert kept["measured"][0]["load"] == {"p50": 10.0, "p99": 9.0, "rate": 100.0}
    assert [goal["ratio"] for goal in kept["goals"]] == [1.0]


def test_the_cpu_is_found_in_what_linux_says_of_it() -> None:
    assert report.cpu_model("processor\t: 0\nmodel name\t: A CPU @ 2 GHz\nflags: x\n") == "A CPU @ 2 GHz"
    assert report.cpu_model("") == "unknown CPU"


@pytest.mark.parametrize("placement", [INLINE, REPLICA])
def test_the_measured_settings_are_those_of_the_file_for_one_model(placement: str, tmp_path: Path) -> None:
    base = {
        "http": {"max_body_bytes": 2048, "host": "0.0.0.0"},
        "access": {"keys": "sqlite:///mine.db"},
        "models": {"a": {"threads": 4, "replicas": 2, "ranges": "clip"}, "b": None},
        "default_model": "b",
    }
    made = benchmark_settings(base, "a", tmp_path, placement=placement, http_port=1, dashboard_port=2)
    settings = Settings.model_validate(made)
    assert (settings.http.host, settings.http.port, settings.http.max_body_bytes) == ("127.0.0.1", 1, 2048)
    assert settings.dashboard.port == 2
    assert [*settings.models] == ["a"]
    model = settings.models["a"]
    assert (model.placement, model.threads, model.replicas, model.ranges) == (placement, 1, 1, "clip")
    assert settings.limits.requests_per_second == model.limits.requests_per_second == 1e6
    assert settings.access.keys == f"sqlite:///{tmp_path}/keys.db"


def test_the_peers_run_the_onnx_runtime_that_this_project_runs() -> None:
    ours = [line for line in Path("requirements.lock").read_text().splitlines() if line.startswith("onnxruntime==")]
    for peer in PEERS.values():
        if peer.installed:
            assert ours[0] in (SOURCES / peer.package / "requirements.txt").read_text().splitlines()


def test_without_wrk_the_ingress_benchmark_says_how_to_get_it(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    assert main(["ingress"]) == 2
    assert capsys.readouterr().err == "error: wrk is not installed: apt-get install wrk\n"


@pytest.mark.parametrize("arguments", [["--rounds", "0"], ["--seconds", "x"], ["--only", "everything"]])
def test_an_argument_that_can_t_be_is_one_line(arguments: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["ingress", *arguments]) == 2
    assert capsys.readouterr().err.startswith(f"error: argument {arguments[0]}: ")


def test_a_view_that_is_not_there_is_one_line(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["lightgbm", "--view", "nowhere"]) == 2
    assert capsys.readouterr().err.startswith("error: no contract at nowhere")
