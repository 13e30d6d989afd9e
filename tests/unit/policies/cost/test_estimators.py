"""Of each type of resource: the quantities that are billed."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

import pytest

from policies.cost import NotEstimated
from policies.cost.charge import DAYS, HOURS, SECONDS, Charge, Surroundings, number
from policies.cost.estimators import ESTIMATORS
from policies.cost.usage import assumed
from policies.node import Resource
from policies.testing import resource, stack
from tests.unit.policies.cost.stacks import service, target, task, template

USAGE = assumed()
MONTH = USAGE.requests


def of(resource_: Resource, *others: Resource) -> dict[str, tuple[float, float]]:
    """Key of a price → its units, idle and full."""
    found: dict[str, tuple[float, float]] = {}
    for charge in charges(resource_, *others):
        idle, full = found.get(charge.price, (0.0, 0.0))
        found[charge.price] = (idle + charge.idle, full + charge.full)
    return found


def charges(resource_: Resource, *others: Resource) -> list[Charge]:
    return list(ESTIMATORS[resource_.type](resource_, Surroundings(stack(resource_, *others), USAGE)))


@pytest.mark.parametrize(
    ("type_", "inputs", "expected"),
    [
        ("aws:ec2/eip:Eip", {}, {"ipv4.hour": (HOURS, HOURS)}),
        ("aws:ec2/natGateway:NatGateway", {}, {"nat.hour": (HOURS, HOURS), "nat.gb": (0, USAGE.nat_gb)}),
        ("aws:ec2/vpcEndpoint:VpcEndpoint", {"vpcEndpointType": "Gateway"}, {}),
        (
            "aws:ec2/vpcEndpoint:VpcEndpoint",
            {"vpcEndpointType": "Interface", "subnetIds": ["a", "b"]},
            {"endpoint.hour": (2 * HOURS, 2 * HOURS), "endpoint.gb": (0, USAGE.endpoint_gb)},
        ),
        (
            "aws:lb/loadBalancer:LoadBalancer",
            {"internal": False, "subnets": ["a", "b", "c"]},
            {
                "alb.hour": (HOURS, HOURS),
                "ipv4.hour": (3 * HOURS, 3 * HOURS),
                "alb.lcu": (0, MONTH / 25 / 3600),
            },
        ),
        ("aws:kms/key:Key", {"enableKeyRotation": True}, {"kms.key": (1, 3), "kms.request": (0, USAGE.key_requests)}),
        ("aws:secretsmanager/secret:Secret", {}, {"secret": (1, 1)}),
        ("aws:cloudwatch/dashboard:Dashboard", {}, {"dashboard": (1, 1)}),
        ("aws:cloudwatch/metricAlarm:MetricAlarm", {"metricName": "Errors"}, {"alarm": (1, 1)}),
        (
            "aws:cloudwatch/metricAlarm:MetricAlarm",
            {"metricQueries": [{"expression": "a + b"}, {"metric": {"metricName": "a"}}, {"metric": {}}]},
            {"alarm": (2, 2)},
        ),
        (
            "aws:cloudwatch/logGroup:LogGroup",
            {"retentionInDays": 30},
            {"logs.gb": (0, USAGE.log_gb), "logs.stored": (0, USAGE.log_gb * 30 / DAYS)},
        ),
        (
            "aws:rds/instance:Instance",
            {
                "engine": "postgres",
                "instanceClass": "db.m7g.large",
                "multiAz": True,
                "storageType": "gp3",
                "allocatedStorage": 100,
                "maxAllocatedStorage": 200,
                "manageMasterUserPassword": True,
            },
            {
                "rds.postgres.multi-az.db.m7g.large": (HOURS, HOURS),
                "rds.multi-az.gp3": (100, 200),
                "secret": (1, 1),
            },
        ),
        (
            "aws:dynamodb/table:Table",
            {"billingMode": "PAY_PER_REQUEST", "pointInTimeRecovery": {"enabled": True}},
            {
                "dynamodb.gb": (0, USAGE.table_gb),
                "dynamodb.pitr": (0, USAGE.table_gb),
                "dynamodb.read": (0, USAGE.table_reads),
                "dynamodb.write": (0, USAGE.table_writes),
            },
        ),
        ("aws:ecr/repository:Repository", {}, {"ecr.gb": (0, USAGE.image_gb)}),
        (
            "aws:s3/bucket:Bucket",
            {},
            {"s3.gb": (0, USAGE.bucket_gb), "s3.put": (0, USAGE.bucket_puts), "s3.get": (0, USAGE.bucket_gets)},
        ),
        (
            "aws:lambda/function:Function",
            {"memorySize": 2048, "tracingConfig": {"mode": "Active"}},
            {
                "lambda.gb-second": (0, MONTH * 0.1 * 2),
                "lambda.request": (0, MONTH),
                "trace": (0, MONTH * 0.05),
            },
        ),
        ("aws:apigatewayv2/api:Api", {"protocolType": "HTTP"}, {"http-api.request": (0, MONTH)}),
        ("aws:sfn/stateMachine:StateMachine", {}, {"states.transition": (0, 900)}),
        (
            "aws:emrserverless/application:Application",
            {"maximumCapacity": {"cpu": "16 vCPU", "memory": "64 GB"}},
            {"emr-serverless.vcpu": (0, 30 * 16), "emr-serverless.gb": (0, 30 * 64)},
        ),
        ("aws:sns/topicSubscription:TopicSubscription", {"protocol": "sqs"}, {}),
        ("aws:sqs/queue:Queue", {}, {"sqs.request": (0, 3 * USAGE.messages)}),
        (
            "azure-native:app:ContainerApp",
            {
                "template": {
                    "containers": [{"resources": {"cpu": 1, "memory": "2.0Gi"}}],
                    "scale": {"minReplicas": 1, "maxReplicas": 5},
                }
            },
            {
                "container-apps.vcpu": (SECONDS, 5 * SECONDS),
                "container-apps.gib": (2 * SECONDS, 10 * SECONDS),
                "container-apps.request": (0, MONTH),
            },
        ),
        (
            "azure-native:containerinstance:ContainerGroup",
            {
                "osType": "Linux",
                "restartPolicy": "Never",
                "containers": [{"resources": {"requests": {"cpu": 1, "memoryInGB": 2}}}],
            },
            {"container-instances.vcpu": (0, HOURS), "container-instances.gb": (0, 2 * HOURS)},
        ),
        (
            "azure-native:containerregistry:Registry",
            {"sku": {"name": "Standard"}},
            {"registry.standard": (DAYS, DAYS)},
        ),
        (
            "azure-native:operationalinsights:Workspace",
            {"sku": {"name": "PerGB2018"}, "workspaceCapping": {"dailyQuotaGb": 0.01}},
            {"log-analytics.gb": (0, 0.01 * DAYS)},
        ),
        (
            "azure-native:app:ManagedEnvironment",
            {"vnetConfiguration": {}, "workloadProfiles": [{"workloadProfileType": "Consumption"}]},
            {"public-ip.hour": (2 * HOURS, 2 * HOURS)},
        ),
    ],
)
def test_quantities(type_: str, inputs: Mapping[str, Any], expected: dict[str, tuple[float, float]]) -> None:
    found = of(resource(type_, inputs))
    assert found.keys() == expected.keys()
    for key, units in expected.items():
        assert found[key] == pytest.approx(units)


@pytest.mark.parametrize(
    ("type_", "inputs"),
    [
        ("aws:rds/instance:Instance", {"engine": "mysql"}),
        ("aws:lb/loadBalancer:LoadBalancer", {"loadBalancerType": "network"}),
        ("aws:ec2/vpcEndpoint:VpcEndpoint", {"vpcEndpointType": "GatewayLoadBalancer"}),
        ("aws:dynamodb/table:Table", {"billingMode": "PROVISIONED"}),
        ("aws:sfn/stateMachine:StateMachine", {"type": "EXPRESS"}),
        ("aws:cloudwatch/logGroup:LogGroup", {}),
        ("aws:cloudwatch/metricAlarm:MetricAlarm", {"period": 10}),
        ("aws:emrserverless/application:Application", {}),
        ("aws:apigatewayv2/api:Api", {"protocolType": "WEBSOCKET"}),
        ("aws:sns/topicSubscription:TopicSubscription", {"protocol": "sms"}),
        ("azure-native:containerregistry:Registry", {"sku": {"name": "Premium"}}),
        ("azure-native:app:ManagedEnvironment", {"workloadProfiles": [{"workloadProfileType": "D4"}]}),
        ("kubernetes:core/v1:Service", {"spec": {"type": "LoadBalancer"}}),
        ("kubernetes:core/v1:PersistentVolumeClaim", {}),
        ("aws:ecs/service:Service", {}),
        ("aws:autoscaling/group:Group", {"minSize": 0, "maxSize": 1}),
    ],
)
def test_what_is_not_modelled_says_so(type_: str, inputs: Mapping[str, Any]) -> None:
    with pytest.raises(NotEstimated):
        charges(resource(type_, inputs))


def app(cpu: Any, memory: Any) -> Resource:
    scale = {"minReplicas": 1, "maxReplicas": 1}
    inputs = {"template": {"containers": [{"resources": {"cpu": cpu, "memory": memory}}], "scale": scale}}
    return resource("azure-native:app:ContainerApp", inputs)


@pytest.mark.parametrize(("cpu", "memory"), [(0.25, "512Mi"), ("250m", "0.5Gi"), ("0.25", "524288Ki")])
def test_an_app_s_size_is_read_with_its_units(cpu: Any, memory: str) -> None:
    found = of(app(cpu, memory))
    assert found["container-apps.vcpu"] == pytest.approx((SECONDS / 4, SECONDS / 4))
    assert found["container-apps.gib"] == pytest.approx((SECONDS / 2, SECONDS / 2))


@pytest.mark.parametrize(("cpu", "memory"), [(1, "much"), (1, "250Mb"), (1, None), (None, "1Gi"), (True, "1Gi")])
def test_an_app_of_no_size_is_not_estimated(cpu: Any, memory: str | None) -> None:
    with pytest.raises(NotEstimated, match="resources"):
        charges(app(cpu, memory))


def test_a_service_on_instances_costs_what_they_cost() -> None:
    on_ec2 = task()
    strategies = [{"capacityProvider": "gpus", "weight": 1}]
    assert of(service(on_ec2, launchType=None, capacityProviderStrategies=strategies), on_ec2) == {}


@pytest.mark.parametrize(("cpu", "memory"), [("4 vCPU", "8 GB"), ("4vcpu", "8GB"), ("4096", "8192"), (4096, 8192)])
def test_a_task_s_size_is_read_as_aws_takes_it(cpu: str | int, memory: str | int) -> None:
    of_task = task(cpu=cpu, memory=memory)
    assert {each.what for each in charges(service(of_task), of_task)} >= {"2 × 4 vCPU", "2 × 8 GB of memory"}


@pytest.mark.parametrize("size", [{"cpu": "4 GB"}, {"cpu": None}, {"memory": "much"}])
def test_a_task_of_no_size_is_not_estimated(size: dict[str, Any]) -> None:
    of_task = task(**size)
    with pytest.raises(NotEstimated, match=next(iter(size))):
        charges(service(of_task), of_task)


def test_a_service_on_spot_alone_is_sold_for_a_share() -> None:
    of_task = task()
    spot = service(of_task, launchType=None, capacityProviderStrategies=[{"capacityProvider": "FARGATE_SPOT"}])
    assert {each.share for each in charges(spot, of_task)} == {"fargate.spot"}
    mixed = [{"capacityProvider": "FARGATE_SPOT"}, {"capacityProvider": "FARGATE"}]
    assert {
        each.share for each in charges(service(of_task, launchType=None, capacityProviderStrategies=mixed), of_task)
    } == {""}


def unsaid(of_task: Resource, *in_cluster: Resource) -> Resource:
    """A service that doesn't say where it runs."""
    links = {"taskDefinition": [of_task], "cluster": in_cluster}
    return resource("aws:ecs/service:Service", {"desiredCount": 2}, "web", links=links)


def test_a_service_that_does_not_say_where_it_runs_is_on_fargate_where_its_task_is() -> None:
    of_task = task()
    web = unsaid(of_task)
    assert of(web, of_task) == {"fargate.vcpu": (2 * HOURS, 2 * HOURS), "fargate.gb": (4 * HOURS, 4 * HOURS)}
    assert {each.share for each in charges(web, of_task)} == {""}
    on_ec2 = task(requiresCompatibilities=["EC2"])
    assert of(unsaid(on_ec2), on_ec2) == {}


def test_a_service_that_does_not_say_where_it_runs_runs_where_its_cluster_says() -> None:
    of_task = task()
    cluster = resource("aws:ecs/cluster:Cluster", {}, "cluster")
    for provider, shares in {"FARGATE_SPOT": {"fargate.spot"}, "FARGATE": {""}, "gpus": set()}.items():
        providers = resource(
            "aws:ecs/clusterCapacityProviders:ClusterCapacityProviders",
            {"defaultCapacityProviderStrategies": [{"capacityProvider": provider, "weight": 1}]},
            "providers",
            links={"clusterName": [cluster]},
        )
        web = unsaid(of_task, cluster)
        assert {each.share for each in charges(web, of_task, cluster, providers)} == shares


def test_where_nobody_says_where_a_service_runs_its_cost_is_not_known() -> None:
    of_task = task(requiresCompatibilities=None)
    with pytest.raises(NotEstimated, match="whether it runs on Fargate"):
        charges(unsaid(of_task), of_task)


KEYS = [
    "access:\n  keys: secretsmanager:/api-keys",
    'access:\n  keys: "secretsmanager:/api-keys"',
    "access: {'keys': 'secretsmanager:/api-keys'}",
    json.dumps({"access": {"keys": "secretsmanager:/api-keys"}}),
    json.dumps({"access": {"keys": "secretsmanager:/api-keys"}}, separators=(",", ":")),
]
"""Settings, as YAML and as JSON."""


@pytest.mark.parametrize("settings", KEYS)
def test_tasks_that_look_for_changed_keys_pay_for_it(settings: str) -> None:
    looking = task(containerDefinitions=json.dumps([{"environment": [{"value": settings}]}]))
    web = service(looking)
    assert of(web, looking, target(web, 1, 3))["secret.call"] == (SECONDS, 3 * SECONDS)
    secret = task(containerDefinitions='[{"secrets": [{"valueFrom": "arn:aws:secretsmanager:us-east-1:1:secret:x"}]}]')
    assert "secret.call" not in of(service(secret), secret)


def test_a_task_of_a_pipeline_runs_with_it() -> None:
    training = task("4096", "16384")
    machine = resource("aws:sfn/stateMachine:StateMachine", {}, "m", links={"definition": [training]})
    assert of(training, machine) == {"fargate.vcpu": (0, 30 * 4), "fargate.gb": (0, 30 * 16)}
    assert of(training) == {}


def test_a_step_of_a_pipeline_is_called_once_a_run() -> None:
    step = resource("aws:lambda/function:Function", {"memorySize": 512, "timeout": 300}, "step")
    machine = resource("aws:sfn/stateMachine:StateMachine", {}, "m", links={"definition": [step]})
    assert of(step, machine) == {"lambda.gb-second": (0, 30 * 300 * 0.5), "lambda.request": (0, 30)}


def test_a_group_has_instances_disks_and_metrics() -> None:
    monitored = template(monitoring={"enabled": True})
    group = resource("aws:autoscaling/group:Group", {"minSize": 0, "maxSize": 2}, links={"launchTemplate": [monitored]})
    assert of(group, monitored) == {"ec2.g6.xlarge": (0, 2 * HOURS), "ebs.gp3": (0, 200), "metric": (0, 14)}


@pytest.mark.parametrize(("on_demand", "share"), [(0, "ec2.spot"), (50, "")])
def test_a_group_of_spot_instances_alone_is_sold_for_a_share(on_demand: int, share: str) -> None:
    of_group = template()
    mixed = {"instancesDistribution": {"onDemandBaseCapacity": 0, "onDemandPercentageAboveBaseCapacity": on_demand}}
    group = resource(
        "aws:autoscaling/group:Group",
        {"minSize": 0, "maxSize": 2, "mixedInstancesPolicy": mixed},
        links={"mixedInstancesPolicy": [of_group]},
    )
    assert charges(group, of_group)[0].share == share


def test_the_insights_of_a_cluster_are_metrics_of_what_is_in_it() -> None:
    cluster = resource(
        "aws:ecs/cluster:Cluster", {"settings": [{"name": "containerInsights", "value": "enabled"}]}, "cluster"
    )
    of_task = task()
    inside = resource("aws:ecs/service:Service", {}, "web", links={"cluster": [cluster], "taskDefinition": [of_task]})
    assert of(cluster, inside, of_task) == {"metric": (24, 36)}


@pytest.mark.parametrize("settings", KEYS)
def test_ray_nodes_look_for_changed_keys_too(settings: str) -> None:
    cluster = resource("aws:eks/cluster:Cluster", {}, "eks")
    workers = {"workerGroupSpecs": [{"minReplicas": 0, "maxReplicas": 2}], "text": settings}
    ray = resource("kubernetes:ray.io/v1:RayService", {"spec": {"rayClusterConfig": workers}}, "ray")
    assert of(cluster, ray)["secret.call"] == (SECONDS, 3 * SECONDS)


@pytest.mark.parametrize(("value", "expected"), [("4096", 4096), (" 16 vCPU", 16), (2, 2), ("2.5GB", 2.5)])
def test_numbers(value: Any, expected: float) -> None:
    assert number(resource("x", {"a": value}), "a") == expected


@pytest.mark.parametrize("value", ["many", True, "-1", "2.5Gi", "512Mi", "2 or more", "²"])
def test_what_is_no_number_is_not_taken_for_one(value: Any) -> None:
    with pytest.raises(NotEstimated):
        number(resource("x", {"a": value}), "a")
