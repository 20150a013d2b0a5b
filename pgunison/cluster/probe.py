"""Does a PostgreSQL answer at an address? Asked without a login, so it can be told of a node whose agent is gone."""

import socket
import struct

# the request whether the server speaks TLS: its length and a number that no protocol version has (PostgreSQL: protocol message formats)
SSL_REQUEST = struct.pack("!ii", 8, 80877103)


def postgresql_answers(address: str, port: int, timeout_s: float) -> bool:
    """Tell whether a PostgreSQL takes connections there now; one that is frozen, or is no PostgreSQL, does not within ``timeout_s``.

    The answer comes from a process that the server starts for us, and leaves no line in its log.
    """
    try:
        with socket.create_connection((address, port), timeout_s) as connection:
            connection.settimeout(timeout_s)
            connection.sendall(SSL_REQUEST)
            return connection.recv(1) in (b"S", b"N")
    except OSError:
        return False
