"""One request to Bedrock, over a bounded pool of kept connections.

boto3 would take a thread for each stream that runs. Here a stream that waits for its model costs a socket.
"""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator, Mapping
from typing import TYPE_CHECKING, Any
from urllib.parse import quote

from serve.gateway.errors import BackendError, Overloaded
from serve.llm.bedrock.errors import Again, Failure, NotReached, failure, refused
from serve.llm.bedrock.frames import Event, Frames
from serve.llm.bedrock.signing import Credentials, signed
from serve.llm.settings import Bedrock

if TYPE_CHECKING:
    import httpx

MOST_CONNECTIONS = 1000
KEPT_CONNECTIONS = 100
KEPT_SECONDS = 50
"""AWS's load balancers give up an idle connection after 60."""

WRITE_SECONDS = 30


class Connection:
    """Raises :class:`Failure` alone, and CredentialsRefused."""

    def __init__(self, settings: Bedrock, most: int = MOST_CONNECTIONS) -> None:
        import httpx

        self._settings = settings
        self._most = most
        self._credentials = Credentials()
        # Reading has no limit here: what a silence means depends on what was asked, and whoever asks waits for it.
        self._client = httpx.AsyncClient(
            timeout=httpx.Timeout(settings.connect_seconds, read=None, write=WRITE_SECONDS),
            limits=httpx.Limits(
                max_connections=most, max_keepalive_connections=KEPT_CONNECTIONS, keepalive_expiry=KEPT_SECONDS
            ),
        )

    async def authorized(self) -> None:
        """Raises: CredentialsRefused: there are none."""
        await self._credentials.frozen()

    async def close(self) -> None:
        await self._credentials.close()
        await self._client.aclose()

    async def whole(
        self, region: str, action: str, asked: Mapping[str, Any], seconds: float
    ) -> tuple[dict[str, Any], Mapping[str, str]]:
        """An answer and its headers."""
        try:
            async with asyncio.timeout(seconds):
                response = await self._sent(region, action, asked)
                try:
                    content = await _read(response, region)
                finally:
                    await response.aclose()
        except TimeoutError:
            raise late(region, f"no answer in {seconds:g} s") from None
        try:
            document = json.loads(content)
        except ValueError:
            document = None
        if not isinstance(document, dict):
            raise Failure(BackendError(502, "server_error", "Bedrock's answer can't be read"), Again.NOWHERE, read=True)
        return document, response.headers

    async def stream(self, region: str, action: str, asked: Mapping[str, Any]) -> Events:
        """An answer that has begun; whoever gets it closes it."""
        return Events(await self._sent(region, action, asked), region)

    async def _sent(self, region: str, action: str, asked: Mapping[str, Any]) -> httpx.Response:
        import httpx

        body = json.dumps(asked).encode()
        url = f"{self._address(region)}/model/{quote(self._settings.model, safe='-._~')}/{action}"
        headers = {"content-type": "application/json", "accept": "*/*", "accept-encoding": "identity"}
        frozen = await self._credentials.frozen()
        headers = signed("POST", url, body, headers, frozen, region)
        request = self._client.build_request("POST", url, content=body, headers=headers)
        try:
            response = await self._client.send(request, stream=True)
        except httpx.PoolTimeout:
            raise Failure(Overloaded(self._most, "requests to Bedrock"), Again.NOWHERE) from None
        except (httpx.ConnectError, httpx.ConnectTimeout) as error:
            raise Failure(NotReached(region, f"no connection: {type(error).__name__}"), Again.ELSEWHERE) from error
        except (httpx.WriteError, httpx.WriteTimeout) as error:
            raise _broken(region, error, read=False) from error
        except httpx.HTTPError as error:
            # As where a kept connection was closed at its other end just now.
            raise _broken(region, error, read=True) from error
        if response.status_code != 200:
            try:
                content = await _read(response, region)
            finally:
                await response.aclose()
            raise refused(region, response.status_code, response.headers, content)
        return response

    def _address(self, region: str) -> str:
        endpoint = self._settings.endpoint
        if endpoint is not None:
            return endpoint.replace("{region}", region).rstrip("/")
        return f"https://bedrock-runtime.{region}.amazonaws.com{'.cn' if region.startswith('cn-') else ''}"


class Events:
    """A stream's events. Closing it closes the connection, and Bedrock stops."""

    def __init__(self, response: httpx.Response, region: str) -> None:
        self._response = response
        self._region = region
        self._frames = Frames()
        self._parts = response.aiter_raw()

    async def more(self) -> list[Event] | None:
        """The next ones; ``None`` after the last. Raises: Failure, BackendError."""
        import httpx

        try:
            part = await anext(self._parts)
        except StopAsyncIteration:
            return None
        except httpx.HTTPError as error:
            broken = BackendError(502, "server_error", "Bedrock's stream broke off")
            raise Failure(broken, Again.HERE, read=True) from error
        events: list[Event] = []
        for event in self._frames.events(part):
            if event.failed:
                # What came before it in the same piece is an answer's too.
                if events:
                    self._parts = _failing(failure(self._region, event.name, str(event.document.get("message", ""))))
                    return events
                raise failure(self._region, event.name, str(event.document.get("message", "")))
            events.append(event)
        return events

    async def aclose(self) -> None:
        await self._response.aclose()


async def _failing(error: Failure) -> AsyncIterator[bytes]:
    raise error
    yield b""


def late(region: str, what: str) -> Failure:
    """Nothing came in time."""
    return Failure(NotReached(region, what), Again.ELSEWHERE, read=True)


def _broken(region: str, error: Exception, *, read: bool) -> Failure:
    return Failure(NotReached(region, f"the connection broke: {type(error).__name__}"), Again.HERE, read=read)


async def _read(response: httpx.Response, region: str) -> bytes:
    import httpx

    try:
        return await response.aread()
    except httpx.HTTPError as error:
        raise _broken(region, error, read=response.status_code == 200) from error
