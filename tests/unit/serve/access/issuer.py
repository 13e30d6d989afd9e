"""An OpenID Connect issuer as far as access needs one: keys, tokens, and an HTTP server with the public keys."""

from __future__ import annotations

import json
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

import jwt
from cryptography.hazmat.primitives.asymmetric import ec, rsa
from jwt.algorithms import ECAlgorithm, RSAAlgorithm

from serve.access.settings import JwtSettings

NAME = "https://issuer.example"
AUDIENCE = "serve"
RSA = rsa.generate_private_key(65537, 2048)
EC = ec.generate_private_key(ec.SECP256R1())


class Issuer:
    """Publishes the key ``one`` (RSA) at first. ``fetches`` counts how often somebody has asked for the keys.

    Who asks waits for ``answers``, which is set at first.
    """

    def __init__(self, url: str) -> None:
        self.url = url
        self.keys: dict[str, rsa.RSAPrivateKey | ec.EllipticCurvePrivateKey] = {"one": RSA}
        self.fetches = 0
        self.status = 200
        self.answers = threading.Event()
        self.answers.set()
        self.body: bytes | None = None

    def settings(self, **others: Any) -> JwtSettings:
        return JwtSettings(jwks_url=self.url, issuer=NAME, audience=AUDIENCE, **others)

    def token(self, kid: str | None = "one", **claims: Any) -> bytes:
        """A token signed with the RSA key; a claim that is ``None`` is left out."""
        return self.signed(RSA, "RS256", {} if kid is None else {"kid": kid}, **claims)

    def signed(self, key: Any, algorithm: str, headers: dict[str, Any], **claims: Any) -> bytes:
        now = time.time()
        every = {"iss": NAME, "aud": AUDIENCE, "sub": "batch-job", "exp": now + 600, "nbf": now - 1, **claims}
        kept = {name: value for name, value in every.items() if value is not None}
        return jwt.encode(kept, key, algorithm, headers=headers).encode("ascii")

    def document(self) -> bytes:
        if self.body is not None:
            return self.body
        published = []
        for kid, key in self.keys.items():
            if isinstance(key, rsa.RSAPrivateKey):
                text = RSAAlgorithm.to_jwk(key.public_key())
            else:
                text = ECAlgorithm.to_jwk(key.public_key())
            published.append({**json.loads(text), "kid": kid, "use": "sig"})
        return json.dumps({"keys": published}).encode()


@contextmanager
def running() -> Iterator[Issuer]:
    """An issuer that listens on a free port of loopback."""

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            issuer.fetches += 1
            issuer.answers.wait(60)
            self.send_response(issuer.status)
            self.end_headers()
            self.wfile.write(issuer.document())

        def log_message(self, *args: object) -> None:
            pass

    class Server(ThreadingHTTPServer):
        def handle_error(self, request: object, client_address: object) -> None:
            """A client that waits no longer is a case here, and no news for another test's output."""

    server = Server(("127.0.0.1", 0), Handler)
    server.daemon_threads = True
    issuer = Issuer(f"http://127.0.0.1:{server.server_address[1]}/jwks.json")
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
    thread.start()
    try:
        yield issuer
    finally:
        issuer.answers.set()
        server.shutdown()
        server.server_close()
        thread.join()
