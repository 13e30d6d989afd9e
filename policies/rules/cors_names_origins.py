"""``cors-names-origins``."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping

from policies.node import Node
from policies.reading.buckets import BUCKETS
from policies.rule import Resource, Severity, Violation, rule

ORIGINS: Mapping[str, str] = {
    "aws:apigatewayv2/api:Api": "corsConfiguration.allowOrigins",
    "aws:lambda/functionUrl:FunctionUrl": "cors.allowOrigins",
    "azure-native:app:ContainerApp": "configuration.ingress.corsPolicy.allowedOrigins",
}
"""Type → its list of them."""

OF_BUCKETS = (
    "aws:s3/bucketCorsConfiguration:BucketCorsConfiguration",
    "aws:s3/bucketCorsConfigurationV2:BucketCorsConfigurationV2",
    *BUCKETS,
)
"""With a list of rules, each with its origins."""


@rule(
    "cors-names-origins",
    *ORIGINS,
    *OF_BUCKETS,
    group="public access",
    severity=Severity.MEDIUM,
    remedy="allow_origins=['https://console.example.com'], or no CORS at all",
    source="https://docs.aws.amazon.com/apigateway/latest/developerguide/http-api-cors.html",
)
def cors_names_origins(resource: Resource) -> Iterable[Violation]:
    """No page of any origin may call with its visitor's rights: where CORS is open, its origins are named."""
    if resource.type in ORIGINS:
        yield from _of(resource, ORIGINS[resource.type])
    else:
        for each in resource.each("corsRules"):
            yield from _of(each, "allowedOrigins")


def _of(node: Node, path: str) -> Iterator[Violation]:
    for origin in node.each(path):
        if str(origin.get()).rpartition("://")[2] == "*":
            yield origin.violation("", "an origin by name", origin.get())
