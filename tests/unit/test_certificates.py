"""pgunison/certificates.py and what a server and a client of them make of each other; container/certificates.py takes new ones while it runs."""

import contextlib
import socket
import ssl
import threading
from collections.abc import Iterator
from dataclasses import replace
from datetime import UTC, datetime, timedelta

import pytest
from cryptography import x509

from container.certificates import Certificates as NodeCertificates
from pgunison import certificates as module
from pgunison.certificates import AUTHORITY, Certificates, shown
from pgunison.configuration.sysconfig import NodeSpec

NODE = NodeSpec("node1", 1, "127.0.0.1", "127.0.0.1")


@pytest.fixture
def certificates(tmp_path) -> Certificates:
    made = Certificates("lb-test", tmp_path / "tls")
    made.ensure()
    return made


@contextlib.contextmanager
def server(context: ssl.SSLContext) -> Iterator[int]:
    """Serve TLS to one client after another; gives the port."""
    with socket.create_server(("127.0.0.1", 0)) as listener:
        def serve() -> None:
            with contextlib.suppress(OSError):
                while True:
                    plain, _ = listener.accept()
                    with contextlib.suppress(OSError), plain, context.wrap_socket(plain, server_side=True) as secured:
                        secured.recv(1)

        thread = threading.Thread(target=serve, daemon=True)
        thread.start()
        yield listener.getsockname()[1]
        listener.shutdown(socket.SHUT_RDWR)
        thread.join(10)


def given(certificates: Certificates, directory) -> NodeCertificates:
    """Put the node's files where its agent looks."""
    directory.mkdir(exist_ok=True)
    (directory / "node.pem").write_bytes(certificates.node(NODE).read_bytes())
    (directory / "ca.pem").write_bytes(certificates.authorities.read_bytes())
    return NodeCertificates(directory)


def test_only_the_owner_can_read_them(certificates):
    certificates.node(NODE)
    assert certificates.directory.stat().st_mode & 0o777 == 0o700
    assert {path.stat().st_mode & 0o777 for path in certificates.directory.iterdir()} == {0o600}


def test_they_are_made_once(certificates):
    before = {path: path.read_bytes() for path in certificates.directory.iterdir()} | {certificates.node(NODE): certificates.node(NODE).read_bytes()}
    certificates.ensure()
    certificates.node(NODE)
    assert {path: path.read_bytes() for path in certificates.directory.iterdir()} == before


def test_a_node_with_another_address_gets_another_one(certificates):
    before = certificates.node(NODE).read_bytes()
    assert certificates.node(replace(NODE, address="127.0.0.2")).read_bytes() != before


def test_a_server_shows_the_nodes_certificate(certificates, tmp_path):
    node = given(certificates, tmp_path / "node")
    assert node.load()
    with server(node.context) as port:
        found = shown(certificates.trust(), "127.0.0.1", port)
    assert found.serial == certificates.serial(NODE)
    assert timedelta(days=360) < found.ends - datetime.now(UTC) < timedelta(days=370)


def test_a_certificate_is_for_its_address_only(certificates, tmp_path):
    node = given(certificates, tmp_path / "node")
    node.load()
    with server(node.context) as port, pytest.raises(ssl.SSLCertVerificationError, match="[Hh]ostname mismatch"):
        shown(certificates.trust(), "localhost", port)


def test_a_stranger_is_not_trusted(certificates, tmp_path):
    stranger = Certificates("lb-test", tmp_path / "other")
    stranger.ensure()
    node = given(stranger, tmp_path / "node")
    node.load()
    with server(node.context) as port, pytest.raises(ssl.SSLCertVerificationError):
        shown(certificates.trust(), "127.0.0.1", port)


def test_a_server_takes_new_certificates_while_it_runs(certificates, tmp_path):
    node = given(certificates, tmp_path / "node")
    assert node.load() and not node.load()
    with server(node.context) as port:
        before = shown(certificates.trust(), "127.0.0.1", port).serial
        certificates.renew_authority()
        certificates.renew_node(NODE)
        given(certificates, tmp_path / "node")
        assert node.load()
        after = shown(certificates.trust(), "127.0.0.1", port).serial
    assert before != after == certificates.serial(NODE)


def test_half_a_file_changes_nothing(certificates, tmp_path):
    node = given(certificates, tmp_path / "node")
    node.load()
    whole = node.node.read_bytes()
    # the key is there, the certificate not yet
    node.node.write_bytes(whole[:300])
    with pytest.raises(ssl.SSLError):
        node.load()
    with server(node.context) as port:
        assert shown(certificates.trust(), "127.0.0.1", port).serial == certificates.serial(NODE)
    node.node.write_bytes(whole)
    # it is what it had
    assert not node.load()


def test_a_new_authority_stands_beside_the_old_one(certificates):
    certificates.node(NODE)
    before = x509.load_pem_x509_certificates(certificates.authorities.read_bytes())
    certificates.renew_authority()
    after = x509.load_pem_x509_certificates(certificates.authorities.read_bytes())
    assert len(after) == 2 and after[1:] == before
    assert after[0].subject != after[1].subject


def test_a_new_authority_that_nobody_was_told_of_is_told(certificates):
    """As if the orchestrator was killed between the two files."""
    bundle = certificates.authorities.read_bytes()
    certificates.renew_authority()
    certificates.authorities.write_bytes(bundle)
    certificates.ensure()
    assert len(x509.load_pem_x509_certificates(certificates.authorities.read_bytes())) == 2


def test_an_authority_that_has_ended_is_forgotten(tmp_path, monkeypatch):
    certificates = Certificates("lb-test", tmp_path)
    monkeypatch.setattr(module, "AUTHORITY_LIFE", timedelta(minutes=-1))
    certificates.ensure()
    monkeypatch.setattr(module, "AUTHORITY_LIFE", timedelta(days=1))
    certificates.renew_authority()
    assert len(x509.load_pem_x509_certificates(certificates.authorities.read_bytes())) == 1
    assert certificates.ending()[AUTHORITY] > datetime.now(UTC)
