"""Language models and their ledger, as small programs of the ingress on ECS and on Kubernetes register them."""

from typing import Any

import pytest

from infra import settings
from infra.check.record import Recording
from serve.settings import Settings, SettingsText, read_settings
from tests.unit.infra.aws.serving_stack import (
    ECS,
    EKS,
    GPUS,
    LANGUAGE,
    container,
    environment,
    one,
    recorded,
    serving,
    statements,
)

INSTANCE = "aws:rds/instance:Instance"
GROUP = "aws:ec2/securityGroup:SecurityGroup"
LEDGER = settings.Ledger(database_class="db.t4g.small", multi_az=True, backup_days=14)


@pytest.fixture(scope="module")
def on_ecs() -> Recording:
    return recorded(ecs=ECS.model_copy(update={"gpus": GPUS}), text=serving(**LANGUAGE), ledger=LEDGER)


@pytest.fixture(scope="module")
def on_eks() -> Recording:
    return recorded(eks=EKS.model_copy(update={"gpus": GPUS}), text=serving(**LANGUAGE), ledger=LEDGER)


def served(of: dict[str, Any]) -> Settings:
    return read_settings(SettingsText(environment(of)["SERVE_SETTINGS_YAML"], "here"))


def pods(recording: Recording) -> list[dict[str, Any]]:
    cluster = one(recording, "kubernetes:ray.io/v1:RayService").inputs["spec"]["rayClusterConfig"]
    groups = [cluster["headGroupSpec"], *cluster["workerGroupSpecs"]]
    return [dict(each["template"]["spec"]["containers"][0]) for each in groups]


class TestDatabase:
    def test_is_one_of_its_own_with_a_password_that_rds_makes(self, on_ecs: Recording) -> None:
        found = one(on_ecs, INSTANCE).inputs
        assert (found["identifier"], found["dbName"], found["username"]) == ("mtd-dev-ledger", "usage", "usage")
        assert (found["instanceClass"], found["multiAz"], found["backupRetentionPeriod"]) == ("db.t4g.small", True, 14)
        assert found["manageMasterUserPassword"] is True
        assert "password" not in found

    def test_the_ingress_alone_connects(self, on_ecs: Recording) -> None:
        (rule,) = one(on_ecs, GROUP, "ledger-database").inputs["ingress"]
        for service in on_ecs.of_type("aws:ecs/service:Service"):
            assert set(rule["securityGroups"]) < set(service.inputs["networkConfiguration"]["securityGroups"])
        clients = one(on_ecs, GROUP, "ledger-clients").inputs
        assert [(each["fromPort"], each["cidrBlocks"]) for each in clients["egress"]] == [(5432, ["10.20.0.0/16"])]
        assert "ingress" not in clients

    def test_the_nodes_of_kubernetes_are_among_its_clients_and_in_their_cluster_s_group_still(
        self, on_eks: Recording
    ) -> None:
        (rule,) = one(on_eks, GROUP, "ledger-database").inputs["ingress"]
        templates = on_eks.of_type("aws:ec2/launchTemplate:LaunchTemplate")
        assert len(templates) == 2
        for each in templates:
            cluster, *others = each.inputs["vpcSecurityGroupIds"]
            assert others == rule["securityGroups"]
            assert cluster not in others


class TestSettings:
    @pytest.mark.parametrize("name", ["ingress-cpu", "ingress-gpu"])
    def test_name_the_ledger_and_where_its_password_is_and_hold_none(self, on_ecs: Recording, name: str) -> None:
        usage = served(container(on_ecs, name)).usage
        assert usage.ledger is not None
        assert usage.ledger.startswith("postgresql://usage@mtd-dev-ledger.")
        (granted,) = [
            each["Resource"] for each in statements(on_ecs, "ingress-task") if "mtd-dev-ledger" in str(each["Resource"])
        ]
        assert usage.password == f"secretsmanager:{granted[0]}?region=us-east-1"
        assert container(on_ecs, name)["secrets"] == []

    def test_every_pod_has_the_same(self, on_eks: Recording) -> None:
        found = {served(each).usage for each in pods(on_eks)}
        assert len(found) == 1
        assert "mtd-dev-ledger" in str(found.pop().ledger)
        assert "mtd-dev-ledger" in str(statements(on_eks, "kubernetes-pods"))


class TestLanguageModels:
    def test_openai_s_api_leads_to_the_tasks_with_gpus_since_it_names_no_model(self, on_ecs: Recording) -> None:
        rules = {each.name: each.inputs for each in on_ecs.of_type("aws:lb/listenerRule:ListenerRule")}
        (path,) = rules["ingress-gpu-openai"]["conditions"]
        assert path["pathPattern"]["values"] == ["/v1/*"]
        assert len({each["priority"] for each in rules.values()}) == len(rules)

    def test_fargate_has_what_is_bought_and_the_tasks_with_gpus_have_all(self, on_ecs: Recording) -> None:
        cpu, gpu = served(container(on_ecs, "ingress-cpu")), served(container(on_ecs, "ingress-gpu"))
        assert (set(cpu.backends), set(cpu.language_models)) == ({"bought"}, {"chat", "bought"})
        assert set(gpu.backends) == {"own", "bought"}

    def test_where_all_is_bought_openai_s_api_stays_on_fargate(self) -> None:
        bought = {"bought": LANGUAGE["backends"]["bought"]}
        names = {"bought": LANGUAGE["language_models"]["bought"]}
        text = serving(backends=bought, language_models=names, usage={"ledger": None})
        found = recorded(ecs=ECS.model_copy(update={"gpus": GPUS}), text=text)
        assert [each.name for each in found.of_type("aws:lb/listenerRule:ListenerRule")] == ["ingress-gpu-header"]

    def test_a_task_may_take_as_long_to_start_as_its_engine(self, on_ecs: Recording) -> None:
        service = one(on_ecs, "aws:ecs/service:Service", "ingress-gpu").inputs
        assert service["healthCheckGracePeriodSeconds"] == 780
        assert container(on_ecs, "ingress-gpu")["healthCheck"]["startPeriod"] == 300
        assert one(on_ecs, "aws:ecs/service:Service", "ingress-cpu").inputs["healthCheckGracePeriodSeconds"] == 180

    def test_the_tasks_with_gpus_may_scale_by_other_numbers_of_requests(self) -> None:
        gpus = GPUS.model_copy(update={"requests_per_task_and_minute": 60})
        found = recorded(ecs=ECS.model_copy(update={"gpus": gpus}), text=serving(**LANGUAGE), ledger=LEDGER)
        scaling = one(found, "aws:appautoscaling/policy:Policy", "ingress-gpu").inputs
        assert scaling["targetTrackingScalingPolicyConfiguration"]["targetValue"] == 60
