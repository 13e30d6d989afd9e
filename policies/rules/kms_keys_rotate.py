"""``kms-keys-rotate``."""

from __future__ import annotations

from collections.abc import Iterator

from pydantic import Field

from policies.rule import Resource, RuleConfig, Severity, Violation, rule

SYMMETRIC = (None, "SYMMETRIC_DEFAULT")
"""The only keys that KMS rotates."""

LONGEST_WINDOW = 30
"""Days that KMS waits where nothing is said, which is the longest."""


class KeyLife(RuleConfig):
    """``least_window_days``: between asking for a key's end and its end; what it encrypts is lost with it."""

    least_window_days: int = Field(LONGEST_WINDOW, ge=7, le=LONGEST_WINDOW)


@rule(
    "kms-keys-rotate",
    "aws:kms/key:Key",
    group="encryption at rest",
    severity=Severity.MEDIUM,
    remedy="enable_key_rotation=True, deletion_window_in_days=30",
    source="https://docs.aws.amazon.com/kms/latest/developerguide/rotate-keys.html",
    config=KeyLife,
)
def kms_keys_rotate(key: Resource, config: KeyLife) -> Iterator[Violation]:
    """KMS keys rotate by themselves, and wait before they are deleted."""
    if key.get("customerMasterKeySpec") in SYMMETRIC:
        yield from key.expect("enableKeyRotation", True)
    days = key.get("deletionWindowInDays", LONGEST_WINDOW)
    if not isinstance(days, int | float) or not days >= config.least_window_days:
        yield key.violation("deletionWindowInDays", f"{config.least_window_days} days or more", days)
