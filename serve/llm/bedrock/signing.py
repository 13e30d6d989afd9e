"""AWS's credentials, found as botocore finds them, and its signature.

Both are botocore's own. Only what may wait for another machine, such as a role's new credentials, goes to a thread: one
at a time, and while the present ones are good nobody waits for it.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import time
from collections.abc import Mapping
from typing import Any

from serve.llm.bedrock.errors import CredentialsRefused

logger = logging.getLogger("ray.serve")

SERVICE = "bedrock"
GOOD_SECONDS = 120
"""Credentials that are to end sooner are not signed with while new ones can be had."""

PAUSE_SECONDS = 10
"""Between tries at new credentials while the present ones are good."""


class Credentials:
    def __init__(self) -> None:
        self._found: Any = None
        self._frozen: Any = None
        self._looking: asyncio.Task[None] | None = None
        self._looked_at = -float(PAUSE_SECONDS)

    async def frozen(self) -> Any:
        """Those to sign with now, as botocore's ``ReadOnlyCredentials``.

        Raises:
            CredentialsRefused: there are none. The log says why.
        """
        if self._frozen is None or self._ends_within(None):
            pressing = self._frozen is None or self._ends_within(GOOD_SECONDS)
            if self._looking is None or (self._looking.done() and (pressing or self._rested())):
                self._looked_at = time.monotonic()
                self._looking = asyncio.create_task(self._look())
            if pressing:
                # Others wait for it too: this one's going is not its end.
                await asyncio.shield(self._looking)
        if self._frozen is None:
            raise CredentialsRefused
        return self._frozen

    async def close(self) -> None:
        if self._looking is not None:
            self._looking.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await self._looking

    def _rested(self) -> bool:
        return time.monotonic() - self._looked_at >= PAUSE_SECONDS

    def _ends_within(self, seconds: int | None) -> bool:
        needed = getattr(self._found, "refresh_needed", None)
        return bool(needed(seconds)) if needed is not None else False

    async def _look(self) -> None:
        try:
            self._frozen = await asyncio.to_thread(self._found_or_renewed)
        except Exception:
            # Whatever a provider raises: a file that is not there, a role that may not be taken, no network.
            logger.warning("bedrock: no credentials of AWS can be had", exc_info=True)
            if self._frozen is not None and self._ends_within(0):
                self._frozen = None

    def _found_or_renewed(self) -> Any:
        if self._found is None:
            import botocore.session  # type: ignore[import-untyped]

            self._found = botocore.session.Session().get_credentials()
        if self._found is None:
            logger.warning("bedrock: the environment has no credentials of AWS")
            return None
        return self._found.get_frozen_credentials()


def signed(method: str, url: str, body: bytes, headers: Mapping[str, str], frozen: Any, region: str) -> dict[str, str]:
    """The headers with Signature Version 4's."""
    from botocore.auth import SigV4Auth  # type: ignore[import-untyped]
    from botocore.awsrequest import AWSRequest  # type: ignore[import-untyped]

    request = AWSRequest(method=method, url=url, data=body, headers=dict(headers))
    SigV4Auth(frozen, SERVICE, region).add_auth(request)
    return dict(request.headers.items())
