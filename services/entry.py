"""Entry: a command that somebody gave to the cluster, as the node remembers it."""

from microesb import microesb

from services.driver import Cursor
from services.result import Result

# a command takes some hundred bytes, and nobody looks further back
KEPT = 1000
_ISO = """to_char({} AT TIME ZONE 'UTC', 'YYYY-MM-DD"T"HH24:MI:SS.US"+00:00"')"""


class Entry(microesb.MultiClassHandler):
    """A command: when it began and ended (ISO 8601, UTC; null while it runs, or when nobody knows), by whom, and its outcome."""

    id: str
    command: str
    who: str
    began: str
    ended: str | None
    outcome: str
    detail: str | None

    def record(self, cursor: Cursor, result: Result) -> None:
        """Remember it; one that is remembered as running or lost gets its outcome, any other stays as it is."""
        cursor.execute("INSERT INTO unison.history AS h (id, command, who, began, ended, outcome, detail) VALUES (%s, %s, %s, %s, %s, %s, %s)"
                       " ON CONFLICT (id) DO UPDATE SET ended = excluded.ended, outcome = excluded.outcome, detail = excluded.detail"
                       " WHERE h.outcome = 'running' AND excluded.outcome <> 'running' OR h.outcome = 'lost' AND excluded.outcome NOT IN ('running', 'lost')",
                       [self.id, self.command, self.who, self.began, self.ended, self.outcome, self.detail])
        if cursor.rowcount:
            result.done.append(f"remembered {self.command} of {self.began}: {self.outcome}")


def newest(cursor: Cursor, limit: int) -> list[dict[str, str | None]]:
    """List what is remembered, the newest first."""
    cursor.execute(f"SELECT id::text, command, who, {_ISO.format('began')}, {_ISO.format('ended')}, outcome, detail"
                   " FROM unison.history ORDER BY history.began DESC, history.id DESC LIMIT %s", [limit])
    return [dict(zip(("id", "command", "who", "began", "ended", "outcome", "detail"), row, strict=True)) for row in cursor]


def forget(cursor: Cursor) -> None:
    """Forget all but the newest."""
    cursor.execute("DELETE FROM unison.history WHERE id IN (SELECT id FROM unison.history ORDER BY began DESC, id DESC OFFSET %s)", [KEPT])
