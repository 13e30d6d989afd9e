"""Keys, repositories, buckets, secrets, the table and the cluster, as a small program registers them."""

import json

import pytest

from infra.check.record import Recording
from tests.unit.infra.aws.foundation import (
    ACCOUNT,
    BUCKETS,
    DIGEST,
    PROJECT,
    REGION,
    ROTATOR,
    WEBHOOK,
    Json,
    container,
    one,
    policies,
    recorded,
    statements,
)


@pytest.fixture(scope="module")
def dev() -> Recording:
    return recorded("dev", protect=False)


@pytest.fixture(scope="module")
def prod() -> Recording:
    return recorded("prod", protect=True, rotator=ROTATOR)


class TestEveryPolicy:
    def test_allows_no_wildcard_action(self, dev: Recording) -> None:
        allowed = [
            (label, action) for label, each in policies(dev) if each["Effect"] == "Allow" for action in each["Action"]
        ]
        assert len(allowed) > 50
        assert [found for found in allowed if "*" in found[1]] == []

    def test_allows_every_resource_only_where_there_is_no_arn(self, dev: Recording) -> None:
        open_ = {
            (label.split(" ")[0], action)
            for label, each in policies(dev)
            if each["Effect"] == "Allow" and "*" in each.get("Resource", []) and not label.startswith("aws:kms/key:Key")
            for action in each["Action"]
        }
        assert open_ == {("aws:iam/rolePolicy:RolePolicy", "ecr:GetAuthorizationToken")}

    def test_lets_anybody_do_something_only_on_a_condition(self, dev: Recording) -> None:
        public = [
            each for _, each in policies(dev) if each.get("Principal") == {"AWS": ["*"]} and each["Effect"] == "Allow"
        ]
        assert [set(each["Condition"]) for each in public] == [{"StringEquals", "ArnEquals"}]


class TestKeys:
    def test_each_rotates_and_has_an_alias(self, dev: Recording) -> None:
        assert {key.name: key.inputs["enableKeyRotation"] for key in dev.of_type("aws:kms/key:Key")} == {
            "keys-data": True,
            "keys-logs": True,
            "keys-secrets": True,
        }
        assert {alias.inputs["name"] for alias in dev.of_type("aws:kms/alias:Alias")} == {
            "alias/mtd-dev-data",
            "alias/mtd-dev-logs",
            "alias/mtd-dev-secrets",
        }

    def test_the_account_administers_each(self, dev: Recording) -> None:
        keys = dev.of_type("aws:kms/key:Key")
        assert len(keys) == 3
        for key in keys:
            first = statements(key.inputs["policy"])[0]
            assert first["Principal"] == {"AWS": [f"arn:aws:iam::{ACCOUNT}:root"]}
            assert {"kms:PutKeyPolicy", "kms:ScheduleKeyDeletion", "kms:Decrypt"} <= set(first["Action"])

    def test_log_groups_of_the_account_alone_use_the_key_of_logs(self, dev: Recording) -> None:
        (found,) = [
            each
            for each in statements(one(dev, "aws:kms/key:Key", "keys-logs").inputs["policy"])
            if each["Principal"] == {"Service": [f"logs.{REGION}.amazonaws.com"]}
        ]
        assert found["Condition"] == {
            "StringLike": {"kms:EncryptionContext:aws:logs:arn": f"arn:aws:logs:{REGION}:{ACCOUNT}:log-group:*"}
        }

    def test_services_that_send_messages_use_it_for_this_account_alone(self, dev: Recording) -> None:
        (found,) = [
            each
            for each in statements(one(dev, "aws:kms/key:Key", "keys-logs").inputs["policy"])
            if "sns.amazonaws.com" in each["Principal"].get("Service", [])
        ]
        assert {"budgets.amazonaws.com", "cloudwatch.amazonaws.com", "events.amazonaws.com"} < set(
            found["Principal"]["Service"]
        )
        assert found["Condition"] == {"StringEquals": {"aws:SourceAccount": ACCOUNT}}

    def test_the_key_of_secrets_is_open_to_no_service(self, dev: Recording) -> None:
        found = statements(one(dev, "aws:kms/key:Key", "keys-secrets").inputs["policy"])
        assert all("Service" not in each["Principal"] for each in found)


class TestRepositories:
    def test_tags_never_move_and_images_are_scanned_and_encrypted(self, dev: Recording) -> None:
        found = dev.of_type("aws:ecr/repository:Repository")
        assert {each.inputs["name"] for each in found} == {"mtd-dev/serve", "mtd-dev/mlflow", "mtd-dev/lambda"}
        for each in found:
            assert each.inputs["imageTagMutability"] == "IMMUTABLE"
            assert each.inputs["imageScanningConfiguration"] == {"scanOnPush": True}
            assert each.inputs["encryptionConfigurations"][0]["encryptionType"] == "KMS"

    def test_untagged_images_go_after_a_day_and_the_newest_stay(self, dev: Recording) -> None:
        found = dev.of_type("aws:ecr/lifecyclePolicy:LifecyclePolicy")
        assert len(found) == 3
        for each in found:
            untagged, rest = json.loads(each.inputs["policy"])["rules"]
            assert untagged["selection"] == {
                "tagStatus": "untagged",
                "countType": "sinceImagePushed",
                "countUnit": "days",
                "countNumber": 1,
            }
            assert rest["selection"] == {"tagStatus": "any", "countType": "imageCountMoreThan", "countNumber": 7}

    def test_lambda_reads_its_own_repository_for_functions_of_the_stack(self, dev: Recording) -> None:
        found = one(dev, "aws:ecr/repositoryPolicy:RepositoryPolicy")
        assert found.inputs["repository"] == "mtd-dev/lambda"
        (statement,) = statements(found.inputs["policy"])
        assert statement["Principal"] == {"Service": ["lambda.amazonaws.com"]}
        assert statement["Condition"]["ArnLike"] == {
            "aws:SourceArn": f"arn:aws:lambda:{REGION}:{ACCOUNT}:function:mtd-dev-*"
        }

    def test_a_stack_runs_the_images_of_its_release(self, dev: Recording) -> None:
        assert container(dev)["image"] == f"{ACCOUNT}.dkr.ecr.{REGION}.amazonaws.com/mtd-dev/mlflow:1.4.0"

    def test_an_image_with_a_digest_runs_by_it(self, prod: Recording) -> None:
        assert container(prod)["image"] == f"{ACCOUNT}.dkr.ecr.{REGION}.amazonaws.com/mtd-prod/mlflow@{DIGEST}"


class TestStorage:
    @pytest.mark.parametrize("bucket", BUCKETS)
    def test_a_bucket_is_named_for_its_account_and_closed_to_the_public(self, dev: Recording, bucket: str) -> None:
        assert one(dev, "aws:s3/bucket:Bucket", f"storage-{bucket}").inputs["bucket"] == f"mtd-dev-{bucket}-{ACCOUNT}"
        closed = one(dev, "aws:s3/bucketPublicAccessBlock:BucketPublicAccessBlock", f"storage-{bucket}").inputs
        assert {key: closed[key] for key in closed if key != "bucket"} == dict.fromkeys(
            ("blockPublicAcls", "blockPublicPolicy", "ignorePublicAcls", "restrictPublicBuckets"), True
        )

    @pytest.mark.parametrize("bucket", BUCKETS)
    def test_a_bucket_refuses_calls_without_tls(self, dev: Recording, bucket: str) -> None:
        found = statements(one(dev, "aws:s3/bucketPolicy:BucketPolicy", f"storage-{bucket}").inputs["policy"])
        (refused,) = [each for each in found if each["Effect"] == "Deny"]
        arn = f"arn:aws:s3:::mtd-dev-{bucket}-{ACCOUNT}"
        assert (refused["Action"], refused["Resource"]) == (["s3:*"], [arn, f"{arn}/*"])
        assert refused["Principal"] == {"AWS": ["*"]}
        assert refused["Condition"] == {"Bool": {"aws:SecureTransport": "false"}}

    @pytest.mark.parametrize("bucket", BUCKETS)
    def test_a_bucket_keeps_replaced_objects_a_while_and_drops_unfinished_uploads(
        self, dev: Recording, bucket: str
    ) -> None:
        versioning = one(dev, "aws:s3/bucketVersioning:BucketVersioning", f"storage-{bucket}").inputs
        assert versioning["versioningConfiguration"] == {"status": "Enabled"}
        rules = self.rules(dev, bucket)
        assert rules["replaced"]["noncurrentVersionExpiration"] == {"noncurrentDays": 21}
        assert rules["unfinished"]["abortIncompleteMultipartUpload"] == {"daysAfterInitiation": 7}

    @pytest.mark.parametrize("bucket", BUCKETS)
    def test_the_bucket_owns_whatever_is_put_there(self, dev: Recording, bucket: str) -> None:
        found = one(dev, "aws:s3/bucketOwnershipControls:BucketOwnershipControls", f"storage-{bucket}").inputs
        assert found["rule"] == {"objectOwnership": "BucketOwnerEnforced"}

    def test_intermediate_data_and_logs_end(self, dev: Recording) -> None:
        ends = {
            bucket: {
                name: each for name, each in self.rules(dev, bucket).items() if "days" in each.get("expiration", {})
            }
            for bucket in BUCKETS
        }
        assert ends["data"]["intermediate"]["filter"] == {"prefix": "intermediate/"}
        assert ends["data"]["intermediate"]["expiration"] == {"days": 9}
        assert ends["logs"]["logs"]["expiration"] == {"days": 30}
        assert ends["artifacts"] == {}

    def test_data_and_artifacts_are_encrypted_with_the_key_of_data(self, dev: Recording) -> None:
        key = one(dev, "aws:dynamodb/table:Table").inputs["serverSideEncryption"]["kmsKeyArn"]
        for bucket in ("data", "artifacts"):
            (rule,) = self.encryption(dev, bucket)
            assert rule == {
                "applyServerSideEncryptionByDefault": {"sseAlgorithm": "aws:kms", "kmsMasterKeyId": key},
                "bucketKeyEnabled": True,
            }

    def test_logs_are_encrypted_with_the_one_key_that_their_writers_can_use(self, dev: Recording) -> None:
        (rule,) = self.encryption(dev, "logs")
        assert rule["applyServerSideEncryptionByDefault"] == {"sseAlgorithm": "AES256"}

    def test_who_reads_what_is_logged(self, dev: Recording) -> None:
        logged = dev.of_type("aws:s3/bucketLogging:BucketLogging")
        assert {each.inputs["targetPrefix"] for each in logged} == {"s3/data/", "s3/artifacts/"}
        writers = statements(one(dev, "aws:s3/bucketPolicy:BucketPolicy", "storage-logs").inputs["policy"])[1:]
        assert {each["Principal"]["Service"][0]: each["Resource"] for each in writers} == {
            "logging.s3.amazonaws.com": [f"arn:aws:s3:::mtd-dev-logs-{ACCOUNT}/s3/*"],
            "logdelivery.elasticloadbalancing.amazonaws.com": [
                f"arn:aws:s3:::mtd-dev-logs-{ACCOUNT}/*/AWSLogs/{ACCOUNT}/*"
            ],
        }

    def test_eventbridge_hears_of_new_data(self, dev: Recording) -> None:
        found = one(dev, "aws:s3/bucketNotification:BucketNotification").inputs
        assert (found["bucket"], found["eventbridge"]) == (f"mtd-dev-data-{ACCOUNT}", True)

    @staticmethod
    def rules(recording: Recording, bucket: str) -> dict[str, Json]:
        type_ = "aws:s3/bucketLifecycleConfiguration:BucketLifecycleConfiguration"
        return {rule["id"]: rule for rule in one(recording, type_, f"storage-{bucket}").inputs["rules"]}

    @staticmethod
    def encryption(recording: Recording, bucket: str) -> list[Json]:
        type_ = "aws:s3/bucketServerSideEncryptionConfiguration:BucketServerSideEncryptionConfiguration"
        return list(one(recording, type_, f"storage-{bucket}").inputs["rules"])


class TestSecrets:
    def test_the_api_keys_secret_is_made_without_a_value(self, dev: Recording) -> None:
        found = one(dev, "aws:secretsmanager/secret:Secret", "secrets-api-keys")
        assert found.inputs["name"] == f"/{PROJECT}/dev/api-keys"
        versions = dev.of_type("aws:secretsmanager/secretVersion:SecretVersion")
        assert [version.name for version in versions] == ["secrets-webhook"]

    def test_the_webhook_comes_from_the_config_and_is_secret_wherever_it_goes(self, dev: Recording) -> None:
        version = one(dev, "aws:secretsmanager/secretVersion:SecretVersion")
        assert version.inputs["secretString"] == WEBHOOK
        assert version.secret_paths == {"secretString"}
        others = [each for each in dev.resources if each is not version]
        assert [each.label for each in others if WEBHOOK in json.dumps(each.raw)] == []
        assert WEBHOOK not in json.dumps(dev.raw_outputs)

    def test_without_a_webhook_there_is_no_secret_of_one(self) -> None:
        found = recorded("dev", webhook=False, protect=False)
        assert [each.name for each in found.of_type("aws:secretsmanager/secret:Secret")] == ["secrets-api-keys"]

    def test_a_function_that_rotates_may_be_called_for_this_secret_alone(self, prod: Recording) -> None:
        rotation = one(prod, "aws:secretsmanager/secretRotation:SecretRotation").inputs
        assert rotation["rotationLambdaArn"] == ROTATOR
        assert rotation["rotationRules"] == {"automaticallyAfterDays": 90}
        permission = one(prod, "aws:lambda/permission:Permission").inputs
        assert permission["principal"] == "secretsmanager.amazonaws.com"
        assert permission["sourceArn"] == rotation["secretId"]
        assert permission["sourceAccount"] == ACCOUNT

    def test_nothing_rotates_without_a_function(self, dev: Recording) -> None:
        assert dev.of_type("aws:secretsmanager/secretRotation:SecretRotation") == ()

    @pytest.mark.parametrize(
        ("who", "actions"),
        [
            ("reads", {"DescribeSecret", "GetSecretValue"}),
            ("writes", {"DescribeSecret", "GetSecretValue", "PutSecretValue", "UpdateSecretVersionStage"}),
        ],
    )
    def test_a_role_gets_what_the_key_store_calls(self, dev: Recording, who: str, actions: set[str]) -> None:
        secret, key = statements(dev.outputs[who])
        assert set(secret["Action"]) == {f"secretsmanager:{action}" for action in actions}
        assert [arn.rpartition(":")[2] for arn in secret["Resource"]] == [f"/{PROJECT}/dev/api-keys-AbCdEf"]
        assert key["Condition"] == {"StringEquals": {"kms:ViaService": f"secretsmanager.{REGION}.amazonaws.com"}}


class TestOnlineStore:
    def test_holds_one_item_an_entity_and_view_until_it_expires(self, dev: Recording) -> None:
        found = one(dev, "aws:dynamodb/table:Table").inputs
        assert (found["hashKey"], found["rangeKey"]) == ("entity", "view")
        assert found["attributes"] == [{"name": "entity", "type": "S"}, {"name": "view", "type": "S"}]
        assert found["ttl"] == {"attributeName": "expires_at", "enabled": True}
        assert found["billingMode"] == "PAY_PER_REQUEST"
        assert found["pointInTimeRecovery"] == {"enabled": True}


class TestCluster:
    def test_measures_containers_and_may_run_them_on_spare_capacity(self, dev: Recording) -> None:
        found = one(dev, "aws:ecs/cluster:Cluster").inputs
        assert found["settings"] == [{"name": "containerInsights", "value": "enabled"}]
        listed = one(dev, "aws:ecs/clusterCapacityProviders:ClusterCapacityProviders").inputs
        assert listed["capacityProviders"] == ["FARGATE", "FARGATE_SPOT"]
        assert [each["capacityProvider"] for each in listed["defaultCapacityProviderStrategies"]] == ["FARGATE"]


class TestProtection:
    KEPT = (
        "aws:kms/key:Key",
        "aws:s3/bucket:Bucket",
        "aws:rds/instance:Instance",
        "aws:dynamodb/table:Table",
        "aws:secretsmanager/secret:Secret",
    )

    @pytest.mark.parametrize("type_", KEPT)
    def test_a_protected_stack_keeps_its_data_when_it_is_destroyed(self, prod: Recording, type_: str) -> None:
        assert {each.options["protect"] for each in prod.of_type(type_)} == {True}

    @pytest.mark.parametrize("type_", KEPT)
    def test_another_stack_goes_without_a_trace(self, dev: Recording, type_: str) -> None:
        assert {bool(each.options["protect"]) for each in dev.of_type(type_)} == {False}

    @pytest.mark.parametrize("protected", [True, False])
    def test_aws_itself_protects_it_too(self, dev: Recording, prod: Recording, protected: bool) -> None:
        stack = prod if protected else dev
        instance = one(stack, "aws:rds/instance:Instance").inputs
        assert instance["deletionProtection"] is protected
        assert instance["skipFinalSnapshot"] is not protected
        assert ("finalSnapshotIdentifier" in instance) is protected
        assert one(stack, "aws:dynamodb/table:Table").inputs["deletionProtectionEnabled"] is protected
        assert one(stack, "aws:lb/loadBalancer:LoadBalancer").inputs["enableDeletionProtection"] is protected
        assert {each.inputs["forceDestroy"] for each in stack.of_type("aws:s3/bucket:Bucket")} == {not protected}
        assert {each.inputs["forceDelete"] for each in stack.of_type("aws:ecr/repository:Repository")} == {
            not protected
        }
        assert {each.inputs["recoveryWindowInDays"] for each in stack.of_type("aws:secretsmanager/secret:Secret")} == {
            30 if protected else 0
        }
