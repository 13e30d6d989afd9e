"""``kms-keys-rotate``."""

from __future__ import annotations

import pytest

from policies.rules.kms_keys_rotate import kms_keys_rotate
from policies.testing import Case, Cases, drop, put, resource

TYPE = "aws:kms/key:Key"

CASES = [
    Cases(
        kms_keys_rotate,
        passing=[
            resource(TYPE, {"enableKeyRotation": True, "deletionWindowInDays": 30}),
            resource(TYPE, {"enableKeyRotation": True}),
            resource(TYPE, {"customerMasterKeySpec": "ECC_NIST_P256"}),
        ],
        failing=[
            put("enableKeyRotation", False),
            drop("enableKeyRotation"),
            put("deletionWindowInDays", 7),
            put("deletionWindowInDays", "30"),
        ],
        unknown=["enableKeyRotation", "deletionWindowInDays"],
    ),
    Cases(
        kms_keys_rotate,
        config={"least_window_days": 7},
        passing=[resource(TYPE, {"enableKeyRotation": True, "deletionWindowInDays": 7})],
        failing=[put("deletionWindowInDays", 6), put("enableKeyRotation", False)],
    ),
]


@pytest.mark.parametrize("case", [case for cases in CASES for case in cases.all()], ids=str)
def test_kms_keys_rotate(case: Case) -> None:
    case.check()
