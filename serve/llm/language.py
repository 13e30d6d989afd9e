"""The language models of the settings: their backends, what they cost, and their ledger, opened and closed together.

To add a kind of backend: its package, its section in ``serve.llm.settings``, a line in :data:`KINDS`, or in
``serve.llm.engines`` where it is an engine, and one in ``serve.llm.requirements``.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from serve.llm.engines import ENGINES
from serve.llm.ledger.cost import AcceleratorPricing, AcceleratorTime, TokenPricing
from serve.llm.ledger.ledger import NoLedger, UsageLedger, open_ledger
from serve.llm.prompts.lookup import Prompts
from serve.llm.router import Priced, Router
from serve.llm.settings import Bedrock, Deployed, Onnx
from serve.settings import Settings

LONGEST_CONTEXT = 200_000
"""Tokens of a bought model's, for what a request may come to at most: those of the largest that are common."""


def _deployed(name: str, backend: Deployed, settings: Settings) -> Priced:
    from serve.llm.deployed.backend import DeployedBackend
    from serve.llm.deployed.deployment import deployment_name

    working = AcceleratorTime(backend.replicas, settings.ingress.most_replicas)
    most_seconds = settings.http.request_timeout_seconds
    deployment = deployment_name(backend.kind, name)
    deployed = DeployedBackend(name, deployment, followed=backend.followed, replicas=backend.replicas)
    return Priced(deployed, AcceleratorPricing(backend.dollars_per_hour, working, most_seconds), working)


def _onnx(name: str, backend: Onnx, settings: Settings) -> Priced:
    from serve.llm.encoders.backend import EncoderBackend

    # Each ingress replica has its own.
    pricing = AcceleratorPricing(backend.dollars_per_hour, AcceleratorTime(), settings.http.request_timeout_seconds)
    return Priced(EncoderBackend(name), pricing)


def _bedrock(name: str, backend: Bedrock, settings: Settings) -> Priced:  # noqa: ARG001
    from serve.llm.bedrock.backend import BedrockBackend
    from serve.llm.bedrock.prices import price

    return Priced(BedrockBackend(name, backend), TokenPricing(backend.prices or price(backend.model), LONGEST_CONTEXT))


KINDS: Mapping[type, Callable[[str, Any, Settings], Priced]] = {
    **dict.fromkeys(ENGINES, _deployed),
    Onnx: _onnx,
    Bedrock: _bedrock,
}


class Language:
    """``router``: the plane that the transports call."""

    def __init__(self, router: Router, ledger: UsageLedger | NoLedger, backends: Mapping[str, Priced]) -> None:
        self.router = router
        self.backends = backends
        self._ledger = ledger

    @classmethod
    def of(cls, settings: Settings, registry: str | None = None) -> Language:
        """``registry``: the address that prompts are read from; ``None``: the settings'.

        Raises:
            LedgerError: the ledger's URL is not one.
        """
        ledger = open_ledger(settings.usage)
        backends = {name: KINDS[type(backend)](name, backend, settings) for name, backend in settings.backends.items()}
        prompts = Prompts.of(registry or settings.registry.uri, settings.prompts)
        return cls(Router(settings.language_models, backends, ledger, prompts), ledger, backends)

    async def start(self) -> None:
        """Raises: LedgerError: the ledger can't be kept."""
        await self._ledger.start()

    def shared_by(self, gateways: int) -> None:
        """So many ingress replicas are there."""
        self._ledger.shared_by(gateways)
        for priced in self.backends.values():
            if priced.shared is not None:
                priced.shared.shared_by(gateways)

    async def close(self) -> None:
        await self.router.close()
        await self._ledger.close()
