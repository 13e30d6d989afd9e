"""``disks-encrypted``."""

from __future__ import annotations

from collections.abc import Iterator, Mapping

from policies.node import Node
from policies.reading.kms import requires_key
from policies.rule import Resource, Severity, Violation, rule

INSTANCE = "aws:ec2/instance:Instance"
TEMPLATE = "aws:ec2/launchTemplate:LaunchTemplate"
CONFIGURATION = "aws:ec2/launchConfiguration:LaunchConfiguration"
ROOTS: Mapping[str, str] = {
    INSTANCE: "rootBlockDevice",
    CONFIGURATION: "rootBlockDevice",
    TEMPLATE: "blockDeviceMappings",
}
"""Where each names its root device."""


@rule(
    "disks-encrypted",
    "aws:ebs/volume:Volume",
    *ROOTS,
    group="encryption at rest",
    severity=Severity.HIGH,
    remedy="encrypted=True, kms_key_id=key.arn: of the volume, of each ebs in block_device_mappings, "
    "of root_block_device",
    source="https://docs.aws.amazon.com/ebs/latest/userguide/ebs-encryption.html",
)
def disks_encrypted(given: Resource) -> Iterator[Violation]:
    """Disks are encrypted with a KMS key of the account's own, and no instance starts with one that isn't named."""
    if given.type in ROOTS and not _names_root(given):
        yield given.violation(ROOTS[given.type], "the root device, encrypted", None)
    for disk in _disks(given):
        # A launch template has its booleans as texts.
        yield from disk.expect("encrypted", True, "true")
        if given.type != CONFIGURATION:
            # A launch configuration has no place for a key: it takes the account's default one for disks.
            yield from requires_key(disk, "kmsKeyId")


def _names_root(given: Resource) -> bool:
    """A launch template can't say which of its disks it is, and an instance can take it from a template."""
    if given.type == TEMPLATE:
        return any(True for _ in _disks(given))
    if given.type == CONFIGURATION:
        return given.at(ROOTS[CONFIGURATION]).value is not None
    return any(given.at(each).value is not None for each in (ROOTS[INSTANCE], "launchTemplate"))


def _disks(given: Resource) -> Iterator[Node]:
    if given.type in (INSTANCE, CONFIGURATION):
        yield from given.each("rootBlockDevice")
        # A disk without a device, which takes one of the image's away.
        yield from (each for each in given.each("ebsBlockDevices") if each.get("noDevice") is not True)
    elif given.type == TEMPLATE:
        # Mappings of another kind are disks of the host, which it encrypts, or take one of the image's away.
        for each in given.each("blockDeviceMappings"):
            yield from each.each("ebs")
    else:
        yield given
