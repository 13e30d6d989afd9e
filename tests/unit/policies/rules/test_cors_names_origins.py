"""``cors-names-origins``."""

from __future__ import annotations

import pytest

from policies.node import Resource
from policies.rules.cors_names_origins import OF_BUCKETS, cors_names_origins
from policies.testing import Case, Cases, put, resource

ORIGINS = ["https://console.example.com"]


def api(*origins: str) -> Resource:
    return resource("aws:apigatewayv2/api:Api", {"corsConfiguration": {"allowOrigins": list(origins)}})


def app(*origins: str) -> Resource:
    ingress = {"corsPolicy": {"allowedOrigins": list(origins)}}
    return resource("azure-native:app:ContainerApp", {"configuration": {"ingress": ingress}})


CASES = Cases(
    cors_names_origins,
    passing=[
        api(*ORIGINS),
        resource("aws:apigatewayv2/api:Api", {"protocolType": "HTTP"}),
        app(*ORIGINS),
        resource("aws:s3/bucket:Bucket", {"corsRules": [{"allowedOrigins": ORIGINS}]}),
        resource("aws:lambda/functionUrl:FunctionUrl", {"cors": {"allowOrigins": ORIGINS}}),
    ],
    failing=[
        api("*"),
        api(*ORIGINS, "https://*"),
        app("*"),
        put("corsConfiguration.allowOrigins", "*"),
        *(resource(type_, {"corsRules": [{"allowedOrigins": ["*"]}]}) for type_ in OF_BUCKETS),
        resource("aws:lambda/functionUrl:FunctionUrl", {"cors": {"allowOrigins": ["*"]}}),
    ],
    unknown=["corsConfiguration.allowOrigins", "corsConfiguration", "corsConfiguration.allowOrigins[0]"],
)


@pytest.mark.parametrize("case", CASES.all(), ids=str)
def test_cors_names_origins(case: Case) -> None:
    case.check()
