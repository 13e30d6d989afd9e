"""An event stream's bytes → its events. https://smithy.io/2.0/aws/amazon-eventstream.html"""

from __future__ import annotations

import json
import struct
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from serve.gateway.errors import BackendError


@dataclass(frozen=True, slots=True)
class Event:
    """``failed``: an exception, which ends the stream, and not an event."""

    name: str
    document: dict[str, Any]
    failed: bool = False


class Frames:
    """Takes bytes as they come, cut anywhere, and gives whole events."""

    def __init__(self) -> None:
        from botocore.eventstream import EventStreamBuffer  # type: ignore[import-untyped]

        self._buffer = EventStreamBuffer()

    def events(self, data: bytes) -> Iterator[Event]:
        """Those that are whole with ``data``.

        Raises:
            BackendError: these are not an event stream's bytes.
        """
        from botocore.eventstream import ParserError

        self._buffer.add_data(data)
        try:
            for message in self._buffer:
                yield _event(message.headers, message.payload)
        except (ParserError, ValueError, KeyError, struct.error) as error:
            raise BackendError(502, "server_error", "Bedrock's stream can't be read") from error


def _event(headers: dict[str, Any], payload: bytes) -> Event:
    kind = headers.get(":message-type", "event")
    if kind == "error":
        return Event(str(headers[":error-code"]), {"message": str(headers.get(":error-message", ""))}, failed=True)
    name = headers[":exception-type"] if kind == "exception" else headers[":event-type"]
    document = json.loads(payload) if payload else {}
    if not isinstance(document, dict):
        raise ValueError(document)
    return Event(str(name), document, failed=kind == "exception")
