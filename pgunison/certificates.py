"""The cluster's certificate authority, the nodes' certificates and the orchestrator's own: made at the first ``up``, kept where only their owner can read."""

import ipaddress
import socket
import ssl
import struct
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

from pgunison.configuration.sysconfig import NodeSpec
from pgunison.credentials import write_private
from pgunison.errors import OrchestratorError

AUTHORITY_LIFE = timedelta(days=3650)
LIFE = timedelta(days=365)
# how long before its end a certificate is worth a warning
NOTICE = timedelta(days=30)
AUTHORITY = "the cluster's authority"
# clocks of machines differ
SKEW = timedelta(hours=1)
# how a PostgreSQL client asks for TLS: the length of the message, and a number that is no version of the protocol (PostgreSQL's documentation, SSLRequest)
SSL_REQUEST = struct.pack("!ii", 8, 80877103)


@dataclass(frozen=True)
class Shown:
    """A certificate as a server shows it."""

    serial: int
    ends: datetime


@dataclass(frozen=True)
class Certificates:
    """The files of one cluster in ``directory``.

    ``ca.pem`` holds every authority that is trusted, for whoever connects. Each other file holds a key and its certificate: ``authority.pem``, which signs,
    ``orchestrator.pem``, and one a node.
    """

    cluster_id: str
    directory: Path

    @property
    def authorities(self) -> Path:
        return self.directory / "ca.pem"

    @property
    def client(self) -> Path:
        return self.directory / "orchestrator.pem"

    def ensure(self) -> None:
        """Make the authority and the orchestrator's certificate where they are missing."""
        self.directory.mkdir(mode=0o700, parents=True, exist_ok=True)
        if not self._authority.exists():
            self.renew_authority()
        self._trust()
        if not self.client.exists():
            self.renew_client()

    def node(self, node: NodeSpec) -> Path:
        """Return the file of a node's key and certificate, which is made where it is missing or is for another address."""
        path = self._node(node)
        if not path.exists() or _address(_certificate(path)) != node.address:
            self.renew_node(node)
        return path

    def renew_authority(self) -> None:
        """Make another authority, which signs from now on; those before stay trusted until they end."""
        key = ec.generate_private_key(ec.SECP256R1())
        # of two authorities with one name a verifier may try the wrong key
        name = _name(f"pgunison {self.cluster_id} {x509.random_serial_number():x}"[:64])
        made = _builder(name, name, key, AUTHORITY_LIFE).add_extension(x509.BasicConstraints(ca=True, path_length=0), critical=True).add_extension(
            x509.KeyUsage(digital_signature=False, content_commitment=False, key_encipherment=False, data_encipherment=False, key_agreement=False,
                          key_cert_sign=True, crl_sign=True, encipher_only=False, decipher_only=False), critical=True).sign(key, hashes.SHA256())
        write_private(self._authority, _pem(key) + _pem(made))
        self._trust()

    def renew_client(self) -> None:
        """Make the orchestrator's certificate anew."""
        self._sign(self.client, "orchestrator", ExtendedKeyUsageOID.CLIENT_AUTH, [])

    def renew_node(self, node: NodeSpec) -> None:
        """Make a node's certificate anew."""
        self._sign(self._node(node), node.name, ExtendedKeyUsageOID.SERVER_AUTH,
                   [x509.IPAddress(ipaddress.ip_address(node.address)), x509.DNSName(node.name)])

    def serial(self, node: NodeSpec) -> int:
        """Return the serial number of a node's certificate."""
        return _certificate(self._node(node)).serial_number

    def trust(self) -> ssl.SSLContext:
        """Make what the orchestrator trusts, and what it shows, as TLS takes it."""
        context = ssl.create_default_context(cafile=self.authorities)
        context.load_cert_chain(self.client)
        return context

    def ending(self) -> dict[str, datetime]:
        """Tell when the authority that signs ends, and when the orchestrator's certificate does."""
        return {name: _certificate(path).not_valid_after_utc for name, path in (
            (AUTHORITY, self._authority), ("the orchestrator's certificate", self.client))}

    @property
    def _authority(self) -> Path:
        return self.directory / "authority.pem"

    def _trust(self) -> None:
        """Trust the authority that signs, beside those before it that have not ended."""
        newest, now = _certificate(self._authority), datetime.now(UTC)
        trusted = x509.load_pem_x509_certificates(self.authorities.read_bytes()) if self.authorities.exists() else []
        if newest not in trusted:
            write_private(self.authorities, "".join(_pem(one) for one in [newest, *(one for one in trusted if one.not_valid_after_utc > now)]))

    def _node(self, node: NodeSpec) -> Path:
        return self.directory / f"node-{node.name}.pem"

    def _sign(self, path: Path, name: str, usage: x509.ObjectIdentifier, names: list[x509.GeneralName]) -> None:
        authority = _certificate(self._authority)
        signing = serialization.load_pem_private_key(self._authority.read_bytes(), password=None)
        if not isinstance(signing, ec.EllipticCurvePrivateKey):
            raise OrchestratorError(f"{self._authority} cannot sign", "its key is none of the kind that pgunison makes",
                                    "python3 orchestrator.py renew --authority")
        key = ec.generate_private_key(ec.SECP256R1())
        builder = _builder(_name(name), authority.subject, key, LIFE).add_extension(x509.BasicConstraints(ca=False, path_length=None), critical=True)
        builder = builder.add_extension(x509.ExtendedKeyUsage([usage]), critical=False)
        builder = builder.add_extension(x509.AuthorityKeyIdentifier.from_issuer_public_key(signing.public_key()), critical=False)
        if names:
            builder = builder.add_extension(x509.SubjectAlternativeName(names), critical=False)
        write_private(path, _pem(key) + _pem(builder.sign(signing, hashes.SHA256())))


def shown(tls: ssl.SSLContext, address: str, port: int, *, postgresql: bool = False, timeout_s: float = 10.0) -> Shown:
    """Return the certificate that a server shows to a new connection. OSError when it does not answer, ssl.SSLError when it shows none that we trust."""
    with socket.create_connection((address, port), timeout_s) as plain:
        if postgresql:
            plain.sendall(SSL_REQUEST)
            if plain.recv(1) != b"S":
                raise OSError("the server speaks no TLS")
        with tls.wrap_socket(plain, server_hostname=address) as secured:
            found = secured.getpeercert(binary_form=True)
    if found is None:
        raise OSError("the server shows no certificate")
    certificate = x509.load_der_x509_certificate(found)
    return Shown(certificate.serial_number, certificate.not_valid_after_utc)


def _builder(subject: x509.Name, issuer: x509.Name, key: ec.EllipticCurvePrivateKey, life: timedelta) -> x509.CertificateBuilder:
    now = datetime.now(UTC)
    return (x509.CertificateBuilder().subject_name(subject).issuer_name(issuer).public_key(key.public_key()).serial_number(x509.random_serial_number())
            .not_valid_before(now - SKEW).not_valid_after(now + life)
            .add_extension(x509.SubjectKeyIdentifier.from_public_key(key.public_key()), critical=False))


def _name(common: str) -> x509.Name:
    return x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, common)])


def _pem(what: x509.Certificate | ec.EllipticCurvePrivateKey) -> str:
    if isinstance(what, x509.Certificate):
        return what.public_bytes(serialization.Encoding.PEM).decode()
    return what.private_bytes(serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()).decode()


def _certificate(path: Path) -> x509.Certificate:
    return x509.load_pem_x509_certificates(path.read_bytes())[0]


def _address(certificate: x509.Certificate) -> str | None:
    names = certificate.extensions.get_extension_for_class(x509.SubjectAlternativeName).value
    return next((str(address) for address in names.get_values_for_type(x509.IPAddress)), None)
