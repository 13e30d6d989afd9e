"""``bedrock-models-listed``."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator

from policies.node import Node
from policies.reading.iam import documents, listed
from policies.reading.statement import covers, matches
from policies.rule import Resource, RuleConfig, Severity, Violation, rule

INVOKE = (
    "bedrock:InvokeModel",
    "bedrock:InvokeModelWithResponseStream",
    "bedrock:InvokeModelWithBidirectionalStream",
)
MODEL = re.compile(
    r"arn:aws[a-z-]*:bedrock:[a-z0-9-]+:\d*:"
    r"(?:foundation-model|(?:application-)?inference-profile|provisioned-model|custom-model(?:-deployment)?|"
    r"imported-model|(?:default-)?prompt-router)/([^*?]+)"
)
"""https://docs.aws.amazon.com/service-authorization/latest/reference/list_amazonbedrock.html"""


class ModelsConfig(RuleConfig):
    """``models``: patterns of ids that may be invoked, such as ``*anthropic.claude-*``; none: any that is named."""

    models: tuple[str, ...] | None = None


@rule(
    "bedrock-models-listed",
    "aws:iam/*",
    group="identity",
    severity=Severity.HIGH,
    remedy="name them in Pulumi.<stack>.yaml: bedrock: {models: [...], profiles: [...]}",
    source="https://docs.aws.amazon.com/bedrock/latest/userguide/security_iam_id-based-policy-examples.html",
    config=ModelsConfig,
)
def bedrock_models_listed(resource: Resource, config: ModelsConfig) -> Iterable[Violation]:
    """Language models are invoked by their ARNs, each a model or an inference profile, and none by a wildcard."""
    for document in documents(resource):
        if document.names_no_resource:
            continue
        for statement in document.allowed():
            if any(covers(statement, action) for action in INVOKE):
                yield from _of(statement, config)


def _of(statement: Node, config: ModelsConfig) -> Iterator[Violation]:
    for arn in listed(statement.get("Resource")):
        found = MODEL.fullmatch(arn) if isinstance(arn, str) else None
        if found is None:
            yield statement.violation("Resource", "ARNs of models and inference profiles without a wildcard", arn)
        elif config.models is not None and not any(matches(each, found[1]) for each in config.models):
            yield statement.violation("Resource", f"a model of {', '.join(config.models) or 'none'}", arn)
