"""``images-pinned``."""

from __future__ import annotations

import re
from collections.abc import Iterable

from policies.reading.containers import APPS, FUNCTION, GROUP, ON_KUBERNETES, SPARK, TASK, images
from policies.rule import Resource, RuleConfig, Severity, Violation, rule

DIGEST = re.compile(r"[^@\s]+@sha256:[0-9a-f]{64}")
TAG = re.compile(r"[^@\s]*[^@\s:/]:(?!latest$)[A-Za-z0-9_][A-Za-z0-9._-]{0,127}")


class ImagesConfig(RuleConfig):
    """``digest``: nothing but a digest will do; else a tag that isn't ``latest`` will too."""

    digest: bool = True


@rule(
    "images-pinned",
    TASK,
    FUNCTION,
    SPARK,
    *APPS,
    GROUP,
    *ON_KUBERNETES,
    group="images",
    severity=Severity.HIGH,
    remedy="images: {digests: {<image>: sha256:...}} in Pulumi.<stack>.yaml, where the push said the digest",
    source="https://docs.aws.amazon.com/AmazonECR/latest/userguide/image-tag-mutability.html",
    config=ImagesConfig,
)
def images_pinned(resource: Resource, config: ImagesConfig) -> Iterable[Violation]:
    """What runs is one image: named by its digest or, where the stack's config says so, by a tag of a version."""
    for image in images(resource):
        name = image.get()
        held = isinstance(name, str) and bool(DIGEST.fullmatch(name) or (not config.digest and TAG.fullmatch(name)))
        if not held:
            expected = "an image by its digest" if config.digest else "an image by its digest or a version's tag"
            yield image.violation("", expected, name)
