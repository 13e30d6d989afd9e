"""``instances-guard-metadata``."""

from __future__ import annotations

from collections.abc import Iterator, MutableMapping
from typing import Any

from pydantic import Field

from policies.rule import Resource, RuleConfig, Severity, Violation, rule


class Hops(RuleConfig):
    """``most_hops``: to the metadata. A container that isn't on the host's own network is two away."""

    most_hops: int = Field(1, ge=1, le=64)


def _guard(inputs: MutableMapping[str, Any]) -> None:
    given = inputs.get("metadataOptions")
    options = dict(given) if isinstance(given, MutableMapping) else {}
    if options.get("httpEndpoint") != "disabled":
        options["httpTokens"] = "required"
        # A number may be what the stack's config allows, which a fix isn't told.
        if not _is_number(options.get("httpPutResponseHopLimit")):
            options["httpPutResponseHopLimit"] = 1
        inputs["metadataOptions"] = options


def _is_number(value: Any) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool)


@rule(
    "instances-guard-metadata",
    "aws:ec2/launchTemplate:LaunchTemplate",
    "aws:ec2/launchConfiguration:LaunchConfiguration",
    "aws:ec2/instance:Instance",
    group="public access",
    severity=Severity.HIGH,
    remedy='metadata_options=LaunchTemplateMetadataOptionsArgs(http_tokens="required", http_put_response_hop_limit=1)',
    source="https://docs.aws.amazon.com/AWSEC2/latest/UserGuide/configuring-instance-metadata-service.html",
    config=Hops,
    fix=_guard,
)
def instances_guard_metadata(given: Resource, config: Hops) -> Iterator[Violation]:
    """An instance's metadata, and with it the role, asks for a token and is out of its containers' reach."""
    if given.get("metadataOptions.httpEndpoint") == "disabled":
        return
    yield from given.expect("metadataOptions.httpTokens", "required")
    # Where nothing is said, the image says it, and the newer ones say two.
    hops = given.get("metadataOptions.httpPutResponseHopLimit")
    if not _is_number(hops) or not hops <= config.most_hops:
        yield given.violation("metadataOptions.httpPutResponseHopLimit", f"{config.most_hops} at most", hops)
