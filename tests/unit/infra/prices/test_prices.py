"""``python -m infra prices`` against sites that speak as AWS's price list and Azure's retail prices do."""

from __future__ import annotations

import json
import re
import shutil
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest

from infra import web
from infra.prices import aws
from infra.prices.command import main
from infra.web import WebError, answered, pages, same_site
from policies.cost.prices import FOLDER, read_table
from tests.unit.infra.sites import Answer, Request, site

HEADER = (
    '"FormatVersion","v1.0"\n"Disclaimer","For information, only"\n"Publication Date","2026-11-20T00:00:00Z"\n'
    '"Version","20261120000000"\n"OfferCode","AmazonEC2"\n'
    '"SKU","OfferTermCode","RateCode","TermType","PriceDescription","EffectiveDate","StartingRange","EndingRange",'
    '"Unit","PricePerUnit","Currency","Product Family","serviceCode","Database Engine","usageType","operation"\n'
)


def row(usage: str, usd: str, operation: str = "", start: str = "0", term: str = "OnDemand", engine: str = "") -> str:
    cells = ["S", "T", "R", term, "a price, of sorts", "2026-11-01", start, "Inf", "Hrs", usd, "USD", "", "", engine]
    return ",".join(f'"{cell}"' for cell in [*cells, usage, operation]) + "\n"


EC2 = HEADER + "".join(
    [
        row("BoxUsage:g6.xlarge", "0.9000000000", "RunInstances"),
        row("BoxUsage:g6.xlarge", "5.0000000000", "RunInstances:0002"),
        row("BoxUsage:g6.xlarge", "0.5000000000", "RunInstances", term="Reserved"),
        row("EBS:VolumeUsage.gp3", "0.0800000000"),
        row("USE1-NatGateway-Hours", "0.0460000000"),
    ]
)
RDS = HEADER + "".join(
    [
        row("RDS:GP3-Storage", "0.1200000000", engine="PostgreSQL"),
        row("RDS:GP3-Storage", "0.1300000000", engine="MySQL"),
    ]
)
STORE = HEADER + row("TimedStorage-ByteHrs", "0") + row("TimedStorage-ByteHrs", "0.3000000000", start="25")


def query(service: str, usage: str, **more: Any) -> dict[str, Any]:
    return {"api": "aws", "service": service, "usage": usage, **more}


def price(usd: float | None, found_by: dict[str, Any] | None) -> dict[str, Any]:
    page = "https://aws.amazon.com/"
    return {"usd": usd, "unit": "hour", "as_of": "2025-01-01", "source": page} | (
        {"query": found_by} if found_by else {}
    )


AWS: dict[str, Any] = {
    "cloud": "aws",
    "currency": "USD",
    "regions": {
        "us-east-1": {
            "ec2.g6.xlarge": price(0.8, query("AmazonEC2", "BoxUsage:g6.xlarge", operation="RunInstances")),
            "ebs.gp3": price(0.08, query("AmazonEC2", "EBS:VolumeUsage.gp3")),
            "nat.hour": price(0.045, query("AmazonEC2", "NatGateway-Hours")),
            "rds.gp3": price(
                0.115, query("AmazonRDS", "RDS:GP3-Storage", attributes={"Database Engine": "PostgreSQL"})
            ),
            "dynamodb.gb": price(0.25, query("AmazonDynamoDB", "TimedStorage-ByteHrs", start=25)),
            "dashboard": price(3, None),
        }
    },
}
AZURE: dict[str, Any] = {
    "cloud": "azure",
    "currency": "USD",
    "regions": {
        "westeurope": {
            "container-apps.request": price(
                None,
                {
                    "api": "azure",
                    "service": "Azure Container Apps",
                    "meter": "Standard Requests",
                    "sku": "Standard",
                    "scale": 0.000001,
                },
            ),
            "log-analytics.gb": price(
                None, {"api": "azure", "service": "Log Analytics", "meter": "Analytics Logs Data Ingestion", "start": 5}
            ),
        }
    },
}


def item(meter: str, usd: float, **more: Any) -> dict[str, Any]:
    common = {"currencyCode": "USD", "tierMinimumUnits": 0.0, "type": "Consumption", "armRegionName": "westeurope"}
    return {**common, "skuName": "Standard", "meterName": meter, "retailPrice": usd, "unitOfMeasure": "1M", **more}


def answer(request: Request) -> Answer:
    if "/offers/" in request.path:
        service = request.path.split("/")[4]
        return Answer({"AmazonEC2": EC2, "AmazonRDS": RDS, "AmazonDynamoDB": STORE}[service])
    host = f"http://{request.headers['host']}"
    if "serviceName eq 'Azure Container Apps'" in request.path:
        if "$skip" not in request.path:
            return Answer({"Items": [item("Standard vCPU", 1)], "NextPageLink": f"{host}{request.path}&$skip=1"})
        return Answer(
            {"Items": [item("Standard Requests", 0.6), item("Standard Requests", 9, type="DevTestConsumption")]}
        )
    tiers = [item("Analytics Logs Data Ingestion", 0), item("Analytics Logs Data Ingestion", 3, tierMinimumUnits=5.0)]
    return Answer({"Items": tiers, "NextPageLink": None})


@pytest.fixture
def tables(tmp_path: Path) -> Path:
    (tmp_path / "aws.json").write_text(json.dumps(AWS))
    (tmp_path / "azure.json").write_text(json.dumps(AZURE))
    return tmp_path


def refresh(tables: Path, url: str) -> int:
    return main(["--refresh", "--tables", str(tables), "--aws", url, "--azure", url])


def test_prices_are_read_anew(tables: Path, capsys: pytest.CaptureFixture[str]) -> None:
    with site(answer) as there:
        assert refresh(tables, there.url) == 0
    known = read_table(tables / "aws.json").regions["us-east-1"]
    assert {key: each.usd for key, each in known.items()} == {
        "ec2.g6.xlarge": 0.9,
        "ebs.gp3": 0.08,
        "nat.hour": 0.046,
        "rds.gp3": 0.12,
        "dynamodb.gb": 0.3,
        "dashboard": 3,
    }
    today = datetime.now(UTC).date()
    assert known["ebs.gp3"].as_of == today, "it is known to be so today"
    assert known["dashboard"].as_of.year == 2025, "what has no query stays as old as it is"
    assert known["ebs.gp3"].seen.endswith("/offers/v1.0/aws/AmazonEC2/current/us-east-1/index.csv")
    found = read_table(tables / "azure.json").regions["westeurope"]
    assert found["container-apps.request"].usd == 6e-07
    assert found["log-analytics.gb"].usd == 3
    assert sum("/AmazonEC2/" in each.path for each in there.requests) == 1, "one list is read once"
    assert "ec2.g6.xlarge: 0.8 → 0.9" in capsys.readouterr().out


def test_what_is_not_found_or_found_twice_keeps_its_price(tables: Path, capsys: pytest.CaptureFixture[str]) -> None:
    twice = EC2 + row("EBS:VolumeUsage.gp3", "0.0900000000")

    def other(request: Request) -> Answer:
        if "/AmazonEC2/" in request.path:
            return Answer(twice.replace("NatGateway-Hours", "NatGateway-Days"))
        return answer(request)

    with site(other) as there:
        assert refresh(tables, there.url) == 1
    known = read_table(tables / "aws.json").regions["us-east-1"]
    assert (known["ebs.gp3"].usd, known["nat.hour"].usd) == (0.08, 0.045)
    assert known["ebs.gp3"].as_of.year == 2025
    said = capsys.readouterr().out
    assert "ebs.gp3: several prices: 0.08, 0.09" in said
    assert "nat.hour: not in the list" in said


@pytest.mark.parametrize(
    ("bad", "said"),
    [
        (Answer("nothing", 404), "answers 404: nothing"),
        (Answer({}, 429, {"Retry-After": "60"}), "asked too often: again in 60 s"),
        (Answer("<html>"), "expected a price list with the columns"),
        (Answer(HEADER + row("BoxUsage:g6.xlarge", "free", "RunInstances")), "expected a price, got 'free'"),
    ],
)
def test_a_site_that_fails_leaves_the_table(
    tables: Path, capsys: pytest.CaptureFixture[str], bad: Answer, said: str
) -> None:
    before = (tables / "aws.json").read_text()
    with site(lambda request: bad if "/AmazonEC2/" in request.path else answer(request)) as there:
        assert refresh(tables, there.url) == 2
    assert (tables / "aws.json").read_text() == before
    error = capsys.readouterr().err
    assert said in error
    assert error.count("\n") == 1


@pytest.mark.parametrize(
    ("bad", "said"),
    [
        (Answer("<html>"), "does not answer in JSON"),
        (Answer([]), "does not answer with a JSON object"),
        (Answer({}), "expected a list of Items"),
        (Answer({"Items": [{}]}), "expected items with a retailPrice"),
        (Answer({"Items": [], "NextPageLink": "https://elsewhere.example/"}), "the next page is on another site"),
    ],
)
def test_what_azure_never_says(tables: Path, capsys: pytest.CaptureFixture[str], bad: Answer, said: str) -> None:
    before = (tables / "azure.json").read_text()
    with site(lambda request: answer(request) if "/offers/" in request.path else bad) as there:
        assert refresh(tables, there.url) == 2
    assert (tables / "azure.json").read_text() == before
    assert said in capsys.readouterr().err


def test_a_site_that_is_not_there(tables: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert refresh(tables, "http://127.0.0.1:1") == 2
    assert "can't be reached" in capsys.readouterr().err
    assert refresh(tables, "file:///etc/passwd?") == 2
    assert "expected an address" in capsys.readouterr().err
    for url in ("http://[", "http://127.0.0.1:many", "http://127.0.0.1:99999"):
        assert refresh(tables, url) == 2
        error = capsys.readouterr().err
        assert "no address" in error
        assert error.count("\n") == 1


def test_a_token_stays_with_the_site_that_it_is_for() -> None:
    with (
        site(lambda _: Answer({"it": "answers"})) as other,
        site(lambda _: Answer(status=302, headers={"location": f"{other.url}/new"})) as there,
    ):
        assert answered(there.url, headers={"authorization": "Bearer token"}) == {"it": "answers"}
        assert answered(there.url, {"a": "query"}, {"authorization": "Bearer token"}) == {"it": "answers"}
    assert [each.headers.get("authorization") for each in there.requests] == ["Bearer token"] * 2
    assert [each.headers.get("authorization") for each in other.requests] == [None] * 2


def of_three(request: Request) -> Answer:
    number = int(request.path[1:])
    following = f"http://{request.headers['host']}/{number + 1}" if number < 3 else None
    return Answer({"number": number, "next": following})


def test_pages_are_read_to_the_last_that_may_be(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(web, "MOST_PAGES", 3)
    with site(of_three) as there:
        assert [page["number"] for page in pages(f"{there.url}/1", lambda page: page["next"])] == [1, 2, 3]


def test_pages_without_an_end(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(web, "MOST_PAGES", 2)
    with site(of_three) as there, pytest.raises(WebError, match="answers with more than 2 pages"):
        list(pages(f"{there.url}/1", lambda page: page["next"]))
    assert len(there.requests) == 2


def test_a_list_without_an_end(
    tables: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(aws, "LARGEST_LIST", 200)
    with site(answer) as there:
        assert refresh(tables, there.url) == 2
    assert "a file of more than" in capsys.readouterr().err


def test_how_old_they_are(tables: Path, capsys: pytest.CaptureFixture[str]) -> None:
    document = json.loads(json.dumps(AWS))
    document["regions"]["us-east-1"]["nat.hour"] |= {"as_of": "2026-02-03", "seen": "https://prices.example/"}
    (tables / "aws.json").write_text(json.dumps(document))
    assert main(["--tables", str(tables)]) == 0
    assert capsys.readouterr().out.splitlines() == [
        "aws us-east-1: 6 prices, of 2025-01-01 to 2026-02-03; 5 seen nowhere, 0 not known, 1 without a query",
        "azure westeurope: 0 prices; 0 seen nowhere, 2 not known, 0 without a query",
    ]


def test_tables_that_are_none(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["--tables", str(tmp_path)]) == 2
    assert "no table of prices there" in capsys.readouterr().err
    (tmp_path / "aws.json").write_text("{}")
    assert main(["--tables", str(tmp_path)]) == 2
    assert "cloud" in capsys.readouterr().err


def asked_for(request: Request) -> tuple[str, str]:
    """The region and the service."""
    of_aws = re.search(r"/aws/(?P<service>[^/]+)/current/(?P<region>[^/]+)/", request.path)
    of_azure = re.search(r"serviceName eq '(?P<service>[^']+)' and armRegionName eq '(?P<region>[^']+)'", request.path)
    found = of_aws or of_azure
    assert found is not None, request.path
    return found["region"], found["service"]


def test_every_query_of_the_shipped_tables_is_asked(tmp_path: Path) -> None:
    for file in FOLDER.glob("*.json"):
        shutil.copy(file, tmp_path)
    with site(lambda request: Answer(HEADER if "/offers/" in request.path else {"Items": []})) as there:
        assert refresh(tmp_path, there.url) == 1
    queried = {
        (region, each.query.service)
        for file in FOLDER.glob("*.json")
        for region, prices in read_table(file).regions.items()
        for each in prices.values()
        if each.query is not None
    }
    assert sorted(asked_for(each) for each in there.requests) == sorted(queried)
    for file in FOLDER.glob("*.json"):
        assert read_table(tmp_path / file.name) == read_table(file)


def test_a_page_says_the_port_that_goes_without_saying() -> None:
    assert same_site("https://prices.azure.com:443/api?$skip=100", "https://prices.azure.com/api")
    assert not same_site("http://prices.azure.com/api", "https://prices.azure.com/api")
    assert not same_site("https://prices.azure.com:many/", "https://prices.azure.com/api")
    assert not same_site("https://[", "https://prices.azure.com/api")
