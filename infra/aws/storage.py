"""Buckets: data, artifacts, and the logs of both."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import pulumi
import pulumi_aws as aws

from infra.aws.account import Account
from infra.aws.iam import Statement, by_tls_alone, policy

INTERMEDIATE = "intermediate/"
"""What a job leaves for the next one, under the data bucket."""

ABORT_UPLOADS_DAYS = 7

READ_AND_WRITE = (
    "s3:AbortMultipartUpload",
    "s3:DeleteObject",
    "s3:GetObject",
    "s3:ListMultipartUploadParts",
    "s3:PutObject",
)
"""What a role does with the objects of a folder that it keeps."""


@dataclass(frozen=True)
class StorageArgs:
    """``noncurrent_days``: how long replaced and deleted objects can be had back."""

    account: Account
    key_arn: pulumi.Input[str]
    noncurrent_days: int
    intermediate_days: int


class Storage(pulumi.ComponentResource):
    """``data``: what jobs read and write; EventBridge hears of its objects. ``artifacts``: model versions.

    ``logs``: who read what (S3) and the load balancers' own; by S3's key, since neither can write with another.
    ``logs_name`` is known once they may write there, which AWS tries when a load balancer is told to.
    https://docs.aws.amazon.com/AmazonS3/latest/userguide/enable-server-access-logging.html
    """

    data: aws.s3.Bucket
    artifacts: aws.s3.Bucket
    logs: aws.s3.Bucket
    logs_name: pulumi.Output[str]

    def __init__(self, name: str, args: StorageArgs, opts: pulumi.ResourceOptions | None = None) -> None:
        super().__init__("ml:aws:Storage", name, None, opts)
        self._name = name
        self._args = args
        self._opts = pulumi.ResourceOptions(parent=self)
        self.logs = self._bucket("logs", None)
        self.logs_name = self._policy("logs", self.logs, self._log_writers()).bucket
        self._lifecycle("logs", self.logs, [_ends("logs", "", args.account.log_days)])
        self.data = self._bucket("data", args.key_arn)
        self.artifacts = self._bucket("artifacts", args.key_arn)
        for kind, bucket in (("data", self.data), ("artifacts", self.artifacts)):
            self._policy(kind, bucket, [])
            aws.s3.BucketLogging(
                f"{name}-{kind}",
                bucket=bucket.id,
                target_bucket=self.logs_name,
                target_prefix=f"s3/{kind}/",
                opts=self._opts,
            )
        self._lifecycle("data", self.data, [_ends("intermediate", INTERMEDIATE, args.intermediate_days)])
        self._lifecycle("artifacts", self.artifacts, [])
        aws.s3.BucketNotification(f"{name}-data", bucket=self.data.id, eventbridge=True, opts=self._opts)
        self.register_outputs({"data": self.data.bucket, "artifacts": self.artifacts.bucket})

    def _bucket(self, kind: str, key_arn: pulumi.Input[str] | None) -> aws.s3.Bucket:
        account = self._args.account
        label = f"{self._name}-{kind}"
        bucket = aws.s3.Bucket(
            label,
            bucket=f"{account.naming.name(kind)}-{account.id}",
            force_destroy=not account.protect,
            opts=pulumi.ResourceOptions(parent=self, protect=account.protect),
        )
        aws.s3.BucketOwnershipControls(
            label,
            bucket=bucket.id,
            rule=aws.s3.BucketOwnershipControlsRuleArgs(object_ownership="BucketOwnerEnforced"),
            opts=self._opts,
        )
        by_default = aws.s3.BucketServerSideEncryptionConfigurationRuleApplyServerSideEncryptionByDefaultArgs(
            sse_algorithm="AES256" if key_arn is None else "aws:kms", kms_master_key_id=key_arn
        )
        aws.s3.BucketServerSideEncryptionConfiguration(
            label,
            bucket=bucket.id,
            rules=[
                aws.s3.BucketServerSideEncryptionConfigurationRuleArgs(
                    apply_server_side_encryption_by_default=by_default, bucket_key_enabled=key_arn is not None
                )
            ],
            opts=self._opts,
        )
        aws.s3.BucketVersioning(
            label,
            bucket=bucket.id,
            versioning_configuration=aws.s3.BucketVersioningVersioningConfigurationArgs(status="Enabled"),
            opts=self._opts,
        )
        return bucket

    def _policy(self, kind: str, bucket: aws.s3.Bucket, more: Sequence[Statement]) -> aws.s3.BucketPolicy:
        label = f"{self._name}-{kind}"
        closed = aws.s3.BucketPublicAccessBlock(
            label,
            bucket=bucket.id,
            block_public_acls=True,
            block_public_policy=True,
            ignore_public_acls=True,
            restrict_public_buckets=True,
            opts=self._opts,
        )
        return aws.s3.BucketPolicy(
            label,
            bucket=bucket.id,
            policy=policy([_encrypted_calls_alone(bucket), *more]),
            # S3 refuses two changes of one bucket's access at once.
            opts=pulumi.ResourceOptions(parent=self, depends_on=[closed]),
        )

    def _log_writers(self) -> list[Statement]:
        """https://docs.aws.amazon.com/elasticloadbalancing/latest/application/enable-access-logging.html"""
        account = self._args.account
        ours = {"aws:SourceAccount": account.id}
        sources = [f"arn:aws:s3:::{account.naming.name(kind)}-{account.id}" for kind in ("data", "artifacts")]
        return [
            Statement(
                ("s3:PutObject",),
                [pulumi.Output.concat(self.logs.arn, "/s3/*")],
                principals={"Service": ["logging.s3.amazonaws.com"]},
                conditions={"StringEquals": ours, "ArnLike": {"aws:SourceArn": sources}},
            ),
            Statement(
                ("s3:PutObject",),
                [pulumi.Output.concat(self.logs.arn, f"/*/AWSLogs/{account.id}/*")],
                principals={"Service": ["logdelivery.elasticloadbalancing.amazonaws.com"]},
                conditions={
                    "StringEquals": ours,
                    "ArnLike": {"aws:SourceArn": account.arn("elasticloadbalancing", "loadbalancer/*")},
                },
            ),
        ]

    def _lifecycle(
        self, kind: str, bucket: aws.s3.Bucket, more: Sequence[aws.s3.BucketLifecycleConfigurationRuleArgs]
    ) -> None:
        replaced = aws.s3.BucketLifecycleConfigurationRuleArgs(
            id="replaced",
            status="Enabled",
            filter=aws.s3.BucketLifecycleConfigurationRuleFilterArgs(prefix=""),
            noncurrent_version_expiration=aws.s3.BucketLifecycleConfigurationRuleNoncurrentVersionExpirationArgs(
                noncurrent_days=self._args.noncurrent_days
            ),
            expiration=aws.s3.BucketLifecycleConfigurationRuleExpirationArgs(expired_object_delete_marker=True),
        )
        unfinished = aws.s3.BucketLifecycleConfigurationRuleArgs(
            id="unfinished",
            status="Enabled",
            filter=aws.s3.BucketLifecycleConfigurationRuleFilterArgs(prefix=""),
            abort_incomplete_multipart_upload=(
                aws.s3.BucketLifecycleConfigurationRuleAbortIncompleteMultipartUploadArgs(
                    days_after_initiation=ABORT_UPLOADS_DAYS
                )
            ),
        )
        aws.s3.BucketLifecycleConfiguration(
            f"{self._name}-{kind}", bucket=bucket.id, rules=[replaced, unfinished, *more], opts=self._opts
        )


def _ends(name: str, prefix: str, days: int) -> aws.s3.BucketLifecycleConfigurationRuleArgs:
    return aws.s3.BucketLifecycleConfigurationRuleArgs(
        id=name,
        status="Enabled",
        filter=aws.s3.BucketLifecycleConfigurationRuleFilterArgs(prefix=prefix),
        expiration=aws.s3.BucketLifecycleConfigurationRuleExpirationArgs(days=days),
    )


def _encrypted_calls_alone(bucket: aws.s3.Bucket) -> Statement:
    """S3 takes TLS 1.2 and newer. A refusal has to cover all actions."""
    return by_tls_alone(("s3:*",), [bucket.arn, pulumi.Output.concat(bucket.arn, "/*")])
