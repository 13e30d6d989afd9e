"""The serving settings as a RayService."""

from importlib.metadata import version
from typing import Any

import pytest
import yaml
from ray.serve.schema import ServeDeploySchema

from infra.aws import ray_service, served
from infra.aws.ray_service import Images
from serve import FAST_PATH, app, config, direct, haproxy
from serve.gateway import grpc_service
from tests.unit.infra.aws.serving_stack import LANGUAGE, ON_BOTH, ON_CPU, environment, serving

IMAGES = Images("registry/serve:1", "registry/serve-gpu:1")


def made(models: dict[str, Any] | None = None, **changed: Any) -> dict[str, Any]:
    settings = served.read(serving(models, **changed))
    return ray_service.ray_service("ingress", settings, IMAGES, {"SERVE_SETTINGS_YAML": "text"})


def cluster(document: dict[str, Any]) -> dict[str, Any]:
    return dict(document["spec"]["rayClusterConfig"])


def groups(document: dict[str, Any]) -> dict[str, dict[str, Any]]:
    return {each["groupName"]: each for each in cluster(document)["workerGroupSpecs"]}


def templates(document: dict[str, Any]) -> list[dict[str, Any]]:
    found = [cluster(document)["headGroupSpec"], *cluster(document)["workerGroupSpecs"]]
    return [dict(each["template"]["spec"]) for each in found]


def container(template: dict[str, Any]) -> dict[str, Any]:
    (found,) = template["containers"]
    return dict(found)


class TestServeConfig:
    def test_is_what_serve_deploy_takes(self) -> None:
        text = made(grpc={"port": 8001})["spec"]["serveConfigV2"]
        found = ServeDeploySchema.model_validate(yaml.safe_load(text))
        (application,) = found.applications
        assert (application.name, application.import_path) == (app.APPLICATION, "serve.config")
        assert (found.http_options.host, found.http_options.port) == ("0.0.0.0", 8080)
        assert found.grpc_options.port == 8001
        assert found.grpc_options.grpc_servicer_functions == [grpc_service.SERVICER]

    def test_has_no_key_that_ray_does_not_know(self) -> None:
        # Ray's schema lets unknown keys through.
        document = yaml.safe_load(made(grpc={"port": 8001})["spec"]["serveConfigV2"])
        fields = ServeDeploySchema.model_fields
        assert set(document) <= set(fields)
        known = type(fields["http_options"].default).model_fields
        assert set(document["http_options"]) <= set(known)

    def test_names_the_builder_that_serve_run_uses(self) -> None:
        module, _, name = ray_service.IMPORT_PATH.rpartition(".")
        assert (config.__module__, config.__name__) == (module, name)


class TestContainers:
    def test_run_as_nobody_in_particular_and_write_to_volumes_alone(self) -> None:
        for template in templates(made(ON_BOTH)):
            assert template["securityContext"]["runAsNonRoot"] is True
            found = container(template)
            assert found["securityContext"]["readOnlyRootFilesystem"] is True
            assert found["securityContext"]["capabilities"] == {"drop": ["ALL"]}
            assert [each["mountPath"] for each in found["volumeMounts"]] == ["/tmp", "/dev/shm"]
            assert {each["name"] for each in found["volumeMounts"]} == {each["name"] for each in template["volumes"]}

    def test_have_what_serve_run_would_set_for_its_own_ray(self) -> None:
        for template in templates(made()):
            found = environment(container(template))
            assert found["RAY_SERVE_HTTP_PROXY_CALLBACK_IMPORT_PATH"] == direct.CALLBACK
            assert set(FAST_PATH.items()) <= set(found.items())
            assert found["RAY_worker_niceness"] == "0"
            assert found["RAY_SERVE_DIRECT_INGRESS_MIN_DRAINING_PERIOD_S"] == "12"
            assert set(haproxy.environment()) <= set(found)
            assert found["SERVE_SETTINGS_YAML"] == "text"

    def test_are_asked_for_their_health_where_no_token_is_needed(self) -> None:
        head, worker = templates(made())
        assert container(head)["readinessProbe"]["httpGet"] == {"path": "/api/gcs_healthz", "port": 8265}
        assert container(worker)["readinessProbe"]["httpGet"] == {"path": "/v2/health/ready", "port": 8080}
        for each in (head, worker):
            assert container(each)["livenessProbe"]["httpGet"]["path"] == "/api/local_raylet_healthz"

    def test_a_worker_may_drain_before_it_ends(self) -> None:
        _, worker = templates(made())
        assert worker["terminationGracePeriodSeconds"] == 22

    def test_only_the_head_may_ask_kubernetes_for_anything(self) -> None:
        head, worker = templates(made())
        assert head["automountServiceAccountToken"] is True
        assert worker["automountServiceAccountToken"] is False


class TestCluster:
    def test_runs_the_ray_of_this_project_and_asks_for_a_token(self) -> None:
        found = cluster(made())
        assert found["rayVersion"] == version("ray")
        assert found["authOptions"] == {"mode": "token"}

    def test_no_replica_is_placed_on_the_head(self) -> None:
        assert cluster(made())["headGroupSpec"]["rayStartParams"]["num-cpus"] == "0"
        assert made()["spec"]["excludeHeadPodFromServeSvc"] is True

    def test_start_parameters_are_texts(self) -> None:
        found = [cluster(made(ON_BOTH))["headGroupSpec"], *groups(made(ON_BOTH)).values()]
        assert {type(value) for each in found for value in each["rayStartParams"].values()} == {str}


class TestRoom:
    @pytest.mark.parametrize(
        ("ingress", "models", "expected"),
        [
            # Two ingress replicas of half a CPU share a pod of one.
            ({"replicas": 2, "cpus": 0.5}, ON_CPU, (1, 1, "1")),
            ({"replicas": 3, "cpus": 1}, ON_CPU, (3, 3, "1")),
            ({"autoscaling": {"lowest": 2, "highest": 5}, "cpus": 1}, ON_CPU, (2, 5, "1")),
            # A pod has room for the largest replica: four of half a CPU fit, and each model has pods of its own.
            ({"replicas": 4, "cpus": 0.5}, {"a": {"placement": "replica", "cpus": 2, "replicas": 3}}, (4, 4, "2")),
            ({"replicas": 1, "cpus": 1}, {"a": {"placement": "replica", "cpus": 0}}, (2, 2, "1")),
            # Ray finds 2 GiB once in a pod of 3.
            (
                {"replicas": 1, "cpus": 1},
                {"a": {"placement": "replica", "cpus": 0.25, "replicas": 3, "needs": {"memory_gib": 2}}},
                (4, 4, "1"),
            ),
        ],
    )
    def test_there_is_room_for_every_replica(
        self, ingress: dict[str, Any], models: dict[str, Any], expected: tuple[int, int, str]
    ) -> None:
        group = groups(made(models, ingress=ingress))["cpu"]
        assert (group["minReplicas"], group["maxReplicas"], group["rayStartParams"]["num-cpus"]) == expected

    def test_ray_counts_on_what_the_pod_was_given(self) -> None:
        group = groups(made(ON_BOTH))["gpu"]
        found = container(group["template"]["spec"])
        assert found["resources"]["requests"] == found["resources"]["limits"]
        assert found["resources"]["limits"]["cpu"] == group["rayStartParams"]["num-cpus"] == "2"
        assert found["resources"]["limits"]["nvidia.com/gpu"] == group["rayStartParams"]["num-gpus"] == "1"

    def test_models_with_gpus_get_pods_that_tolerate_the_taint_and_the_image_for_them(self) -> None:
        found = groups(made(ON_BOTH))
        template = found["gpu"]["template"]["spec"]
        assert template["tolerations"][0]["key"] == "nvidia.com/gpu"
        assert container(template)["image"] == IMAGES.gpu
        # Two CPUs a replica and two a pod: one replica a pod, though half a GPU would be left.
        assert found["gpu"]["minReplicas"] == 2
        assert "tolerations" not in found["cpu"]["template"]["spec"]

    def test_engines_get_pods_with_their_gpus_and_their_memory(self) -> None:
        group = groups(made(**LANGUAGE, usage={"ledger": None}))["gpu"]
        # As many again may come, for a version that the alias names anew.
        assert (group["minReplicas"], group["maxReplicas"], group["rayStartParams"]["num-gpus"]) == (1, 2, "1")
        found = container(group["template"]["spec"])
        assert found["resources"]["limits"] == {"cpu": "2", "memory": "6144Mi", "nvidia.com/gpu": "1"}

    def test_an_engine_of_one_version_never_has_more_pods_than_replicas(self) -> None:
        own = {**LANGUAGE["backends"]["own"], "model": "registry:chat/3"}
        found = made(**{**LANGUAGE, "backends": {**LANGUAGE["backends"], "own": own}}, usage={"ledger": None})
        assert groups(found)["gpu"]["maxReplicas"] == 1

    def test_an_engine_that_is_divided_gets_pods_with_all_its_gpus_and_shared_memory_for_them(self) -> None:
        own = {**LANGUAGE["backends"]["own"], "tensor_parallel": 4}
        found = made(**{**LANGUAGE, "backends": {**LANGUAGE["backends"], "own": own}}, usage={"ledger": None})
        template = groups(found)["gpu"]["template"]["spec"]
        assert container(template)["resources"]["limits"]["nvidia.com/gpu"] == "4"
        (shared,) = [each for each in template["volumes"] if each["name"] == "shared-memory"]
        assert shared["emptyDir"]["sizeLimit"] == "2048Mi"

    def test_without_such_models_there_is_one_group(self) -> None:
        assert set(groups(made())) == {"cpu"}
