"""``http.tls``: the ingress over TLS, HTTP and gRPC, and nothing without it."""

from __future__ import annotations

import contextlib
import socket
import ssl
import time
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from ipaddress import ip_address
from pathlib import Path

import httpx
import numpy as np
import pytest
import tritonclient.grpc as triton
import yaml
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID

from benchmarks.ports import free_port
from tests.integration.serve import processes
from tests.integration.serve.conftest import (
    RAY_COMMAND,
    Served,
    Start,
    Store,
    bearer,
    keys,
    write_settings,
)
from tests.unit.serve import tiny

pytestmark = pytest.mark.integration

INFER = f"/v2/models/{tiny.NAME}/infer"
FILLED = [row for row in tiny.ROWS if row["depot"] is not None]
GROUP_AND_OTHERS = 0o077
LARGEST_LOOKED_AT = 10_000_000


@dataclass(frozen=True)
class Certificate:
    """PEM files: self-signed, for 127.0.0.1."""

    certificate: Path
    key: Path


def signed(folder: Path) -> Certificate:
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "127.0.0.1")])
    now = datetime.now(UTC)
    made = (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(name)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - timedelta(days=1))
        .not_valid_after(now + timedelta(days=1))
        .add_extension(x509.SubjectAlternativeName([x509.IPAddress(ip_address("127.0.0.1"))]), critical=False)
        .add_extension(x509.BasicConstraints(ca=True, path_length=0), critical=True)
        .sign(key, hashes.SHA256())
    )
    found = Certificate(folder / "tls.crt", folder / "tls.key")
    found.certificate.write_bytes(made.public_bytes(serialization.Encoding.PEM))
    found.key.touch(mode=0o600)
    found.key.write_bytes(
        key.private_bytes(serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption())
    )
    return found


@dataclass
class House:
    served: Served
    files: Certificate
    key: str

    @property
    def grpc_port(self) -> int:
        return int(yaml.safe_load(self.served.settings.read_text())["grpc"]["port"])

    def client(self) -> triton.InferenceServerClient:
        certificate = str(self.files.certificate)
        return triton.InferenceServerClient(f"127.0.0.1:{self.grpc_port}", ssl=True, root_certificates=certificate)

    def answers_grpc(self) -> bool:
        with self.client() as client, contextlib.suppress(triton.InferenceServerException):
            return bool(client.is_server_ready(client_timeout=5))
        return False


@pytest.fixture(scope="module")
def house(store: Store, start: Start, tmp_path_factory: pytest.TempPathFactory) -> House:
    folder = tmp_path_factory.mktemp("tls")
    files = signed(folder)
    settings = write_settings(
        folder,
        store.uri,
        access={"keys": f"sqlite:///{folder / 'keys.db'}"},
        http={"port": free_port(), "tls": {"certificate": str(files.certificate), "key": str(files.key)}},
        grpc={"port": free_port()},
    )
    key = keys(settings, "create", "clients")[-1]
    served = start(settings, RAY_COMMAND)
    served.wait_until_ready()
    made = House(served, files, key)
    # Calls come to the replica itself only when HAProxy has found it, some tenths of a second later than HTTP's.
    until = time.monotonic() + processes.PATIENCE_SECONDS
    while not made.answers_grpc():
        assert time.monotonic() < until, "gRPC is not answered"
        time.sleep(0.2)
    return made


def test_https_answers_whoever_trusts_the_certificate(house: House) -> None:
    served = house.served
    assert served.url.startswith("https://")
    assert isinstance(served.authority, ssl.SSLContext)
    secured = httpx.Client(base_url=served.url, verify=served.authority, headers=bearer(house.key), timeout=60)
    with secured as client:
        answer = client.post(INFER, json=tiny.infer_body())
        assert answer.status_code == 200, answer.text
        np.testing.assert_allclose(answer.json()["outputs"][0]["data"], tiny.expected(), rtol=1e-6)
        refused = client.post(INFER, json=tiny.infer_body(), headers={"authorization": "Bearer no"})
        assert refused.status_code == 401
        for response in (answer, refused, client.get("/v2/health/ready")):
            assert response.headers["strict-transport-security"] == "max-age=31536000"
            assert len(response.headers.get_list("x-request-id")) == 1
    with pytest.raises(httpx.ConnectError, match="CERTIFICATE_VERIFY_FAILED"):
        httpx.get(f"{served.url}/v2/health/ready")


def test_plain_http_is_not_answered_there(house: House) -> None:
    with pytest.raises(httpx.HTTPError):
        httpx.get(f"http://127.0.0.1:{house.served.port}/v2/health/ready")
    with socket.create_connection(("127.0.0.1", house.served.port), timeout=10) as plain:
        plain.sendall(b"GET /v2/health/ready HTTP/1.1\r\nhost: x\r\n\r\n")
        assert not plain.recv(1024).startswith(b"HTTP")


@pytest.mark.parametrize("version", [ssl.TLSVersion.TLSv1_1, ssl.TLSVersion.TLSv1_2, ssl.TLSVersion.TLSv1_3])
@pytest.mark.filterwarnings("ignore::DeprecationWarning")
def test_tls_before_1_2_is_refused(house: House, version: ssl.TLSVersion) -> None:
    for port in (house.served.port, house.grpc_port):
        context = ssl.create_default_context(cafile=str(house.files.certificate))
        # OpenSSL would not even offer TLS 1.1 otherwise, and the test would prove nothing of the server.
        context.set_ciphers("DEFAULT:@SECLEVEL=0")
        context.minimum_version = context.maximum_version = version
        with socket.create_connection(("127.0.0.1", port), timeout=10) as raw:
            if version >= ssl.TLSVersion.TLSv1_2:
                with context.wrap_socket(raw, server_hostname="127.0.0.1") as secured:
                    assert secured.version() == version.name.replace("_", ".")
            else:
                # An alert of the server's, and nothing that this side refused to send.
                with pytest.raises(ssl.SSLError, match="ALERT_PROTOCOL_VERSION"):
                    context.wrap_socket(raw, server_hostname="127.0.0.1")


def test_grpc_goes_over_tls_and_not_without_it(house: House) -> None:
    address = f"127.0.0.1:{house.grpc_port}"
    inputs = []
    for name, values in tiny.columns(FILLED).items():
        text = isinstance(values[0], str)
        tensor = triton.InferInput(name, [len(values)], "BYTES" if text else "FP32")
        inputs.append(tensor.set_data_from_numpy(np.array(values, dtype=object if text else np.float32)))
    with house.client() as client:
        result = client.infer(tiny.NAME, inputs, headers=bearer(house.key))
        np.testing.assert_allclose(result.as_numpy("probability"), tiny.expected(FILLED), rtol=1e-6)
        with pytest.raises(triton.InferenceServerException, match="UNAUTHENTICATED"):
            client.infer(tiny.NAME, inputs)
    with triton.InferenceServerClient(address) as plain, pytest.raises(triton.InferenceServerException):
        plain.is_server_live(client_timeout=5)


def holding(folder: Path, secret: bytes) -> list[Path]:
    """The files with a secret in them. Ray renames some meanwhile, and what is gone is skipped."""
    found = []
    for file in folder.rglob("*"):
        with contextlib.suppress(FileNotFoundError):
            if file.is_file() and file.stat().st_size < LARGEST_LOOKED_AT and secret in file.read_bytes():
                found.append(file)
    return found


def test_the_private_key_can_be_read_by_its_owner_alone_wherever_it_was_written(house: House) -> None:
    secret = house.files.key.read_bytes().splitlines()[1]
    (given,) = processes.in_haproxy_config(house.served.process.pid, r" ssl crt (\S+)")
    run_folder = Path(given).parent
    folders = (run_folder, house.served.session, house.served.settings.parent)
    copies = [file for folder in folders for file in holding(folder, secret)]
    assert {file.name for file in copies} == {"certificate.pem", "tls.key"}
    assert [file for file in copies if file.stat().st_mode & GROUP_AND_OTHERS] == []
    assert run_folder.stat().st_mode & GROUP_AND_OTHERS == 0
    assert secret not in house.served.log.read_bytes()


def test_nothing_listens_beyond_loopback_with_tls_and_grpc(house: House) -> None:
    addresses = [f"127.0.0.1:{port}" for port in (house.served.port, house.grpc_port)]
    found = processes.listening_also_on(house.served.process.pid, *addresses)
    loopback = ("127.0.0.1:", "[::1]:", "[::ffff:127.0.0.1]:")
    assert [address for address in found if not address.startswith(loopback)] == []
