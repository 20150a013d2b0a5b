"""container/protocol.py: a probe is answered while others loiter. Over real sockets."""

import contextlib
import http.client
import socket
import ssl
import threading
import time
from collections.abc import Iterator

import pytest
import uvicorn

from container import protocol, web
from container.protocol import PromptProtocol
from pgunison.contract.waiting import wait_until

# on a machine that does much else; a loiterer has 10 s
PROMPT_S = 3.0


@contextlib.contextmanager
def agent(**options) -> Iterator[tuple[str, int]]:
    """Serve the agent's application as the agent does; gives the address."""
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        application = web.application("the-token", lambda: {"problem": None}, lambda _: {"ready": True, "reason": None}, lambda settings: None)
        server = uvicorn.Server(uvicorn.Config(application, http=PromptProtocol, log_config=None, lifespan="off", timeout_graceful_shutdown=1, **options))
        thread = threading.Thread(target=server.run, kwargs={"sockets": [listener]})
        thread.start()
        try:
            wait_until(lambda: None if server.started else "not yet", "the server listens", 20)
            yield listener.getsockname()
        finally:
            server.should_exit = True
            thread.join()


@contextlib.contextmanager
def loiterers(address: tuple[str, int], number: int, says: bytes) -> Iterator[list[socket.socket]]:
    """Open so many connections that say this much, and no more."""
    with contextlib.ExitStack() as opened:
        made = []
        for _ in range(number):
            made.append(opened.enter_context(socket.create_connection(address, timeout=5)))
            with contextlib.suppress(OSError):
                made[-1].sendall(says)
        yield made


def probe(address: tuple[str, int], path: str = "/health") -> tuple[int, float]:
    """Ask as a load balancer does; gives status and seconds."""
    began = time.monotonic()
    with contextlib.closing(http.client.HTTPConnection(*address, timeout=5)) as connection:
        connection.request("GET", path)
        return connection.getresponse().status, time.monotonic() - began


@pytest.mark.parametrize("number", [80, 400])
@pytest.mark.parametrize("says", [
    b"", b"GET /health HTTP/1.1\r\nHost: a\r\n",
    b"POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 100000\r\n\r\nx", b"GET /health HTTP/1.1\r\nHost: a\r\nContent-Length: 100000\r\n\r\nx"])
def test_a_probe_is_answered_while_others_loiter(number, says):
    with agent() as address, loiterers(address, number, says):
        for path in ("/health", "/ready"):
            status, took_s = probe(address, path)
            assert status == 200
            assert took_s < PROMPT_S


def test_whoever_loiters_longest_is_closed_first(monkeypatch):
    monkeypatch.setattr(protocol, "WAITING_LIMIT", 3)
    with agent() as address, loiterers(address, 5, b"GET /hea") as made:
        assert probe(address)[0] == 200
        for connection in made[:2]:
            with contextlib.suppress(ConnectionResetError):
                assert connection.recv(1) == b""
        made[4].sendall(b"lth HTTP/1.1\r\nHost: a\r\n\r\n")
        assert made[4].recv(12) == b"HTTP/1.1 200"


def test_a_body_without_credentials_is_refused_before_it_is_there():
    with agent() as address, socket.create_connection(address, timeout=5) as connection:
        connection.sendall(b"POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 100000\r\n\r\n")
        assert connection.recv(12) == b"HTTP/1.1 401"
        rest, deadline = b"", time.monotonic() + 4
        # dripping on does not keep the connection
        with contextlib.suppress(ConnectionError):
            while time.monotonic() < deadline:
                connection.sendall(b"x")
                connection.settimeout(0.1)
                with contextlib.suppress(TimeoutError):
                    if not (rest := connection.recv(4096)):
                        break
        assert time.monotonic() < deadline, rest


def test_a_client_that_asks_again_on_its_connection():
    with agent() as address, contextlib.closing(http.client.HTTPConnection(*address, timeout=5)) as connection:
        for _ in range(3):
            connection.request("GET", "/health")
            answer = connection.getresponse()
            assert (answer.status, answer.read()) == (200, b'{"problem":null}')


def test_handshakes_that_never_end(tmp_path, make_certificate):
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(make_certificate(tmp_path))
    with agent(ssl_context_factory=lambda *_: context) as address, loiterers(address, 200, b"\x16\x03\x01"):
        began = time.monotonic()
        unverified = ssl.create_default_context()
        unverified.check_hostname, unverified.verify_mode = False, ssl.CERT_NONE
        with contextlib.closing(http.client.HTTPSConnection(*address, timeout=5, context=unverified)) as connection:
            connection.request("GET", "/health")
            assert connection.getresponse().status == 200
        assert time.monotonic() - began < PROMPT_S


@pytest.fixture
def make_certificate():
    """Make a key and a certificate in one file."""
    import datetime

    from cryptography import x509
    from cryptography.hazmat.primitives import hashes, serialization
    from cryptography.hazmat.primitives.asymmetric import ec

    def make(folder):
        key, name = ec.generate_private_key(ec.SECP256R1()), x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, "agent")])
        now = datetime.datetime.now(datetime.UTC)
        certificate = x509.CertificateBuilder().subject_name(name).issuer_name(name).public_key(key.public_key()).serial_number(1).not_valid_before(
            now).not_valid_after(now + datetime.timedelta(days=1)).sign(key, hashes.SHA256())
        path = folder / "agent.pem"
        path.write_bytes(key.private_bytes(serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption())
                         + certificate.public_bytes(serialization.Encoding.PEM))
        return path

    return make
