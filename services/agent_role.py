"""The role that the agent works as on what is the owner's: the owner's rights, no password, and no more."""

from psycopg2 import sql

from services import statements
from services.driver import Cursor, one_row
from services.errors import ServiceError


def ensure_agent_role(cursor: Cursor, role: str, owner: str) -> None:
    """Make the role where it is missing, a member of ``owner`` and of nothing else. To be called in each database (``cursor`` is a superuser's)."""
    cursor.execute("SELECT rolsuper FROM pg_roles WHERE rolname = %s", [owner])
    found = cursor.fetchone()
    if found is None or found[0]:
        raise ServiceError(f"{owner} cannot own what is replicated", "it is a superuser, or is not there: what it makes would run as a superuser",
                           "let the owner of the call be an ordinary role, and call node.prepare")
    cursor.execute("SELECT EXISTS (SELECT FROM pg_roles WHERE rolname = %s)", [role])
    if not one_row(cursor)[0]:
        cursor.execute(sql.SQL("CREATE ROLE {}").format(sql.Identifier(role)))
    cursor.execute("SELECT pg_get_userbyid(roleid) FROM pg_auth_members WHERE member = %s::regrole AND roleid <> %s::regrole", [role, owner])
    for other, in cursor.fetchall():
        cursor.execute(sql.SQL("REVOKE {} FROM {}").format(sql.Identifier(other), sql.Identifier(role)))
    cursor.execute(statements.render("agent_role", cursor, agent=sql.Identifier(role), owner=sql.Identifier(owner)))


def owner_of(cursor: Cursor, role: str) -> str | None:
    """Return the owner: the role whose rights the agent has. None while the agent's role is not made."""
    cursor.execute("SELECT pg_get_userbyid(m.roleid) FROM pg_auth_members AS m JOIN pg_roles AS r ON r.oid = m.member WHERE r.rolname = %s", [role])
    found = cursor.fetchone()
    return found[0] if found else None


def former_owner(cursor: Cursor) -> str | None:
    """Return who owns what is replicated in a database that was prepared before the agent had a role of its own; None where nothing was prepared."""
    cursor.execute("SELECT pg_get_userbyid(relowner) FROM pg_class WHERE oid = to_regclass('unison.beat')")
    found = cursor.fetchone()
    return found[0] if found else None
