"""The node's certificates, which may be replaced while the agent runs."""

import logging
import ssl
from pathlib import Path

logger = logging.getLogger(__name__)


class Certificates:
    """``directory`` holds ``node.pem`` (the node's key and certificate) and ``ca.pem`` (the authorities it trusts), put there by the host."""

    def __init__(self, directory: Path):
        self.node, self.authorities = directory / "node.pem", directory / "ca.pem"
        self.context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        # whoever asks for health needs no certificate; whoever calls a service does (container/web.py)
        self.context.verify_mode = ssl.CERT_OPTIONAL
        self._loaded: tuple[bytes, bytes] | None = None

    def load(self) -> bool:
        """Take what the files hold now, for the connections from here on; True if that is new. OSError (also ssl.SSLError) when they are not whole."""
        found = (self.node.read_bytes(), self.authorities.read_bytes())
        if found == self._loaded:
            return False
        # the authorities first: what is added to them does not take effect without the rest, and harms nothing
        self.context.load_verify_locations(self.authorities)
        self.context.load_cert_chain(self.node)
        self._loaded = found
        return True
