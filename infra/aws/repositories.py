"""Repositories of the images, in ECR."""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import pulumi
import pulumi_aws as aws

from infra import settings
from infra.aws.account import Account
from infra.aws.iam import Statement, policy


@dataclass(frozen=True)
class RepositoriesArgs:
    """``names``: of the images. ``images``: which of them this stack runs, and how many of a repository stay."""

    account: Account
    key_arn: pulumi.Input[str]
    names: Sequence[str]
    images: settings.Images


class Repositories(pulumi.ComponentResource):
    """One repository an image. A tag never moves, and each image is scanned when it comes in."""

    arns: list[pulumi.Output[str]]
    urls: dict[str, pulumi.Output[str]]

    def __init__(self, name: str, args: RepositoriesArgs, opts: pulumi.ResourceOptions | None = None) -> None:
        super().__init__("ml:aws:Repositories", name, None, opts)
        self._name = name
        self._args = args
        made = {image: self._repository(image) for image in args.names}
        self.arns = [repository.arn for repository in made.values()]
        self.urls = {image: repository.repository_url for image, repository in made.items()}
        self.register_outputs({"urls": self.urls})

    def uri(self, name: str) -> pulumi.Output[str]:
        """``REPOSITORY@DIGEST``, or ``REPOSITORY:TAG``, of this stack's release."""
        return pulumi.Output.concat(self.urls[name], self._args.images.which(name))

    def _repository(self, image: str) -> aws.ecr.Repository:
        account = self._args.account
        child = pulumi.ResourceOptions(parent=self)
        repository = aws.ecr.Repository(
            f"{self._name}-{image}",
            name=repository_name(account, image),
            image_tag_mutability="IMMUTABLE",
            image_scanning_configuration=aws.ecr.RepositoryImageScanningConfigurationArgs(scan_on_push=True),
            encryption_configurations=[
                aws.ecr.RepositoryEncryptionConfigurationArgs(encryption_type="KMS", kms_key=self._args.key_arn)
            ],
            force_delete=not account.protect,
            opts=child,
        )
        aws.ecr.LifecyclePolicy(
            f"{self._name}-{image}", repository=repository.name, policy=_lifecycle(self._args.images.keep), opts=child
        )
        if reads := READERS.get(image):
            aws.ecr.RepositoryPolicy(
                f"{self._name}-{image}", repository=repository.name, policy=policy([reads(account)]), opts=child
            )
        return repository


def repository_name(account: Account, image: str) -> str:
    return f"{account.naming.prefix}/{image}"


def repository_arn(account: Account, image: str) -> str:
    """For the policies of those that read it, which often know the image alone."""
    return account.arn("ecr", f"repository/{repository_name(account, image)}")


def _lifecycle(keep: int) -> str:
    """https://docs.aws.amazon.com/AmazonECR/latest/userguide/LifecyclePolicies.html"""
    untagged = {"tagStatus": "untagged", "countType": "sinceImagePushed", "countUnit": "days", "countNumber": 1}
    all_but_the_newest = {"tagStatus": "any", "countType": "imageCountMoreThan", "countNumber": keep}
    return json.dumps(
        {
            "rules": [
                {
                    "rulePriority": priority,
                    "description": description,
                    "selection": selection,
                    "action": {"type": "expire"},
                }
                for priority, description, selection in (
                    (1, "untagged: a day", untagged),
                    (2, f"the newest {keep} stay", all_but_the_newest),
                )
            ]
        }
    )


def _lambda_reads(account: Account) -> Statement:
    """https://docs.aws.amazon.com/lambda/latest/dg/images-create.html#gettingstarted-images-permissions"""
    return Statement(
        ("ecr:BatchGetImage", "ecr:GetDownloadUrlForLayer"),
        (),
        principals={"Service": ["lambda.amazonaws.com"]},
        conditions={
            "StringEquals": {"aws:SourceAccount": account.id},
            "ArnLike": {"aws:SourceArn": account.arn("lambda", f"function:{account.naming.prefix}-*")},
        },
    )


def _spark_reads(account: Account) -> Statement:
    """https://docs.aws.amazon.com/emr/latest/EMR-Serverless-UserGuide/application-custom-image.html"""
    return Statement(
        ("ecr:BatchGetImage", "ecr:DescribeImages", "ecr:GetDownloadUrlForLayer"),
        (),
        principals={"Service": ["emr-serverless.amazonaws.com"]},
        conditions={
            "StringEquals": {"aws:SourceAccount": account.id},
            "ArnLike": {"aws:SourceArn": account.arn("emr-serverless", "/applications/*")},
        },
    )


READERS: dict[str, Callable[[Account], Statement]] = {"lambda": _lambda_reads, "features": _spark_reads}
"""Images that a service of AWS pulls by its own right, and what it may do."""
