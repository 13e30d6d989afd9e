"""The tracking server and its database, as a small program registers them."""

import pytest

from infra.check.record import Recording
from tests.unit.infra.aws.foundation import ACCOUNT, CIDR, REGION, container, one, recorded, statements


@pytest.fixture(scope="module")
def dev() -> Recording:
    return recorded("dev", protect=False)


class TestDatabase:
    def test_rds_makes_the_password_and_keeps_it_under_the_key_of_secrets(self, dev: Recording) -> None:
        found = one(dev, "aws:rds/instance:Instance").inputs
        assert found["manageMasterUserPassword"] is True
        key = one(dev, "aws:secretsmanager/secret:Secret", "secrets-api-keys").inputs["kmsKeyId"]
        assert found["masterUserSecretKmsKeyId"] == key
        assert "password" not in found

    def test_is_encrypted_private_and_takes_tls_alone(self, dev: Recording) -> None:
        found = one(dev, "aws:rds/instance:Instance").inputs
        assert found["storageEncrypted"] is True
        assert found["publiclyAccessible"] is False
        assert found["performanceInsightsKmsKeyId"] == found["kmsKeyId"]
        parameters = one(dev, "aws:rds/parameterGroup:ParameterGroup").inputs
        assert {each["name"]: each["value"] for each in parameters["parameters"]}["rds.force_ssl"] == "1"
        assert parameters["family"] == f"postgres{found['engineVersion']}"

    def test_the_tracking_server_alone_connects(self, dev: Recording) -> None:
        group = one(dev, "aws:ec2/securityGroup:SecurityGroup", "tracking-database").inputs
        service = one(dev, "aws:ecs/service:Service").inputs
        (rule,) = group["ingress"]
        assert rule["securityGroups"] == service["networkConfiguration"]["securityGroups"]
        assert (rule["fromPort"], rule["toPort"]) == (5432, 5432)
        assert "cidrBlocks" not in rule
        assert "egress" not in group

    def test_its_logs_are_kept_no_longer_than_others(self, dev: Recording) -> None:
        exported = one(dev, "aws:rds/instance:Instance").inputs["enabledCloudwatchLogsExports"]
        groups = {each.inputs["name"]: each.inputs for each in dev.of_type("aws:cloudwatch/logGroup:LogGroup")}
        assert set(exported) == {"postgresql", "upgrade"}
        for kind in exported:
            assert groups[f"/aws/rds/instance/mtd-dev-tracking/{kind}"]["retentionInDays"] == 30

    def test_may_grow_and_is_backed_up(self, dev: Recording) -> None:
        found = one(dev, "aws:rds/instance:Instance").inputs
        assert (found["allocatedStorage"], found["maxAllocatedStorage"]) == (40, 80)
        assert found["backupRetentionPeriod"] == 7


class TestTrackingServer:
    def test_the_password_reaches_it_as_a_secret_and_nowhere_else(self, dev: Recording) -> None:
        found = container(dev)
        (secret,) = found["secrets"]
        assert secret["name"] == "PGPASSWORD"
        assert secret["valueFrom"].endswith(":password::")
        uri = self.environment(dev)["MLFLOW_BACKEND_STORE_URI"]
        assert uri.startswith("postgresql+psycopg2://mlflow@mtd-dev-tracking.")
        assert uri.endswith(":5432/mlflow?sslmode=require")

    def test_serves_artifacts_from_its_folder_and_answers_to_its_own_name_alone(self, dev: Recording) -> None:
        found = self.environment(dev)
        assert found["MLFLOW_ARTIFACTS_DESTINATION"] == f"s3://mtd-dev-artifacts-{ACCOUNT}/mlflow"
        assert dev.outputs["url"] == f"http://{found['MLFLOW_SERVER_ALLOWED_HOSTS']}"

    def test_runs_as_a_user_that_can_write_to_tmp_alone(self, dev: Recording) -> None:
        found = container(dev)
        assert found["user"] == "10001:10001"
        assert found["readonlyRootFilesystem"] is True
        assert [mount["containerPath"] for mount in found["mountPoints"]] == ["/tmp"]
        volumes = one(dev, "aws:ecs/taskDefinition:TaskDefinition").inputs["volumes"]
        assert [volume["name"] for volume in volumes] == [mount["sourceVolume"] for mount in found["mountPoints"]]

    def test_its_health_check_is_a_program_that_connects_anew(self, dev: Recording) -> None:
        kind, python, option, program = container(dev)["healthCheck"]["command"]
        assert (kind, python, option) == ("CMD", "python", "-c")
        compile(program, "health", "exec")
        assert "psycopg2.connect" in program

    def test_the_network_alone_reaches_it(self, dev: Recording) -> None:
        balancer = one(dev, "aws:lb/loadBalancer:LoadBalancer").inputs
        assert balancer["internal"] is True
        assert balancer["dropInvalidHeaderFields"] is True
        front = one(dev, "aws:ec2/securityGroup:SecurityGroup", "tracking-front").inputs
        assert [(rule["fromPort"], rule["cidrBlocks"]) for rule in front["ingress"]] == [(80, [CIDR])]
        server = one(dev, "aws:ec2/securityGroup:SecurityGroup", "tracking-server").inputs
        (rule,) = server["ingress"]
        assert rule["securityGroups"] == balancer["securityGroups"]
        assert "cidrBlocks" not in rule

    def test_a_release_that_does_not_start_is_rolled_back(self, dev: Recording) -> None:
        service = one(dev, "aws:ecs/service:Service").inputs
        assert service["deploymentCircuitBreaker"] == {"enable": True, "rollback": True}
        assert service["deploymentMinimumHealthyPercent"] == 100
        assert service["desiredCount"] == 2
        assert service["networkConfiguration"]["assignPublicIp"] is False
        assert one(dev, "aws:lb/targetGroup:TargetGroup").inputs["healthCheck"]["path"] == "/health"

    def test_its_roles_reach_one_repository_one_secret_and_one_folder(self, dev: Recording) -> None:
        start = statements(one(dev, "aws:iam/rolePolicy:RolePolicy", "tracking-execution").inputs["policy"])
        by_action = {action: each["Resource"] for each in start for action in each["Action"]}
        assert by_action["ecr:BatchGetImage"] == [f"arn:aws:ecr:{REGION}:{ACCOUNT}:repository/mtd-dev/mlflow"]
        assert [f"{arn}:password::" for arn in by_action["secretsmanager:GetSecretValue"]] == [
            container(dev)["secrets"][0]["valueFrom"]
        ]
        server = statements(one(dev, "aws:iam/rolePolicy:RolePolicy", "tracking-task").inputs["policy"])
        assert server[0]["Resource"] == [f"arn:aws:s3:::mtd-dev-artifacts-{ACCOUNT}/mlflow/*"]

    @staticmethod
    def environment(recording: Recording) -> dict[str, str]:
        return {each["name"]: each["value"] for each in container(recording)["environment"]}
