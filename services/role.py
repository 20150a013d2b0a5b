"""Role: who may log in to the node, with the least that its kind needs."""

import base64
import hashlib
import hmac
import unicodedata

import psycopg2.extensions
from microesb import microesb
from psycopg2 import sql

from pgunison.contract.names import READERS, REPLICATORS, WRITERS
from services.driver import Cursor, one_row
from services.result import Result

# A replicator reads tables whole, whatever their policies hide from users: a peer must hold the same rows.
ATTRIBUTES = {"owner": "LOGIN", "replicator": "LOGIN REPLICATION BYPASSRLS", "writer": "LOGIN", "reader": "LOGIN"}
MEMBERSHIPS = {
    # sees the progress of replication and may end a session that is in the way
    "owner": ("pg_monitor", "pg_signal_backend"),
    "replicator": (REPLICATORS,), "writer": (WRITERS,), "reader": (READERS,),
}


class Role(microesb.MultiClassHandler):
    """A role that can log in; ``kind`` is one of owner, replicator, writer, reader."""

    name: str
    kind: str
    password: str

    def set_up(self, cursor: Cursor, result: Result) -> None:
        """Make the role, its password and its memberships, where they are missing."""
        name = sql.Identifier(self.name)
        cursor.execute("SELECT rolpassword, rolbypassrls FROM pg_authid WHERE rolname = %s", [self.name])
        found = cursor.fetchone()
        if found is None:
            cursor.execute(sql.SQL("CREATE ROLE {} {}").format(name, sql.SQL(ATTRIBUTES[self.kind])))
            result.done.append(f"created role {self.name} ({self.kind})")
        elif self.kind == "replicator" and not found[1]:
            cursor.execute(sql.SQL("ALTER ROLE {} BYPASSRLS").format(name))
            result.done.append(f"let {self.name} read rows that policies hide")
        if found is None or not is_password(self.password, found[0]):
            # the server sees the verifier only: no log and no pg_stat_activity can show the password
            verifier = psycopg2.extensions.encrypt_password(self.password, self.name, cursor, "scram-sha-256")
            cursor.execute(sql.SQL("ALTER ROLE {} PASSWORD {}").format(name, sql.Literal(verifier)))
            result.done.append(f"set the password of {self.name}")
        for group in MEMBERSHIPS[self.kind]:
            cursor.execute("SELECT pg_has_role(%s, %s, 'MEMBER')", [self.name, group])
            if not one_row(cursor)[0]:
                cursor.execute(sql.SQL("GRANT {} TO {}").format(sql.Identifier(group), name))


def is_password(password: str, verifier: str | None) -> bool:
    """Tell whether ``verifier``, as pg_authid keeps it, is that of ``password``. Source: RFC 5802, section 3."""
    if not verifier or not verifier.startswith("SCRAM-SHA-256$"):
        return False
    _, iterations_salt, keys = verifier.split("$")
    iterations, salt = iterations_salt.split(":")
    # the normal form is most of what SASLprep (RFC 4013) does; where it is not all, the password is merely set again
    salted = hashlib.pbkdf2_hmac("sha256", unicodedata.normalize("NFKC", password).encode(), base64.b64decode(salt), int(iterations))
    client_key = hmac.digest(salted, b"Client Key", "sha256")
    return hmac.compare_digest(base64.b64encode(hashlib.sha256(client_key).digest()).decode(), keys.split(":")[0])
