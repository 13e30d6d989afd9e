"""The Kubernetes cluster and what runs in it, as a small program registers them."""

import json
from typing import Any

import pytest

from infra.aws import kuberay, served
from infra.check.record import Recording
from infra.check.signatures import secret_paths
from tests.unit.infra.aws.serving_stack import (
    ADMIN,
    CIDR,
    EKS,
    GPUS,
    ON_BOTH,
    REGION,
    environment,
    one,
    recorded,
    serving,
    statements,
)

CLUSTER = "aws:eks/cluster:Cluster"
NODES = "aws:eks/nodeGroup:NodeGroup"
RELEASE = "kubernetes:helm.sh/v3:Release"
RAY_SERVICE = "kubernetes:ray.io/v1:RayService"


@pytest.fixture(scope="module")
def plain() -> Recording:
    return recorded(eks=EKS)


@pytest.fixture(scope="module")
def with_gpus() -> Recording:
    sections = {"gpus": GPUS.model_copy(update={"spot": True}), "public_cidrs": ("203.0.113.7/32",)}
    return recorded(eks=EKS.model_copy(update=sections), text=serving(ON_BOTH), protect=True)


class TestCluster:
    def test_its_address_is_in_the_network_and_public_for_named_ones_alone(
        self, plain: Recording, with_gpus: Recording
    ) -> None:
        private = one(plain, CLUSTER).inputs["vpcConfig"]
        assert (private["endpointPrivateAccess"], private["endpointPublicAccess"]) == (True, False)
        assert "publicAccessCidrs" not in private
        public = one(with_gpus, CLUSTER).inputs["vpcConfig"]
        assert (public["endpointPublicAccess"], public["publicAccessCidrs"]) == (True, ["203.0.113.7/32"])

    def test_secrets_are_encrypted_and_all_logs_are_kept_with_a_key(self, plain: Recording) -> None:
        found = one(plain, CLUSTER).inputs
        assert found["encryptionConfig"]["resources"] == ["secrets"]
        assert len(found["enabledClusterLogTypes"]) == 5
        group = one(plain, "aws:cloudwatch/logGroup:LogGroup", "kubernetes")
        assert group.inputs["name"] == f"/aws/eks/{found['name']}/cluster"
        assert group.inputs["kmsKeyId"].startswith("arn:aws:kms:")
        assert group.urn in one(plain, CLUSTER).dependencies

    def test_whoever_made_it_is_no_admin_by_that_and_the_named_roles_are(self, plain: Recording) -> None:
        access = one(plain, CLUSTER).inputs["accessConfig"]
        assert access == {"authenticationMode": "API", "bootstrapClusterCreatorAdminPermissions": False}
        association = one(plain, "aws:eks/accessPolicyAssociation:AccessPolicyAssociation").inputs
        assert association["principalArn"] == ADMIN
        assert association["policyArn"].endswith("/AmazonEKSClusterAdminPolicy")
        assert one(plain, "aws:eks/accessEntry:AccessEntry").inputs["principalArn"] == ADMIN

    def test_a_protected_stack_keeps_it(self, plain: Recording, with_gpus: Recording) -> None:
        assert not one(plain, CLUSTER).options["protect"]
        assert one(with_gpus, CLUSTER).options["protect"]

    def test_the_kubeconfig_is_a_secret_and_holds_no_token(self, plain: Recording) -> None:
        assert secret_paths(plain.raw_outputs) == {"kubeconfig"}
        found = json.loads(plain.outputs["kubeconfig"])
        (user,) = found["users"]
        assert set(user["user"]) == {"exec"}
        cluster = one(plain, CLUSTER).inputs["name"]
        assert user["user"]["exec"]["args"][:4] == ["eks", "get-token", "--cluster-name", cluster]


class TestNodes:
    def test_run_on_guarded_instances_with_encrypted_disks(self, with_gpus: Recording) -> None:
        templates = with_gpus.of_type("aws:ec2/launchTemplate:LaunchTemplate")
        assert {each.name for each in templates} == {"kubernetes-cpu", "kubernetes-gpu"}
        for each in templates:
            assert each.inputs["metadataOptions"]["httpTokens"] == "required"
            assert each.inputs["metadataOptions"]["httpPutResponseHopLimit"] == 1
            (disk,) = each.inputs["blockDeviceMappings"]
            assert disk["ebs"]["encrypted"] == "true"
            assert "imageId" not in each.inputs

    def test_nothing_but_what_tolerates_it_runs_beside_a_gpu(self, with_gpus: Recording) -> None:
        gpu = one(with_gpus, NODES, "kubernetes-gpu").inputs
        assert (gpu["amiType"], gpu["capacityType"]) == ("AL2023_x86_64_NVIDIA", "SPOT")
        assert gpu["taints"] == [{"key": "nvidia.com/gpu", "value": "true", "effect": "NO_SCHEDULE"}]
        assert gpu["labels"]["nvidia.com/gpu.present"] == "true"
        cpu = one(with_gpus, NODES, "kubernetes-cpu").inputs
        assert "taints" not in cpu or cpu["taints"] == []

    def test_the_autoscaler_decides_how_many_there_are(self, with_gpus: Recording) -> None:
        gpu = one(with_gpus, NODES, "kubernetes-gpu")
        assert gpu.inputs["scalingConfig"] == {"minSize": 0, "maxSize": 2, "desiredSize": 0}
        assert gpu.options["ignore_changes"] == ("scalingConfig.desiredSize",)

    def test_without_gpus_there_is_one_group(self, plain: Recording) -> None:
        assert [each.name for each in plain.of_type(NODES)] == ["kubernetes-cpu"]

    def test_have_a_network_before_they_start(self, plain: Recording) -> None:
        nodes = one(plain, NODES)
        assert one(plain, "aws:eks/addon:Addon", "kubernetes-vpc-cni").urn in nodes.dependencies
        assert nodes.urn in one(plain, "aws:eks/addon:Addon", "kubernetes-coredns").dependencies


class TestPods:
    def test_the_serving_pods_have_a_role_of_their_own_that_changes_nothing(self, plain: Recording) -> None:
        found = one(plain, "aws:eks/podIdentityAssociation:PodIdentityAssociation", "kubernetes-pods").inputs
        assert (found["namespace"], found["serviceAccount"]) == ("serving", "serving")
        account = one(plain, "kubernetes:core/v1:ServiceAccount").inputs["metadata"]
        assert (account["namespace"], account["name"]) == ("serving", "serving")
        verbs = {action.partition(":")[2] for each in statements(plain, "kubernetes-pods") for action in each["Action"]}
        assert "GetObject" in verbs
        assert not {
            verb for verb in verbs if not verb.startswith(("Get", "List", "Describe", "Query", "BatchGet", "Decrypt"))
        }

    def test_the_autoscaler_changes_the_groups_of_this_cluster_alone(self, plain: Recording) -> None:
        changing = [each for each in statements(plain, "kubernetes-scaler") if each["Resource"] != ["*"]]
        (scaling,) = [each for each in changing if "autoscaling:SetDesiredCapacity" in each["Action"]]
        cluster = one(plain, CLUSTER).inputs["name"]
        assert scaling["Condition"]["StringEquals"][f"aws:ResourceTag/k8s.io/cluster-autoscaler/{cluster}"] == "owned"


class TestInTheCluster:
    def test_charts_are_pinned_and_the_device_plugin_comes_with_gpus_alone(
        self, plain: Recording, with_gpus: Recording
    ) -> None:
        def charts(recording: Recording) -> dict[str, str]:
            return {each.inputs["chart"]: each.inputs["version"] for each in recording.of_type(RELEASE)}

        always = {each.name: each.version for each in (kuberay.OPERATOR, kuberay.SCALER)}
        assert charts(plain) == always
        assert charts(with_gpus) == {**always, kuberay.DEVICE_PLUGIN.name: kuberay.DEVICE_PLUGIN.version}

    def test_the_ray_service_comes_after_its_operator(self, plain: Recording) -> None:
        operator = one(plain, RELEASE, "kuberay-kuberay-operator")
        assert operator.urn in one(plain, RAY_SERVICE).dependencies

    def test_it_serves_the_settings_of_the_stack(self, plain: Recording) -> None:
        groups = one(plain, RAY_SERVICE).inputs["spec"]["rayClusterConfig"]["workerGroupSpecs"]
        (container,) = groups[0]["template"]["spec"]["containers"]
        assert environment(container)["SERVE_SETTINGS_YAML"] == serving()
        assert environment(container)["AWS_DEFAULT_REGION"] == REGION

    def test_the_kubeconfig_stays_a_secret_on_its_way_to_the_provider(self, plain: Recording) -> None:
        assert "kubeconfig" in one(plain, "pulumi:providers:kubernetes").secret_paths

    def test_from_outside_the_pods_only_the_ingress_and_the_operator_s_dashboard_answer(self, plain: Recording) -> None:
        rules: list[dict[str, Any]] = one(plain, "kubernetes:networking.k8s.io/v1:NetworkPolicy").inputs["spec"][
            "ingress"
        ]
        network, operator, pods = rules
        assert network["from"] == [{"ipBlock": {"cidr": CIDR}}]
        assert [each["port"] for each in network["ports"]] == [8080]
        assert [each["port"] for each in operator["ports"]] == [8265]
        assert pods["from"] == [{"podSelector": {}}]

    def test_a_model_that_asks_for_gpus_needs_a_stack_that_has_them(self) -> None:
        with pytest.raises(served.UnfitForContainer, match=r"models\.images\.gpus is above 0.*eks\.gpus is not given"):
            recorded(eks=EKS, text=serving(ON_BOTH))
