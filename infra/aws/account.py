"""What a component needs to know of where it is built."""

from __future__ import annotations

from dataclasses import dataclass

import pulumi_aws as aws

from infra.naming import Naming


@dataclass(frozen=True)
class Account:
    """The account and region of a stack; ``protect``: what holds data survives a `pulumi destroy`."""

    id: str
    region: str
    zones: tuple[str, ...]
    naming: Naming
    log_days: int
    protect: bool

    @classmethod
    def current(cls, naming: Naming, region: str, zones: int, log_days: int, protect: bool) -> Account:
        names = tuple(aws.get_availability_zones(state="available").names[:zones])
        return cls(aws.get_caller_identity().account_id, region, names, naming, log_days, protect)

    def arn(self, service: str, resource: str, *, region: str | None = None) -> str:
        """An ARN in this account. ``region``: "" for a global service."""
        return f"arn:aws:{service}:{self.region if region is None else region}:{self.id}:{resource}"
