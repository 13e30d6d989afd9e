"""``ecr-scans-on-push``."""

from __future__ import annotations

from collections.abc import Iterable, MutableMapping
from typing import Any

from policies.rule import Resource, Severity, Violation, rule


def _scan(inputs: MutableMapping[str, Any]) -> None:
    inputs["imageScanningConfiguration"] = {"scanOnPush": True}


@rule(
    "ecr-scans-on-push",
    "aws:ecr/repository:Repository",
    group="images",
    severity=Severity.HIGH,
    remedy="image_scanning_configuration=RepositoryImageScanningConfigurationArgs(scan_on_push=True)",
    source="https://docs.aws.amazon.com/AmazonECR/latest/userguide/image-scanning-basic.html",
    fix=_scan,
)
def ecr_scans_on_push(repository: Resource) -> Iterable[Violation]:
    """Images are scanned for known vulnerabilities when they are pushed."""
    return repository.expect("imageScanningConfiguration.scanOnPush", True)
