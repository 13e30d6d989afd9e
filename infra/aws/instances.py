"""What every EC2 instance of a stack has, whoever starts it: encrypted disks, guarded metadata, a role."""

from __future__ import annotations

import json
from collections.abc import Mapping

import pulumi
import pulumi_aws as aws

from infra.aws.iam import VERSION

ROOT_DEVICE = "/dev/xvda"
"""Of Amazon Linux 2023."""

Tags = pulumi.Output[Mapping[str, str] | None]

# An instance profile takes roles of its own account alone, and EC2 names no source account when it takes one on.
TRUST = json.dumps(
    {
        "Version": VERSION,
        "Statement": [
            {"Effect": "Allow", "Action": ["sts:AssumeRole"], "Principal": {"Service": ["ec2.amazonaws.com"]}}
        ],
    }
)


def metadata() -> aws.ec2.LaunchTemplateMetadataOptionsArgs:
    """IMDSv2 alone, and one hop: what a container asks the metadata service ends at the instance."""
    return aws.ec2.LaunchTemplateMetadataOptionsArgs(
        http_endpoint="enabled", http_tokens="required", http_put_response_hop_limit=1
    )


def disks(gib: int, key_arn: pulumi.Input[str]) -> list[aws.ec2.LaunchTemplateBlockDeviceMappingArgs]:
    """The root disk, encrypted with ``key_arn``."""
    disk = aws.ec2.LaunchTemplateBlockDeviceMappingEbsArgs(
        volume_size=gib, volume_type="gp3", encrypted="true", kms_key_id=key_arn, delete_on_termination="true"
    )
    return [aws.ec2.LaunchTemplateBlockDeviceMappingArgs(device_name=ROOT_DEVICE, ebs=disk)]


def tag_specifications(tags: Tags, name: str) -> list[aws.ec2.LaunchTemplateTagSpecificationArgs]:
    """Of the instances and disks that a template makes: the stack's transformation doesn't see those.

    ``tags``: of a resource that it does see.
    """
    named = tags.apply(lambda known: {**(known or {}), "Name": name})
    return [
        aws.ec2.LaunchTemplateTagSpecificationArgs(resource_type=kind, tags=named) for kind in ("instance", "volume")
    ]
