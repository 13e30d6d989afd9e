"""The protocols of the ingress: one a file. A new one is a file and a line here."""

from __future__ import annotations

from serve.gateway import invocations, open_inference
from serve.gateway.asgi import Transport

TRANSPORTS: dict[str, Transport] = {
    "open_inference": open_inference.TRANSPORT,
    "invocations": invocations.TRANSPORT,
}
"""The first one shapes the errors at paths that none of them owns."""
