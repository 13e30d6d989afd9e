"""A way to an HTTP server that is now and then not open."""

from __future__ import annotations

import http.client
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from urllib.parse import urlsplit

HOP = {"connection", "transfer-encoding", "content-length", "date", "server"}
OPERATION = "X-Amz-Target"


class Flaky(ThreadingHTTPServer):
    """Passes on what it is asked, and answers 503 to the next few requests that :meth:`refuse` names."""

    daemon_threads = True

    def __init__(self, upstream: str) -> None:
        super().__init__(("127.0.0.1", 0), _Handler)
        self.upstream = urlsplit(upstream).netloc
        self.url = f"http://127.0.0.1:{self.server_port}"
        self.refused = 0
        self._turn = threading.Lock()
        self._left, self._what = 0, ""

    def refuse(self, times: int, what: str) -> None:
        """``what``: of the path, or of the operation that AWS's protocols name in a header."""
        with self._turn:
            self.refused, self._left, self._what = 0, times, what

    def refuses(self, asked: str) -> bool:
        with self._turn:
            found = self._left > 0 and self._what in asked
            self._left -= found
            self.refused += found
            return found


class _Handler(BaseHTTPRequestHandler):
    server: Flaky

    def pass_on(self) -> None:
        body = self.rfile.read(int(self.headers.get("Content-Length") or 0))
        if self.server.refuses(f"{self.path} {self.headers.get(OPERATION, '')}"):
            self._answer(503, [], b"{}")
            return
        upstream = http.client.HTTPConnection(self.server.upstream, timeout=60)
        upstream.request(self.command, self.path, body, dict(self.headers))
        answer = upstream.getresponse()
        self._answer(answer.status, answer.getheaders(), answer.read())
        upstream.close()

    do_GET = do_POST = do_PUT = do_DELETE = do_PATCH = pass_on  # noqa: N815  as the server looks for them

    def _answer(self, status: int, headers: list[tuple[str, str]], body: bytes) -> None:
        self.send_response_only(status)
        for name, value in headers:
            if name.lower() not in HOP:
                self.send_header(name, value)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *_: object) -> None:
        """Nothing."""


@contextmanager
def flaky(upstream: str) -> Iterator[Flaky]:
    with Flaky(upstream) as server:
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.05})
        thread.start()
        try:
            yield server
        finally:
            server.shutdown()
            thread.join()
