"""``azure-ingress-refuses-plain-http``."""

from __future__ import annotations

from collections.abc import Iterator, MutableMapping
from typing import Any

from policies.rule import Resource, Severity, Violation, rule

NOT_INSECURE = (False, None)
"""Nothing said is false: Azure then sends HTTP on to HTTPS."""

OF_HTTP = ("auto", "http", "http2", "Auto", "Http", "Http2", None)
"""Container Apps ends TLS for these: a port of TCP goes to the container as it comes."""


def _refuse(inputs: MutableMapping[str, Any]) -> None:
    configuration = inputs.get("configuration")
    ingress = configuration.get("ingress") if isinstance(configuration, MutableMapping) else None
    if isinstance(ingress, MutableMapping):
        if ingress.get("allowInsecure") not in NOT_INSECURE:
            ingress["allowInsecure"] = False
        if ingress.get("transport") not in OF_HTTP:
            ingress["transport"] = "auto"
        mappings = ingress.get("additionalPortMappings")
        for each in mappings if isinstance(mappings, list) else []:
            if isinstance(each, MutableMapping):
                each["external"] = False


@rule(
    "azure-ingress-refuses-plain-http",
    "azure-native:app:ContainerApp",
    group="encryption in transit",
    severity=Severity.HIGH,
    remedy='IngressArgs(allow_insecure=False, transport="auto")',
    source="https://learn.microsoft.com/azure/container-apps/ingress-overview",
    fix=_refuse,
)
def azure_ingress_refuses_plain_http(app: Resource) -> Iterator[Violation]:
    """A container app is reached by HTTPS alone."""
    ingress = app.at("configuration.ingress")
    yield from ingress.expect("allowInsecure", *NOT_INSECURE)
    yield from ingress.require("transport", "auto, http or http2", lambda value: value in OF_HTTP)
    for each in ingress.each("additionalPortMappings"):
        yield from each.expect("external", False)
