"""``disks-encrypted``."""

from __future__ import annotations

import pytest

from policies.rules.disks_encrypted import disks_encrypted
from policies.testing import Case, Cases, drop, put, resource

KEY = "arn:aws:kms:us-east-1:123456789012:key/01892c37-0000-4000-8000-f8ae67404594"

TEMPLATE = "aws:ec2/launchTemplate:LaunchTemplate"
INSTANCE = "aws:ec2/instance:Instance"
CONFIGURATION = "aws:ec2/launchConfiguration:LaunchConfiguration"
VOLUME = "aws:ebs/volume:Volume"
DISK = {"encrypted": True, "kmsKeyId": KEY}

CASES = [
    Cases(
        disks_encrypted,
        passing=[
            resource(
                TEMPLATE,
                {
                    "blockDeviceMappings": [
                        {"deviceName": "/dev/xvda", "ebs": {"encrypted": "true", "kmsKeyId": KEY}},
                        {"deviceName": "/dev/sdb", "virtualName": "ephemeral0"},
                    ]
                },
            )
        ],
        failing=[
            put("blockDeviceMappings[0].ebs.encrypted", "false"),
            drop("blockDeviceMappings[0].ebs.kmsKeyId"),
            drop("blockDeviceMappings[0]"),
            drop("blockDeviceMappings"),
        ],
        unknown=["blockDeviceMappings", "blockDeviceMappings[0].ebs", "blockDeviceMappings[0].ebs.kmsKeyId"],
    ),
    Cases(
        disks_encrypted,
        passing=[
            resource(INSTANCE, {"rootBlockDevice": DISK, "ebsBlockDevices": [DISK]}),
            resource(INSTANCE, {"launchTemplate": {"id": "lt-0"}}),
        ],
        failing=[
            drop("rootBlockDevice"),
            put("rootBlockDevice.encrypted", False),
            drop("ebsBlockDevices[0].encrypted"),
            put("ebsBlockDevices[0].kmsKeyId", "alias/aws/ebs"),
        ],
        unknown=["rootBlockDevice", "ebsBlockDevices", "rootBlockDevice.kmsKeyId"],
    ),
    Cases(
        disks_encrypted,
        passing=[
            resource(CONFIGURATION, {"rootBlockDevice": {"encrypted": True}, "ebsBlockDevices": [{"encrypted": True}]}),
            resource(CONFIGURATION, {"rootBlockDevice": {"encrypted": True}, "ebsBlockDevices": [{"noDevice": True}]}),
        ],
        failing=[
            drop("rootBlockDevice"),
            drop("rootBlockDevice.encrypted"),
            put("ebsBlockDevices[0].encrypted", False),
        ],
        unknown=["rootBlockDevice", "ebsBlockDevices", "ebsBlockDevices[0].encrypted"],
    ),
    Cases(
        disks_encrypted,
        passing=[resource(VOLUME, DISK)],
        failing=[drop("encrypted"), drop("kmsKeyId")],
        unknown=["encrypted", "kmsKeyId"],
    ),
]


@pytest.mark.parametrize("case", [case for cases in CASES for case in cases.all()], ids=str)
def test_disks_encrypted(case: Case) -> None:
    case.check()
