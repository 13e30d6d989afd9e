"""The table of costs of a recorded stack."""

from __future__ import annotations

import pulumi
import pulumi_aws as aws

from infra.check.cost import cost_table
from infra.check.record import Recording, record
from policies.cost.usage import assumed


class Part(pulumi.ComponentResource):
    def __init__(self, name: str, zones: int) -> None:
        super().__init__("ml:aws:Part", name)
        child = pulumi.ResourceOptions(parent=self)
        for number in range(zones):
            aws.ec2.Eip(f"{name}-{number}", region="us-east-1", opts=child)


def recorded() -> Recording:
    def run() -> None:
        Part("one", 1)
        Part("two", 2)
        aws.kms.Key("loose", region="us-east-1")
        Endpoint("odd")

    return record(run, project="ml-training-deployment", stack="dev", config={"aws:region": "us-east-1"})


class Endpoint(pulumi.ComponentResource):
    """With what nobody knows the price of, alone."""

    def __init__(self, name: str) -> None:
        super().__init__("ml:aws:Endpoint", name)
        aws.sagemaker.Endpoint(name, endpoint_config_name="x", opts=pulumi.ResourceOptions(parent=self))


def test_components_and_what_is_in_none() -> None:
    lines = list(cost_table(recorded()))
    assert [line.split() for line in lines[:6]] == [
        ["$", "a", "month", "idle", "full"],
        ["Endpoint", "odd", "unknown", "unknown", "and", "1", "unknown"],
        ["Part", "one", "3.65", "3.65"],
        ["Part", "two", "7.30", "7.30"],
        ["(in", "no", "component)", "1.00", "4.00"],
        ["all", "11.95", "14.95", "and", "1", "unknown"],
    ]
    reason = "the type has no estimator, and isn't known to be free"
    assert lines[6] == f"  unknown: aws:sagemaker/endpoint:Endpoint odd: {reason}"
    assert lines[7].startswith("  prices known as of 20")
    assert "requests 10,000,000" in lines[7]
    assert lines[8].startswith("  not counted: data transfer")
    assert len(lines) == 9


def test_the_stack_s_own_assumptions_and_region() -> None:
    def run() -> None:
        aws.ec2.Eip("address")
        aws.kms.Key("key")

    found = record(run, project="ml-training-deployment", stack="dev", config={"aws:region": "us-east-1"})
    usage = assumed().with_changes({"key_requests": 0})
    *_, whole, _, _ = cost_table(found, usage, "us-east-1")
    assert whole.split() == ["all", "4.65", "4.65"]
    assert any("no prices of eu-north-1" in line for line in cost_table(found, usage, "eu-north-1"))
