"""Links as this node sees them: the subscriptions that it takes from, the slots that its peers take from, and why one does not stream."""

from dataclasses import replace
from typing import Any

from pgunison.contract.names import link_ends
from services import statements
from services.driver import Cursor, column_names, one_row
from services.server import server_log
from services.server_log import Failure

RESUME = "ALTER SUBSCRIPTION {name} ENABLE as the owner, or python3 orchestrator.py up"
ANEW = "python3 orchestrator.py up makes the link anew"


def describe_subscriptions(cursor: Cursor) -> list[dict[str, Any]]:
    """Describe each subscription: is it enabled, seeded, does its apply worker run, how often did that fail, and the ``reason`` why it does
    not stream (null when it does, as far as this node knows)."""
    cursor.execute(statements.text("subscriptions"))
    names = column_names(cursor)
    found = [dict(zip(names, row, strict=True)) for row in cursor]
    log = server_log().last_failures() if any(one["enabled"] and (one["errors"] or not one["heard"]) for one in found) else {}
    described, users = [], _users_tables(cursor) if log else {}
    for one in found:
        failure = log.get(("apply", one["name"]))
        if failure and failure.table in users:
            action, table = users[failure.table]
            failure = replace(failure, action=action, table=table)
        reason = subscription_reason(one, failure)
        described.append({key: one[key] for key in ("name", "enabled", "seeded", "worker", "errors", "complete")}
                         | {"source": link_ends(one["name"])[0], "reason": reason})
    return described


def describe_senders(cursor: Cursor) -> list[dict[str, Any]]:
    """Describe each replication slot of a peer: does its walsender stream, how far behind is the peer (bytes of WAL), has the peer ``told`` up to
    where it has this node, and the ``reason`` why it does not stream."""
    cursor.execute(statements.text("senders"))
    names = column_names(cursor)
    found = [dict(zip(names, row, strict=True)) for row in cursor]
    log = server_log().last_failures() if any(one["state"] not in ("streaming", "catchup") for one in found) else {}
    shown = ("name", "state", "told", "wal_status", "lag_bytes")
    return [{key: one[key] for key in shown} | {"target": link_ends(one["name"])[1], "reason": sender_reason(one, log.get(("sender", one["name"])))}
            for one in found]


def _users_tables(cursor: Cursor) -> dict[str, tuple[str, str]]:
    """Tell what a message to a table beside a user's table was: ``{"unison.t_image": ("UPDATE", "public.t")}``."""
    cursor.execute("SELECT schema_name || '.' || table_name, 'unison.' || image_name, 'unison.' || tombstone_name FROM unison.replicated_table")
    return {name: ("UPDATE" if name == image else "DELETE", table) for table, image, tombstone in cursor for name in (image, tombstone)}


def trouble(cursor: Cursor) -> dict[str, int]:
    """Count what the keeper of the server sets its pace by: ``apply_errors`` since ever, and ``unconnected`` subscriptions now."""
    cursor.execute(statements.text("trouble"))
    return dict(zip(("apply_errors", "unconnected"), one_row(cursor), strict=True))


def subscription_reason(one: dict[str, Any], failure: Failure | None) -> str | None:
    """Say in words why a subscription brings nothing, with the next step; ``one`` is a row of sql/subscriptions.sql."""
    source, _ = link_ends(one["name"])
    if not one["enabled"]:
        return f"it is disabled: its owner has paused it, or it was not finished; {RESUME.format(name=one['name'])}"
    if failure and failure.connecting:
        if not one["heard"]:
            return f"cannot connect to {source}: {failure.message}; {_connect_step(one['name'], failure.message)}"
    elif one["connecting"]:
        # for minutes, where its packets vanish
        return f"cannot connect to {source}: it has not answered so far; {_connect_step(one['name'], '')}"
    elif failure and failure.finished:
        # a transaction that was applied since is no trouble any more
        if one["applied"] is None or _lsn(one["applied"]) <= _lsn(failure.finished):
            at = f"{failure.action or 'a change'} of {failure.table}" if failure.table else failure.action or "applying"
            return f"{at} fails again and again: {failure.message}; {_apply_step(failure.message)}"
    elif failure and not one["heard"]:
        return f"{failure.message}; {_apply_step(failure.message)}"
    if not one["seeded"]:
        return "what its source held before the link is not merged yet: python3 orchestrator.py up goes on"
    if not one["complete"]:
        return "it does not carry every table yet: python3 orchestrator.py up goes on"
    if not one["heard"]:
        return f"connecting to {source}" if one["worker"] else "its apply worker is about to start"
    return None


def sender_reason(one: dict[str, Any], failure: Failure | None) -> str | None:
    """Say in words why a peer takes nothing from its slot, with the next step; ``one`` is a row of sql/senders.sql."""
    _, target = link_ends(one["name"])
    if one["wal_status"] == "lost":
        limit = f"more than max_slot_wal_keep_size = {one['keep_size']} of WAL was waiting for {target}"
        cause = limit if one["invalidated"] in (None, "wal_removed") else f"PostgreSQL has invalidated it: {one['invalidated']}"
        return f"its replication slot is lost: {cause}; {ANEW}"
    if one["state"] in ("streaming", "catchup"):
        return None
    if one["state"] != "not connected":
        return f"{target} is connecting"
    near = f"; {one['safe_bytes']} bytes more of WAL and its slot is lost" if one["safe_bytes"] is not None else ""
    return (f"{failure.message}" if failure else f"{target} is not connected") + near


def _connect_step(name: str, message: str) -> str:
    if "password authentication failed" in message or "no password" in message:
        return f"ALTER SUBSCRIPTION {name} DISABLE as the owner, then python3 orchestrator.py up sets the password"
    if "certificate" in message or "SSL" in message:
        return "python3 orchestrator.py renew"
    return "start that node: python3 orchestrator.py up"


def _apply_step(message: str) -> str:
    if "row-level security" in message:
        return "ALTER TABLE ... NO FORCE ROW LEVEL SECURITY on this node, and it goes on"
    if "replication slot" in message or "can no longer" in message or "requested WAL segment" in message:
        return ANEW
    if "does not exist" in message or "is missing" in message:
        return "make what is missing on this node as it is on the others, and it goes on"
    if "violates" in message:
        return "drop what forbids it on this node and not on the others, and it goes on"
    return "see the node's log: python3 orchestrator.py logs"


def _lsn(text: str) -> int:
    high, low = text.split("/")
    return (int(high, 16) << 32) + int(low, 16)
