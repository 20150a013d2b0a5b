"""What the server's log says of links."""

import pytest

from services.links import sender_reason, subscription_reason
from services.server_log import Failure, ServerLog, last_failures

TIME = "2026-11-26 15:14:27.877 GMT"
LINK = "unison_node1_to_node2"
APPLY = [
    f'{TIME} [12] LOG:  logical replication apply worker for subscription "{LINK}" has started',
    f'{TIME} [12] ERROR:  null value in column "v" of relation "t" violates not-null constraint',
    f"{TIME} [12] DETAIL:  Failing row contains (1, secret).",
    f'{TIME} [12] CONTEXT:  SQL statement "INSERT INTO "public"."t" ("id") OVERRIDING SYSTEM VALUE', "\t    SELECT $1",
    "\tPL/pgSQL function unison.t_aa3f7ed5_merge_row() line 20 at SQL statement",
    '\tprocessing remote data for replication origin "pg_16395" during message type "INSERT" for replication target relation'
    ' "public.t" in transaction 795, finished at 0/19BE920',
    f'{TIME} [1] LOG:  background worker "logical replication apply worker" (PID 12) exited with exit code 1',
]
SUBSCRIPTION = {"name": LINK, "enabled": True, "seeded": True, "complete": True, "worker": True, "heard": True, "connecting": False,
                "errors": 1, "applied": "0/19BE000"}
SENDER = {"name": LINK, "state": "streaming", "wal_status": "reserved", "keep_size": "32MB", "invalidated": None, "safe_bytes": None}


def test_an_apply_workers_error_has_its_table_and_place():
    assert last_failures(APPLY) == {("apply", LINK): Failure(
        'null value in column "v" of relation "t" violates not-null constraint', False, "public.t", "INSERT", "0/19BE920")}


@pytest.mark.parametrize("said", [
    "could not connect to the publisher: connection to server at ...", f'subscription "{LINK}" could not connect to the publisher: connection to server at ...',
    f'apply worker for subscription "{LINK}" could not connect to the publisher: connection to server at ...'])
def test_a_connection_that_fails_in_the_words_of_each_version(said):
    assert last_failures([APPLY[0], f"{TIME} [12] ERROR:  {said}"]) == {("apply", LINK): Failure("connection to server at ...", True)}


def test_a_process_id_is_used_again():
    again = f'{TIME} [12] LOG:  logical replication apply worker for subscription "unison_node3_to_node2" has started'
    found = last_failures([*APPLY, again, f"{TIME} [12] ERROR:  other"])
    assert found["apply", "unison_node3_to_node2"] == Failure("other") and found["apply", LINK].table == "public.t"


def test_what_ends_in_order_is_no_failure():
    assert last_failures([APPLY[0], f"{TIME} [12] FATAL:  terminating logical replication worker due to administrator command"]) == {}


def test_a_walsenders_error():
    line = f'{TIME} [13] unison_replicator@lb-test {LINK} ERROR:  replication slot "{LINK}" does not exist'
    assert last_failures([line]) == {("sender", LINK): Failure(f'replication slot "{LINK}" does not exist')}


@pytest.mark.parametrize("line", ["", "no log line", f"{TIME} [x] ERROR:  y", f"\t{TIME}", f"{TIME} [9] u@d psql ERROR:  {LINK}"])
def test_other_lines_say_nothing(line):
    assert last_failures([*APPLY[:1], line]) == {}


def test_only_the_end_of_the_newest_log_is_read(tmp_path):
    log = ServerLog(tmp_path)
    assert log.last_failures() == {}
    (tmp_path / "postgresql-4.log").write_text("x" * 300_000 + "\n" + "\n".join(APPLY) + "\n")
    assert ("apply", LINK) in log.last_failures()
    with open(tmp_path / "postgresql-4.log", "a") as file:
        file.write("y\n" * 200_000)
    assert log.last_failures() == {}


def test_an_error_is_the_reason_until_its_transaction_was_applied():
    failure, = last_failures(APPLY).values()
    reason = subscription_reason(SUBSCRIPTION, failure)
    assert reason.startswith('INSERT of public.t fails again and again: null value in column "v"') and "secret" not in reason
    assert subscription_reason(SUBSCRIPTION | {"applied": "0/19BE958"}, failure) is None


@pytest.mark.parametrize(("changed", "failure", "words"), [
    ({"enabled": False}, None, f"ALTER SUBSCRIPTION {LINK} ENABLE"),
    ({"heard": False}, Failure("FATAL: password authentication failed", True), "sets the password"),
    ({"heard": False, "worker": False}, None, "about to start"), ({"heard": False}, None, "connecting to node1"),
    ({"heard": False, "connecting": True}, None, "it has not answered so far"),
    ({"heard": False, "connecting": True}, Failure("could not receive data from WAL stream"), "start that node"),
    ({"seeded": False}, None, "not merged yet"), ({"complete": False}, None, "every table"), ({}, Failure("refused", True), None), ({}, None, None)])
def test_reasons_of_a_subscription(changed, failure, words):
    reason = subscription_reason(SUBSCRIPTION | changed, failure)
    assert reason is None if words is None else words in reason


@pytest.mark.parametrize(("changed", "words"), [
    ({"wal_status": "lost", "invalidated": "wal_removed"}, "max_slot_wal_keep_size = 32MB"), ({"wal_status": "lost"}, "max_slot_wal_keep_size"),
    ({"wal_status": "lost", "invalidated": "idle_timeout"}, "idle_timeout"), ({"state": "not connected", "safe_bytes": 17}, "17 bytes more"),
    ({"state": "not connected"}, "node2 is not connected"), ({"state": "startup"}, "connecting"), ({"state": "catchup"}, None), ({}, None)])
def test_reasons_of_a_sender(changed, words):
    reason = sender_reason(SENDER | changed, None)
    assert reason is None if words is None else words in reason
