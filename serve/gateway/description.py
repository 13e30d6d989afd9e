"""``/docs`` for people and ``/openapi.json`` for programs: what every protocol's endpoints take and give.

They name no model and need no key.
"""

from __future__ import annotations

import functools
from collections.abc import Mapping

from serve.dataplane import DataPlane
from serve.gateway import docs_page, open_inference
from serve.gateway.open_inference.endpoints import server_version
from serve.gateway.transport import Answer, Call, Endpoint, Transport, encode_json

HTML = "text/html; charset=utf-8"


class _Description:
    """Made when it is first asked for."""

    def __init__(self, described: Mapping[str, Transport]) -> None:
        self._described = described

    @functools.cached_property
    def document(self) -> dict[str, object]:
        from serve.gateway.openapi import description

        return description(self._described, None, server_version())

    @functools.cached_property
    def page(self) -> bytes:
        return docs_page.page(self.document)

    async def openapi(self, _plane: DataPlane, _call: Call) -> Answer:
        return Answer(encode_json(self.document))

    async def docs(self, _plane: DataPlane, _call: Call) -> Answer:
        policy = docs_page.CONTENT_SECURITY_POLICY.encode("ascii")
        headers = ((b"content-security-policy", policy), (b"x-frame-options", b"DENY"))
        return Answer(self.page, media_type=HTML, headers=headers)


def transport(described: Mapping[str, Transport]) -> Transport:
    """The description of these protocols."""
    of = _Description(described)
    return Transport(
        prefixes=("/docs", "/openapi.json"),
        endpoints=(
            Endpoint("GET", "/docs", of.docs, open=True),
            Endpoint("GET", "/openapi.json", of.openapi, open=True),
        ),
        error_body=open_inference.TRANSPORT.error_body,
    )
