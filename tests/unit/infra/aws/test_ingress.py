"""The ingress on ECS, as a small program registers it."""

import base64
import json
from typing import Any

import pytest

from infra.aws import served
from infra.aws.gpus import user_data
from infra.check.record import Recording
from serve.settings import SettingsText, read_settings
from tests.unit.infra.aws.serving_stack import (
    ECS,
    GPUS,
    ON_BOTH,
    TRACKING,
    container,
    environment,
    one,
    recorded,
    serving,
    statements,
)

BALANCER = "aws:lb/loadBalancer:LoadBalancer"
LISTENER = "aws:lb/listener:Listener"
RULE = "aws:lb/listenerRule:ListenerRule"
TARGETS = "aws:lb/targetGroup:TargetGroup"
SERVICE = "aws:ecs/service:Service"
TASK = "aws:ecs/taskDefinition:TaskDefinition"
GROUP = "aws:ec2/securityGroup:SecurityGroup"
SCALABLE = "aws:appautoscaling/target:Target"
SCALING = "aws:appautoscaling/policy:Policy"
INSTANCES = "aws:autoscaling/group:Group"
TEMPLATE = "aws:ec2/launchTemplate:LaunchTemplate"


@pytest.fixture(scope="module")
def plain() -> Recording:
    return recorded(ecs=ECS)


@pytest.fixture(scope="module")
def with_gpus() -> Recording:
    return recorded(ecs=ECS.model_copy(update={"gpus": GPUS}), text=serving(ON_BOTH, default_model="images"))


class TestLoadBalancer:
    def test_speaks_tls_1_2_or_newer_and_sends_the_rest_there(self, plain: Recording) -> None:
        https = one(plain, LISTENER, "ingress-https").inputs
        assert (https["port"], https["protocol"]) == (443, "HTTPS")
        assert https["sslPolicy"] == "ELBSecurityPolicy-TLS13-1-2-2021-06"
        assert https["certificateArn"] == ECS.certificate
        (action,) = one(plain, LISTENER, "ingress-http").inputs["defaultActions"]
        assert action["redirect"] == {"port": "443", "protocol": "HTTPS", "statusCode": "HTTP_301"}

    def test_takes_what_comes_from_the_allowed_networks_alone(self, plain: Recording) -> None:
        group = one(plain, GROUP, "ingress-front").inputs
        assert {(each["fromPort"], each["toPort"], *each["cidrBlocks"]) for each in group["ingress"]} == {
            (443, 443, "203.0.113.0/24"),
            (80, 80, "203.0.113.0/24"),
        }
        (out,) = group["egress"]
        assert (out["fromPort"], out["toPort"], out["cidrBlocks"]) == (8080, 8080, ["10.20.0.0/16"])

    def test_writes_down_who_asked_and_drops_broken_headers(self, plain: Recording) -> None:
        found = one(plain, BALANCER).inputs
        assert found["accessLogs"] == {"bucket": "mtd-dev-logs-123456789012", "prefix": "ingress", "enabled": True}
        assert found["dropInvalidHeaderFields"] is True
        assert found["internal"] is False

    def test_waits_longer_than_a_request_may_take(self) -> None:
        slow = recorded(ecs=ECS, text=serving(http={"request_timeout_seconds": 90}))
        assert one(slow, BALANCER).inputs["idleTimeout"] == 95
        assert one(slow, TARGETS).inputs["deregistrationDelay"] == 90

    @pytest.mark.parametrize("protect", [True, False])
    def test_a_protected_stack_keeps_it(self, protect: bool) -> None:
        found = one(recorded(ecs=ECS, protect=protect), BALANCER)
        assert found.inputs["enableDeletionProtection"] is protect

    def test_looks_at_the_ready_endpoint_on_the_port_of_the_settings(self, plain: Recording) -> None:
        found = one(plain, TARGETS).inputs
        assert (found["port"], found["protocol"], found["targetType"]) == (8080, "HTTP", "ip")
        check = found["healthCheck"]
        assert (check["path"], check["matcher"]) == ("/v2/health/ready", "200")
        seconds = check["interval"] * check["unhealthyThreshold"]
        assert seconds < read_settings(SettingsText(serving(), "")).ingress.drain_seconds
        assert "/v2/health/ready" in environment(container(plain, "ingress-cpu"))["HEALTH_URL"]


class TestTask:
    def test_has_the_settings_as_they_are_and_where_mlflow_is(self, plain: Recording) -> None:
        found = environment(container(plain, "ingress-cpu"))
        assert found["SERVE_SETTINGS_YAML"] == serving()
        assert found["MLFLOW_TRACKING_URI"] == TRACKING

    def test_writes_below_tmp_alone_and_is_not_root(self, plain: Recording) -> None:
        found = container(plain, "ingress-cpu")
        assert found["readonlyRootFilesystem"] is True
        assert found["user"] == "10001:10001"
        assert [each["containerPath"] for each in found["mountPoints"]] == ["/tmp"]
        assert one(plain, TASK, "ingress-cpu").inputs["volumes"] == [{"name": "tmp"}]

    def test_asks_fargate_for_no_shared_memory_and_ray_for_a_store_that_needs_little(self, plain: Recording) -> None:
        found = container(plain, "ingress-cpu")
        assert "sharedMemorySize" not in found["linuxParameters"]
        assert int(environment(found)["RAY_DEFAULT_OBJECT_STORE_MAX_MEMORY_BYTES"]) == served.OBJECT_STORE_BYTES

    def test_gets_no_secret_from_ecs(self, plain: Recording) -> None:
        assert container(plain, "ingress-cpu")["secrets"] == []
        actions = {action for each in statements(plain, "ingress-execution") for action in each["Action"]}
        assert not {each for each in actions if each.startswith(("secretsmanager:", "kms:"))}

    def test_its_role_reads_and_changes_nothing(self, plain: Recording) -> None:
        actions = {action for each in statements(plain, "ingress-task") for action in each["Action"]}
        assert actions == {
            "secretsmanager:DescribeSecret",
            "secretsmanager:GetSecretValue",
            "kms:Decrypt",
            "s3:GetObject",
            "s3:ListBucket",
            "dynamodb:BatchGetItem",
            "dynamodb:DescribeTable",
            "dynamodb:GetItem",
            "dynamodb:Query",
        }
        attached = one(plain, "aws:iam/rolePolicyAttachment:RolePolicyAttachment", "ingress-task-bedrock").inputs
        assert attached["policyArn"].endswith(":policy/mtd-dev-bedrock")

    def test_only_the_load_balancer_connects_to_it(self, plain: Recording) -> None:
        (rule,) = one(plain, GROUP, "ingress").inputs["ingress"]
        assert rule["securityGroups"] == one(plain, BALANCER).inputs["securityGroups"]
        assert "cidrBlocks" not in rule


class TestService:
    def test_rolls_back_what_does_not_come_up_and_has_no_public_address(self, plain: Recording) -> None:
        found = one(plain, SERVICE).inputs
        assert found["deploymentCircuitBreaker"] == {"enable": True, "rollback": True}
        assert (found["deploymentMinimumHealthyPercent"], found["deploymentMaximumPercent"]) == (100, 200)
        assert found["healthCheckGracePeriodSeconds"] == 180
        assert found["networkConfiguration"]["assignPublicIp"] is False
        assert found["enableExecuteCommand"] is False
        assert found["propagateTags"] == "SERVICE"

    def test_comes_after_the_listener_that_leads_to_it(self, plain: Recording) -> None:
        assert one(plain, LISTENER, "ingress-https").urn in one(plain, SERVICE).dependencies

    def test_scales_by_requests_and_a_new_revision_leaves_the_count_alone(self, plain: Recording) -> None:
        target = one(plain, SCALABLE).inputs
        assert (target["minCapacity"], target["maxCapacity"]) == (2, 6)
        scaling = one(plain, SCALING).inputs["targetTrackingScalingPolicyConfiguration"]
        assert scaling["targetValue"] == 9000
        metric = scaling["predefinedMetricSpecification"]
        assert metric["predefinedMetricType"] == "ALBRequestCountPerTarget"
        assert metric["resourceLabel"] == f"{plain.outputs['load_balancer']}/{plain.outputs['target_groups'][0]}"
        assert one(plain, SERVICE).options["ignore_changes"] == ("desiredCount",)

    def test_without_gpus_there_is_no_instance(self, plain: Recording) -> None:
        assert not plain.of_type(INSTANCES)
        assert not plain.of_type("aws:ecs/capacityProvider:CapacityProvider")


class TestGpus:
    def test_models_that_ask_for_gpus_are_left_out_on_fargate(self, with_gpus: Recording) -> None:
        def models(name: str) -> set[str]:
            text = environment(container(with_gpus, name))["SERVE_SETTINGS_YAML"]
            return set(read_settings(SettingsText(text, name)).models)

        assert models("ingress-cpu") == {"flights"}
        assert models("ingress-gpu") == {"flights", "images"}

    def test_their_paths_and_the_header_lead_to_the_tasks_with_gpus(self, with_gpus: Recording) -> None:
        targets = one(with_gpus, SERVICE, "ingress-gpu").inputs["loadBalancers"][0]["targetGroupArn"]
        rules = {each.name: each.inputs for each in with_gpus.of_type(RULE)}
        assert {each["actions"][0]["targetGroupArn"] for each in rules.values()} == {targets}
        (path,) = rules["ingress-gpu-images"]["conditions"]
        assert path["pathPattern"]["values"] == [
            "/v2/models/images",
            "/v2/models/images/*",
            "/v2/repository/models/images/*",
            "/invocations",
        ]
        (header,) = rules["ingress-gpu-header"]["conditions"]
        assert header["httpHeader"] == {"httpHeaderName": "x-accelerator", "values": ["gpu"]}
        assert len({each["priority"] for each in rules.values()}) == len(rules)

    def test_a_task_has_an_image_and_a_device_of_its_own(self, with_gpus: Recording) -> None:
        found = container(with_gpus, "ingress-gpu")
        assert found["image"] == "registry/serve-gpu:1"
        assert found["resourceRequirements"] == [{"type": "GPU", "value": "1"}]
        assert one(with_gpus, TASK, "ingress-gpu").inputs["requiresCompatibilities"] == ["EC2"]
        service = one(with_gpus, SERVICE, "ingress-gpu").inputs
        (strategy,) = service["capacityProviderStrategies"]
        assert strategy["capacityProvider"] == "mtd-dev-gpu"
        assert "launchType" not in service

    def test_instances_are_guarded_and_keep_nothing_in_clear(self, with_gpus: Recording) -> None:
        found = one(with_gpus, TEMPLATE, "ingress-gpu").inputs
        assert found["imageId"].startswith("resolve:ssm:/aws/service/ecs/optimized-ami/amazon-linux-2023/gpu/")
        assert found["metadataOptions"] == {
            "httpEndpoint": "enabled",
            "httpTokens": "required",
            "httpPutResponseHopLimit": 1,
        }
        (disk,) = found["blockDeviceMappings"]
        assert (disk["ebs"]["encrypted"], disk["ebs"]["volumeType"]) == ("true", "gp3")
        assert (
            disk["ebs"]["kmsKeyId"]
            == one(with_gpus, "aws:dynamodb/table:Table").inputs["serverSideEncryption"]["kmsKeyArn"]
        )
        assert {each["resourceType"]: each["tags"]["owner"] for each in found["tagSpecifications"]} == {
            "instance": "ops",
            "volume": "ops",
        }

    def test_ecs_sets_the_size_from_none_and_ends_no_instance_at_work(self, with_gpus: Recording) -> None:
        group = one(with_gpus, INSTANCES).inputs
        assert (group["minSize"], group["maxSize"], group["protectFromScaleIn"]) == (0, 2, True)
        assert "desiredCapacity" not in group
        provider = one(with_gpus, "aws:ecs/capacityProvider:CapacityProvider").inputs["autoScalingGroupProvider"]
        assert provider["managedTerminationProtection"] == "ENABLED"
        assert provider["managedScaling"]["status"] == "ENABLED"
        listed = one(with_gpus, "aws:ecs/clusterCapacityProviders:ClusterCapacityProviders").inputs
        assert listed["capacityProviders"] == ["FARGATE", "FARGATE_SPOT", "mtd-dev-gpu"]

    def test_a_refused_request_wakes_a_task_and_half_an_hour_without_any_ends_the_last(
        self, with_gpus: Recording
    ) -> None:
        alarms = {each.name: each.inputs for each in with_gpus.of_type("aws:cloudwatch/metricAlarm:MetricAlarm")}
        assert alarms["ingress-gpu-wake"]["metricName"] == "HTTPCode_ELB_503_Count"
        sleep = alarms["ingress-gpu-sleep"]
        assert (sleep["metricName"], sleep["evaluationPeriods"], sleep["treatMissingData"]) == (
            "RequestCount",
            30,
            "breaching",
        )
        assert sleep["dimensions"]["TargetGroup"] == with_gpus.outputs["target_groups"][1]
        steps = one(with_gpus, SCALING, "ingress-gpu-sleep").inputs["stepScalingPolicyConfiguration"]
        assert (steps["adjustmentType"], steps["stepAdjustments"][0]["scalingAdjustment"]) == ("ExactCapacity", 0)

    def test_a_task_that_is_always_there_needs_no_waking(self) -> None:
        kept = GPUS.model_copy(update={"least": 1})
        found = recorded(ecs=ECS.model_copy(update={"gpus": kept}), text=serving(ON_BOTH))
        assert not found.of_type("aws:cloudwatch/metricAlarm:MetricAlarm")
        assert one(found, SCALABLE, "ingress-gpu").inputs["minCapacity"] == 1

    def test_spot_instances_come_by_a_policy_of_their_own(self) -> None:
        spot = GPUS.model_copy(update={"spot": True})
        group = one(recorded(ecs=ECS.model_copy(update={"gpus": spot})), INSTANCES).inputs
        assert group["mixedInstancesPolicy"]["instancesDistribution"]["onDemandPercentageAboveBaseCapacity"] == 0
        assert "launchTemplate" not in group

    def test_a_model_that_asks_for_gpus_needs_a_stack_that_has_them(self) -> None:
        with pytest.raises(served.UnfitForContainer, match=r"models\.images\.gpus is above 0.*ecs\.gpus is not given"):
            recorded(ecs=ECS, text=serving(ON_BOTH))


def test_an_instance_reports_to_the_cluster_and_gives_its_devices_to_tasks() -> None:
    script = base64.b64decode(user_data("mtd-dev")).decode()
    assert script.startswith("#!/bin/bash\n")
    assert "\nECS_CLUSTER=mtd-dev\nECS_ENABLE_GPU_SUPPORT=true\n" in script


def test_the_url_is_https(plain: Recording) -> None:
    assert plain.outputs["url"].startswith("https://")


def test_policies_name_what_they_allow(plain: Recording) -> None:
    def wide(statement: dict[str, Any]) -> bool:
        return "*" in statement["Resource"] and statement["Action"] != ["ecr:GetAuthorizationToken"]

    found = [json.loads(each.inputs["policy"]) for each in plain.of_type("aws:iam/rolePolicy:RolePolicy")]
    assert len(found) > 2
    assert not [each for document in found for each in document["Statement"] if wide(each)]
