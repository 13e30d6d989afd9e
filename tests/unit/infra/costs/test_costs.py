"""``python -m infra costs`` against moto's server, and a site that speaks as Azure's Cost Management does."""

from __future__ import annotations

import csv
import shlex
from collections.abc import Callable
from datetime import date
from pathlib import Path
from typing import Any

import boto3  # type: ignore[import-untyped]
import pytest
from botocore.exceptions import ClientError  # type: ignore[import-untyped]
from matplotlib.figure import Figure

from infra.costs import aws as cost_explorer
from infra.costs import azure
from infra.costs.command import main
from infra.costs.plot import draw
from infra.costs.spent import CostsError, Spent, totals
from infra.web import WebError
from tests.documentation import ROOT, examples
from tests.unit.infra.check.good import SETTINGS
from tests.unit.infra.costs.bill import PERIOD, day, last, program, run, told
from tests.unit.infra.sites import Answer, Request, Site, site

SUBSCRIPTION = "00000000-0000-4000-8000-000000000000"
TAGS = {"project": "ml-training-deployment", "stack": "dev"}
WITH_AZURE = "  ml-training-deployment:azure: {tracking_uri: 'https://mlflow.example.com'}\n"


def test_pages_of_cost_explorer_are_read_to_the_end(moto: str) -> None:
    one = {"ResultsByTime": [day(PERIOD.first, {"Amazon ECS": "1.5", "Tax": "0.5"})], "NextPageToken": "more"}
    told(moto, one, {"ResultsByTime": [day(date(2026, 11, 2), {"Amazon ECS": "2"})]})
    found = list(cost_explorer.read(PERIOD, TAGS))
    assert totals(found) == {("AWS", "Amazon ECS", "USD"): 3.5, ("AWS", "Tax", "USD"): 0.5}
    assert {each.day for each in found} == {date(2026, 11, 1), date(2026, 11, 2)}


def test_the_values_of_a_tag(moto: str) -> None:
    told(moto, {"ResultsByTime": [day(PERIOD.first, {"owner$ml": "1", "owner$": "2"})]})
    found = list(cost_explorer.read(PERIOD, TAGS, "owner"))
    assert [(each.group, each.amount) for each in found] == [("ml", 1), ("(no value)", 2)]


def test_what_is_asked_of_cost_explorer(monkeypatch: pytest.MonkeyPatch) -> None:
    asked: list[dict[str, Any]] = []
    regions: list[str] = []

    class Session:
        def client(self, _: str, region_name: str, **__: Any) -> Session:
            regions.append(region_name)
            return self

        def get_cost_and_usage(self, **request: Any) -> dict[str, Any]:
            asked.append(request)
            return {"ResultsByTime": []}

    monkeypatch.setattr(boto3, "Session", Session)
    assert not list(cost_explorer.read(PERIOD, TAGS))
    assert regions == ["us-east-1"], "whatever region the environment names"
    assert asked == [
        {
            "TimePeriod": {"Start": "2026-11-01", "End": "2026-11-03"},
            "Granularity": "DAILY",
            "Metrics": ["UnblendedCost"],
            "Filter": {
                "And": [
                    {"Tags": {"Key": "project", "Values": ["ml-training-deployment"]}},
                    {"Tags": {"Key": "stack", "Values": ["dev"]}},
                ]
            },
            "GroupBy": [{"Type": "DIMENSION", "Key": "SERVICE"}],
        }
    ]


@pytest.mark.parametrize(
    ("code", "message", "said"),
    [
        ("AccessDeniedException", "User not enabled for cost explorer access", "is not enabled in this account"),
        ("AccessDeniedException", "not authorized", "can't call ce:GetCostAndUsage, access is denied"),
        ("AccessDeniedException", "not authorized", "see this role's policy and credentials"),
        ("ExpiredTokenException", "expired", "see this role's policy and credentials"),
        ("DataUnavailableException", "Data is not available", "takes a day after it was enabled"),
        ("ValidationException", "start date is too old", "AWS answered ValidationException: start date is too old"),
    ],
)
def test_refusals_are_one_line(
    folder: Path,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
    code: str,
    message: str,
    said: str,
) -> None:
    class Session:
        def client(self, *_: Any, **__: Any) -> Session:
            return self

        def get_cost_and_usage(self, **_: Any) -> dict[str, Any]:
            raise ClientError({"Error": {"Code": code, "Message": message}}, "GetCostAndUsage")

    monkeypatch.setattr(boto3, "Session", Session)
    assert run(folder) == 2
    error = capsys.readouterr().err
    assert said in error
    assert error.count("\n") == 1


def test_no_credentials(folder: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY"):
        monkeypatch.delenv(name)
    assert run(folder) == 2
    assert capsys.readouterr().err == (
        "error: AWS Cost Explorer: can't call ce:GetCostAndUsage, no AWS credentials are found: "
        "set AWS_PROFILE, log in, or give this task a role\n"
    )


def test_a_site_that_is_not_there(
    folder: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("AWS_ENDPOINT_URL", "http://127.0.0.1:1")
    assert run(folder) == 2
    error = capsys.readouterr().err
    assert "AWS Cost Explorer: can't call ce:GetCostAndUsage, AWS is not reached" in error
    assert error.count("\n") == 1


def test_the_table_beside_the_estimate(moto: str, folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    told(moto, {"ResultsByTime": [day(last(2), {"Amazon ECS": "1.5"}), day(last(1), {"EC2 - Other": "2.25"})]})
    assert run(folder, "--days", "2") == 0
    said = [line for line in capsys.readouterr().out.splitlines() if line.startswith("  ")]
    assert said == [
        f"  dev, {last(2)} to {last(1)}, 2 days",
        "  AWS: EC2 - Other  USD         2.25",
        "  AWS: Amazon ECS   USD         1.50",
        "  all               USD         3.75",
        "  estimated for 2 days: USD 0.24 idle, 0.24 full",
    ]


def test_by_day_with_a_file_and_a_picture(moto: str, folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    told(moto, {"ResultsByTime": [day(last(2), {"ECS": "1.5", "Refund": "-0.5"}), day(last(1), {"ECS": "2"})]})
    table, picture = folder / "costs.csv", folder / "costs.png"
    assert run(folder, "--days", "3", "--by", "day", "--csv", str(table), "--plot", str(picture)) == 0
    said = capsys.readouterr().out
    assert f"  {last(3)}  USD         0.00" in said
    assert f"  {last(2)}  USD         1.00" in said
    rows = list(csv.reader(table.read_text().splitlines()))
    assert rows[0] == ["day", "cloud", "group", "amount", "currency"]
    assert [last(1).isoformat(), "AWS", "ECS", "2.000000", "USD"] in rows
    assert picture.read_bytes().startswith(b"\x89PNG")


def test_the_command_of_the_page(moto: str, folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(folder)
    told(moto, {"ResultsByTime": [day(last(1), {"ECS": "2"})]})
    command = next(each.program for each in examples(ROOT / "docs" / "costs.md") if " infra costs " in each.program)
    assert main(shlex.split(command)[4:], program, {}) == 0
    assert (folder / "costs.csv").exists()
    assert (folder / "costs.png").exists()


def test_nothing_was_spent(moto: str, folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert run(folder) == 0
    assert "cost allocation tags" in capsys.readouterr().out


@pytest.mark.parametrize("option", ["--csv", "--plot"])
def test_a_file_that_cannot_be_written(
    moto: str, folder: Path, capsys: pytest.CaptureFixture[str], option: str
) -> None:
    told(moto, {"ResultsByTime": [day(last(1), {"ECS": "1"})]})
    assert run(folder, option, str(folder / "none" / "file")) == 2
    assert "cannot be written" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("argv", "said"),
    [
        (["--stack", "dev", "--days", "0"], "--days 0: expected 1 to 365"),
        (["--stack", "dev", "--days", "many"], "invalid int value"),
        (["--stack", "dev", "--by", "hour"], "invalid choice"),
        (["--stack", "nope"], "Pulumi.nope.yaml: cannot be read"),
        ([], "--stack"),
    ],
)
def test_mistakes(argv: list[str], said: str, folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main([*argv, "--folder", str(folder)], program, {}) == 2
    assert said in capsys.readouterr().err


def test_many_groups_are_drawn_with_the_rest_together(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    legend: list[str] = []
    save = Figure.savefig

    def saved(figure: Figure, *arguments: Any, **options: Any) -> None:
        legend.extend(figure.axes[0].get_legend_handles_labels()[1])
        save(figure, *arguments, **options)

    monkeypatch.setattr(Figure, "savefig", saved)
    spent = [Spent(PERIOD.first, "AWS", f"service {number}", number, "USD") for number in range(20)]
    draw(tmp_path / "costs.png", "dev", PERIOD, spent, (1, 2))
    dearest = [f"AWS: service {number}" for number in range(19, 10, -1)]
    assert legend == ["estimate: 1.00 to 2.00 a day", *dearest, "others"]
    assert (tmp_path / "costs.png").stat().st_size > 1000


COLUMNS = [
    {"name": "Cost", "type": "Number"},
    {"name": "UsageDate", "type": "Number"},
    {"name": "ServiceName", "type": "String"},
    {"name": "Currency", "type": "String"},
]


def page(rows: list[list[Any]], link: str | None = None, columns: list[dict[str, str]] = COLUMNS) -> Answer:
    return Answer({"id": "x", "type": "y", "properties": {"nextLink": link, "columns": columns, "rows": rows}})


def asked(answer: Callable[[Request], Answer], tag: str = "") -> tuple[list[Spent], Site]:
    with site(answer) as there:
        return list(azure.read(azure.Access(SUBSCRIPTION, "secret", there.url), PERIOD, TAGS, tag)), there


def test_pages_of_azure_are_read_to_the_end() -> None:
    def answer(request: Request) -> Answer:
        if "skiptoken" in request.path:
            return page([[2, 20261102, "Log Analytics", "EUR"]])
        return page(
            [[1.5, 20261101, "Container Apps", "EUR"]], f"http://{request.headers['host']}{request.path}&$skiptoken=1"
        )

    found, there = asked(answer)
    assert [(each.day.day, each.group, each.amount, each.currency) for each in found] == [
        (1, "Container Apps", 1.5, "EUR"),
        (2, "Log Analytics", 2, "EUR"),
    ]
    first = there.requests[0]
    path = f"/subscriptions/{SUBSCRIPTION}/providers/Microsoft.CostManagement/query?api-version={azure.VERSION}"
    assert first.path == path
    assert first.headers["authorization"] == "Bearer secret"
    assert first.body["timePeriod"] == {"from": "2026-11-01T00:00:00Z", "to": "2026-11-02T23:59:59Z"}
    assert first.body["dataset"]["grouping"] == [{"type": "Dimension", "name": "ServiceName"}]
    assert first.body["dataset"]["filter"]["and"][1]["tags"] == {"name": "stack", "operator": "In", "values": ["dev"]}


def test_the_values_of_a_tag_on_azure() -> None:
    columns = [*COLUMNS[:2], {"name": "TagKey", "type": "String"}, {"name": "TagValue", "type": "String"}, COLUMNS[3]]
    found, there = asked(lambda _: page([[1, 20261101, "owner", "ml", "USD"]], columns=columns), "owner")
    assert [each.group for each in found] == ["ml"]
    assert there.requests[0].body["dataset"]["grouping"] == [{"type": "TagKey", "name": "owner"}]


@pytest.mark.parametrize(
    "bad",
    [
        Answer({}),
        page([[1, 20261101, "x"]]),
        page([[1, "yesterday", "x", "USD"]]),
        page([[1, 20261101, "x", "USD"]], columns=COLUMNS[:3]),
    ],
)
def test_what_azure_never_says(bad: Answer) -> None:
    with pytest.raises(CostsError, match="Azure's Cost Management"):
        asked(lambda _: bad)


def test_azure_leads_to_another_site() -> None:
    with pytest.raises(WebError, match="the next page is on another site: https://elsewhere"):
        asked(lambda _: page([], "https://elsewhere.example/next"))


def test_azure_is_asked_where_the_stack_has_it_and_the_environment_names_it(
    moto: str, folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (folder / "Pulumi.dev.yaml").write_text(SETTINGS + WITH_AZURE)
    assert run(folder) == 0
    assert "not asked: Azure: set AZURE_SUBSCRIPTION_ID" in capsys.readouterr().out
    environment = {"AZURE_SUBSCRIPTION_ID": SUBSCRIPTION, "AZURE_ACCESS_TOKEN": "secret"}
    yesterday = f"{last(1):%Y%m%d}"
    with site(lambda _: page([[1.5, int(yesterday), "Container Apps", "EUR"]])) as there:
        assert run(folder, environment=environment, site_=there.url) == 0
    said = capsys.readouterr().out
    assert "  Azure: Container Apps  EUR         1.50" in said
    assert "secret" not in said


@pytest.mark.parametrize(
    ("environment", "said"),
    [
        ({"AZURE_SUBSCRIPTION_ID": "mine", "AZURE_ACCESS_TOKEN": "t"}, "expected a subscription's id"),
        ({"AZURE_SUBSCRIPTION_ID": SUBSCRIPTION}, "AZURE_ACCESS_TOKEN is not: export"),
    ],
)
def test_half_an_access(
    folder: Path, capsys: pytest.CaptureFixture[str], environment: dict[str, str], said: str
) -> None:
    (folder / "Pulumi.dev.yaml").write_text(SETTINGS + WITH_AZURE)
    assert run(folder, environment=environment) == 2
    assert said in capsys.readouterr().err


def test_azure_refuses(moto: str, folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (folder / "Pulumi.dev.yaml").write_text(SETTINGS + WITH_AZURE)
    environment = {"AZURE_SUBSCRIPTION_ID": SUBSCRIPTION, "AZURE_ACCESS_TOKEN": "secret"}
    with site(lambda _: Answer({"error": {"code": "InvalidAuthenticationToken"}}, 401)) as there:
        assert run(folder, environment=environment, site_=there.url) == 2
    error = capsys.readouterr().err
    assert "answers 401" in error
    assert "InvalidAuthenticationToken" in error
    assert "secret" not in error
