"""The protocols of the ingress: one a file. A new one is a file and a line here."""

from __future__ import annotations

from serve.gateway import description, invocations, open_inference, openai
from serve.gateway.transport import Transport

TRANSPORTS: dict[str, Transport] = {
    "open_inference": open_inference.TRANSPORT,
    "invocations": invocations.TRANSPORT,
}
"""The first one shapes the errors at paths that none of them owns."""

LANGUAGE: dict[str, Transport] = {"openai": openai.TRANSPORT}
"""Those of language models, where any are served."""


def transports(docs: bool, language: bool = False) -> dict[str, Transport]:
    """All that are served, with their description where it is asked for."""
    served = {**TRANSPORTS, **LANGUAGE} if language else TRANSPORTS
    return {**served, "description": description.transport(served)} if docs else served
