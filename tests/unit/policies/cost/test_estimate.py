"""What a stack costs in a month."""

from __future__ import annotations

import dataclasses
import subprocess
import sys
import time

import pytest
from hypothesis import given
from hypothesis import strategies as st

from policies.cost import NOT_COUNTED, Charge, Surroundings, estimate
from policies.cost.estimate import aws_region
from policies.cost.estimators import ESTIMATORS, FREE
from policies.cost.prices import shipped
from policies.cost.usage import assumed
from policies.node import UNKNOWN, Resource, Stack
from policies.testing import put, resource, stack
from tests.unit.policies.cost.stacks import REGION, budget, prices, service, target, task, template

KEY = resource("aws:kms/key:Key", {"region": REGION}, "key")
ADDRESS = resource("aws:ec2/eip:Eip", {}, "address")


def test_a_small_stack_costs_what_is_counted_by_hand() -> None:
    of = task("2048", "4096")
    web = service(of)
    found = estimate(stack(of, web, target(web, 2, 5), ADDRESS, budget()))
    one_task = (2 * 0.04048 + 4 * 0.004445) * 730
    assert found.idle == pytest.approx(2 * one_task + 0.005 * 730)
    assert found.full == pytest.approx(5 * one_task + 0.005 * 730)
    assert round(found.idle, 2) == 147.81
    assert not found.unknown
    assert found.free["aws:budgets/budget:Budget budget"] == "budgets without actions are free"


def test_a_service_without_autoscaling_has_the_tasks_that_it_is_given() -> None:
    of = task()
    found = estimate(stack(of, service(of, desiredCount=3)))
    assert found.idle == found.full == pytest.approx(3 * (0.04048 + 2 * 0.004445) * 730)


def test_spot_is_a_range_up_to_the_price_on_demand() -> None:
    of = template()
    nodes = resource(
        "aws:eks/nodeGroup:NodeGroup",
        {
            "instanceTypes": ["g6.2xlarge"],
            "capacityType": "SPOT",
            "scalingConfig": {"minSize": 1, "maxSize": 3},
            "region": REGION,
        },
        links={"launchTemplate": [of]},
    )
    known = prices(ec2__g6__2xlarge=1.0, ebs__gp3=0.1)
    found = estimate(stack(of, nodes), prices=known)
    assert found.idle == pytest.approx(0.1 * 1 * 730 + 0.1 * 100)
    assert found.full == pytest.approx(1.0 * 3 * 730 + 3 * 0.1 * 100)


def test_an_unknown_price_is_a_line_of_its_own_and_in_no_sum() -> None:
    found = estimate(stack(KEY), prices=prices(kms__key=1.0))
    assert [(each.what, each.unknown) for each in found.unknown] == [
        ("1,000,000 requests", "no price of kms.request in us-east-1")
    ]
    assert (found.idle, found.full) == (1.0, 1.0)


def test_a_price_that_waits_for_a_refresh_is_unknown() -> None:
    found = estimate(stack(ADDRESS), prices=prices(ipv4__hour=None), region=REGION)
    assert [each.unknown for each in found.lines] == ["no price of ipv4.hour in us-east-1"]


@pytest.mark.parametrize(
    ("region", "reason"), [("eu-north-1", "no prices of eu-north-1"), ("", "no prices of a region that nothing names")]
)
def test_prices_of_another_region_are_never_taken(region: str, reason: str) -> None:
    found = estimate(stack(ADDRESS), region=region)
    assert [each.unknown for each in found.lines] == [reason]
    assert found.full == 0


def test_a_type_that_nobody_knows_is_unknown_and_not_free() -> None:
    odd = resource("aws:sagemaker/endpoint:Endpoint", {}, "odd")
    found = estimate(stack(odd))
    assert [(each.label, each.unknown) for each in found.unknown] == [
        ("aws:sagemaker/endpoint:Endpoint odd", "the type has no estimator, and isn't known to be free")
    ]


def test_a_value_that_a_preview_does_not_know_is_a_line_unknown() -> None:
    of = task()
    web = service(of)
    whole = stack(of, web, target(web, 1, 2))
    unknown = put("maxCapacity", UNKNOWN, at="scaling").of(
        Stack((*whole.resources[:2], dataclasses.replace(whole.resources[2], name="scaling")))
    )
    assert isinstance(unknown, Stack)
    found = estimate(unknown)
    assert [each.unknown for each in found.lines] == ["maxCapacity isn't known yet"]


def test_what_is_known_of_a_resource_stays_when_the_rest_is_not() -> None:
    of = task(containerDefinitions=UNKNOWN)
    found = estimate(stack(of, service(of)))
    assert found.full == pytest.approx(2 * (0.04048 + 2 * 0.004445) * 730)
    assert [each.unknown for each in found.unknown] == ["containerDefinitions isn't known yet"]


def test_a_newcomer_adds_one_estimator() -> None:
    def of_volume(volume: Resource, _: Surroundings) -> list[Charge]:
        return [Charge("a disk", "ebs.gp3", volume.get("size"), volume.get("size"))]

    volume = resource("aws:ebs/volume:Volume", {"size": 10, "region": REGION})
    found = estimate(stack(volume), estimators={**ESTIMATORS, volume.type: of_volume})
    assert found.full == pytest.approx(0.8)


def test_an_estimator_that_gives_less_full_than_idle_is_not_believed() -> None:
    def wrong(_: Resource, __: Surroundings) -> list[Charge]:
        return [Charge("a key", "kms.key", 2, 1)]

    found = estimate(stack(KEY), estimators={KEY.type: wrong})
    assert [each.unknown for each in found.lines] == ["2 units idle and 1 full can't be"]


@pytest.mark.parametrize(
    ("resources", "region"),
    [
        ((KEY,), REGION),
        ((resource("aws:ec2/vpcEndpoint:VpcEndpoint", {"serviceName": "com.amazonaws.eu-west-1.s3"}),), "eu-west-1"),
        ((KEY, resource("aws:kms/key:Key", {"region": "eu-west-1"}, "other")), ""),
        ((resource("aws:kms/key:Key", {"region": UNKNOWN}),), ""),
    ],
)
def test_the_region_is_what_the_resources_agree_on(resources: tuple[Resource, ...], region: str) -> None:
    assert aws_region(Stack(resources)) == region


@given(
    least=st.integers(0, 50),
    more=st.integers(0, 50),
    cpu=st.sampled_from(["256", "1024", "16384"]),
    used=st.floats(0, 1e9),
    known=st.booleans(),
)
def test_full_is_never_below_idle_and_what_is_unknown_never_counts(
    least: int, more: int, cpu: str, used: float, known: bool
) -> None:
    of = task(cpu)
    web = service(of)
    table = prices(fargate__vcpu=0.04 if known else None, fargate__gb=0.004, kms__key=1.0, kms__request=0.000003)
    usage = assumed().with_changes({"key_requests": used})
    found = estimate(stack(of, web, target(web, least, least + more), KEY), usage=usage, prices=table)
    assert found.full >= found.idle >= 0
    assert all(line.full >= line.idle >= 0 for line in found.lines)
    assert len(found.unknown) == (0 if known else 1)
    assert all(line.full == 0 and line.unknown for line in found.unknown)
    without = estimate(stack(of, web, target(web, least, least + more), KEY), usage=usage, prices=table, free={})
    assert len(without.unknown) == len(found.unknown) + 1, "a type that is not known to be free is unknown"


def test_types_are_either_estimated_or_free() -> None:
    assert not ESTIMATORS.keys() & FREE.keys()
    assert all(FREE.values())


def test_what_is_not_counted_has_a_name() -> None:
    assert any("data transfer" in each for each in NOT_COUNTED)


def test_an_estimate_takes_no_time() -> None:
    of = task()
    resources = [each for number in range(100) for each in (of, dataclasses.replace(service(of), name=f"web{number}"))]
    shipped()
    started = time.perf_counter()
    estimate(Stack(tuple(resources)))
    assert time.perf_counter() - started < 1


def test_the_pack_needs_neither_boto3_nor_matplotlib() -> None:
    code = "import sys, policies.rules; sys.exit(any(name in sys.modules for name in ('boto3', 'matplotlib')))"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0
