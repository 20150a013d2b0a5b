"""The maintenance of a node: a table that is broken stops no other, prepared transactions count as running, and what fails is said."""

import contextlib
import re

import psycopg2
import pytest

from esb_config.call import execute
from esb_config.document import document
from pgunison.contract.waiting import wait_until
from services.errors import ServiceError
from services.server import Server
from tests.convergence.comparison import MARKS, administer, arrived, assert_same, everywhere, names, settle

ENTRY, OTHER = ({"name": name, "columns": [{"name": "id", "type": "bigint", "primary_key": True}, {"name": "value", "type": "text"}]}
                for name in ("entry", "other"))
FUTURE = "2200-01-01"


@pytest.fixture(scope="module")
def cluster(make_cluster):
    return make_cluster(nodes=3, tables=[ENTRY, OTHER, MARKS], upkeep={"tombstone_retention_s": 0},
                        postgresql={"max_prepared_transactions": 10}).up()


def write(cluster, node: str, statement: str, *parameters) -> None:
    cluster.query(node, statement, parameters, role="writer")


def maintain(cluster, node: str, rounds: int = 1) -> dict:
    """Let a node do rounds of maintenance besides those of its agent; the answer to the last one."""
    return [cluster.site.call(node, "node.maintain", tombstone_retention_s=0) for _ in range(rounds)][-1]


def superuser(cluster, node: str, statement: str, *parameters) -> list[tuple]:
    with contextlib.closing(cluster.superuser(node)) as connection, connection, connection.cursor() as cursor:
        cursor.execute(statement, parameters or None)
        return cursor.fetchall() if cursor.description else []


def companion(cluster, node: str, table: str, kind: str) -> str:
    return 'unison."{}"'.format(cluster.query(node, f"SELECT {kind}_name FROM unison.replicated_table WHERE table_name = %s", [table])[0][0])


def tombstones(cluster, node: str, table: str, key: int) -> int:
    return cluster.query(node, f"SELECT count(*) FROM {companion(cluster, node, table, 'tombstone')} WHERE id = %s", [key])[0][0]


def bury(cluster, table: str, key: int) -> None:
    write(cluster, "node1", f"INSERT INTO {table} (id, value) VALUES (%s, 'doomed')", key)
    settle(cluster)
    write(cluster, "node2", f"DELETE FROM {table} WHERE id = %s", key)
    settle(cluster)


def race(cluster, node: str, table: str, key: int) -> None:
    """Leave a row behind its tombstone, as a race does: neither saw the other."""
    superuser(cluster, node, f"SET session_replication_role = replica;"
                             f" INSERT INTO {table} (id, value) VALUES ({key}, 'raced');"
                             f" ALTER TABLE {companion(cluster, node, table, 'tombstone')} DISABLE TRIGGER ALL;"
                             f" INSERT INTO {companion(cluster, node, table, 'tombstone')} (id, modified_ts, modified_node) VALUES ({key}, '{FUTURE}', 2);"
                             f" ALTER TABLE {companion(cluster, node, table, 'tombstone')} ENABLE REPLICA TRIGGER zzz_unison_merge")


def there(cluster, node: str, table: str, key: int) -> bool:
    return bool(cluster.query(node, f"SELECT 1 FROM {table} WHERE id = %s", [key]))


def swept(cluster, node: str, table: str, key: int) -> str | None:
    return f"{key} is there" if there(cluster, node, table, key) else None


def forgotten(cluster, table: str, key: int) -> str | None:
    for _ in range(5):
        everywhere(cluster, lambda node: maintain(cluster, node))
    found = everywhere(cluster, lambda node: tombstones(cluster, node, table, key))
    return None if set(found.values()) == {0} else str(found)


def failing(cluster, node: str) -> dict[str, str]:
    return {each["table"]: each["reason"] for each in maintain(cluster, node)["failing"]}


@contextlib.contextmanager
def broken(cluster, node: str, relation: str):
    """Let deletions from a table raise that maintenance makes, and no other."""
    superuser(cluster, node, "CREATE OR REPLACE FUNCTION public.never() RETURNS trigger LANGUAGE plpgsql AS $$"
                             " BEGIN IF current_setting('application_name') = 'pgunison agent' THEN RAISE 'never from here'; END IF; RETURN OLD; END $$;"
                             f" CREATE TRIGGER never BEFORE DELETE ON {relation} FOR EACH ROW EXECUTE FUNCTION public.never();"
                             f" ALTER TABLE {relation} ENABLE ALWAYS TRIGGER never")
    try:
        yield
    finally:
        superuser(cluster, node, f"DROP TRIGGER IF EXISTS never ON {relation}")


# --- one table that is broken ---


def test_a_table_that_cannot_be_swept_stops_no_other_and_is_made_up_for(cluster, key):
    with broken(cluster, "node1", "public.entry"):
        race(cluster, "node1", "entry", key)
        wait_until(lambda: None if "never from here" in failing(cluster, "node1").get("public.entry", "") else "not failing", "entry fails", 20)
        race(cluster, "node1", "other", key)
        wait_until(lambda: swept(cluster, "node1", "other", key), "the other table is swept", 15)
        # more rounds than a sweep looks back
        before = cluster.query("node1", "SELECT last_value FROM unison.round_number")[0][0]
        maintain(cluster, "node1", 12)
        assert cluster.query("node1", "SELECT last_value FROM unison.round_number")[0][0] > before + 10
        assert list(failing(cluster, "node1")) == ["public.entry"]
        assert there(cluster, "node1", "entry", key)
    wait_until(lambda: swept(cluster, "node1", "entry", key), "entry is swept again, from where it failed", 30)
    wait_until(lambda: str(failing(cluster, "node1")) if failing(cluster, "node1") else None, "nothing fails", 30)


def test_tombstones_of_a_broken_table_stay_everywhere_and_those_of_others_go(cluster, key):
    """node1 cannot sweep: a stale row there could still be changed and sent, so no node may forget what it was buried by."""
    with broken(cluster, "node1", "public.entry"):
        race(cluster, "node1", "entry", key + 1)
        wait_until(lambda: None if failing(cluster, "node1") else "not failing", "entry fails", 20)
        with cluster.connect("node2", "writer") as connection, connection.cursor() as cursor:
            cursor.execute("INSERT INTO entry (id, value) VALUES (%s, 'doomed')", [key + 2])
            cursor.execute("DELETE FROM entry WHERE id = %s", [key + 2])
            cursor.execute("INSERT INTO other (id, value) VALUES (%s, 'doomed')", [key])
            cursor.execute("DELETE FROM other WHERE id = %s", [key])
        for target in ("node1", "node3"):
            arrived(cluster, "node2", target)
        wait_until(lambda: forgotten(cluster, "other", key), "the tombstones of the other table are collected", 60)
        found = everywhere(cluster, lambda node: tombstones(cluster, node, "entry", key + 2))
        assert found == dict.fromkeys(names(cluster), 1)
    wait_until(lambda: forgotten(cluster, "entry", key + 2), "the tombstones are collected", 60)
    assert_same(cluster, "entry", "other")


def test_tombstones_that_cannot_be_deleted_are_named(cluster, key):
    bury(cluster, "entry", key)
    with broken(cluster, "node1", companion(cluster, "node1", "entry", "tombstone")):
        wait_until(lambda: None if "public.entry" in failing(cluster, "node1") else "not failing", "the collection fails", 60)
        bury(cluster, "other", key)
        wait_until(lambda: forgotten(cluster, "other", key), "the tombstones of the other table are collected", 60)
        # a sweep that succeeds is not the share that failed
        assert "never from here" in failing(cluster, "node1")["public.entry"]
    wait_until(lambda: forgotten(cluster, "entry", key), "the tombstones are collected", 60)
    wait_until(lambda: str(failing(cluster, "node1")) if failing(cluster, "node1") else None, "nothing fails", 30)


def test_a_lock_that_is_held_for_long_keeps_nobody_else_waiting(cluster, key):
    race(cluster, "node1", "entry", key)
    with cluster.connect("node1", autocommit=False) as connection, connection.cursor() as cursor:
        cursor.execute("LOCK TABLE entry IN ACCESS EXCLUSIVE MODE")
        race(cluster, "node1", "other", key)
        wait_until(lambda: swept(cluster, "node1", "other", key), "the other table is swept", 15)
        connection.rollback()
    wait_until(lambda: swept(cluster, "node1", "entry", key), "entry is swept", 30)


@pytest.mark.parametrize("kind", ["image", "tombstone"])
def test_a_companion_that_is_locked_keeps_nobody_else_waiting(cluster, key, kind):
    with cluster.connect("node1", autocommit=False) as connection, connection.cursor() as cursor:
        cursor.execute(f"LOCK TABLE {companion(cluster, 'node1', 'entry', kind)} IN ACCESS EXCLUSIVE MODE")
        race(cluster, "node1", "other", key)
        wait_until(lambda: swept(cluster, "node1", "other", key), "the other table is swept", 15)
        connection.rollback()
    wait_until(lambda: str(failing(cluster, "node1")) if failing(cluster, "node1") else None, "nothing fails", 30)


def test_a_child_table_stops_nothing(cluster, key):
    superuser(cluster, "node1", "CREATE TABLE public.child () INHERITS (public.entry)")
    try:
        race(cluster, "node1", "other", key)
        race(cluster, "node1", "entry", key)
        for table in ("other", "entry"):
            wait_until(lambda table=table: swept(cluster, "node1", table, key), f"{table} is swept", 15)
    finally:
        superuser(cluster, "node1", "DROP TABLE public.child")


def test_what_fails_is_said_by_health_and_logged_now_and_then(cluster, key):
    with broken(cluster, "node3", "public.entry"):
        race(cluster, "node3", "entry", key)
        wait_until(lambda: None if any("public.entry" in text and "never from here" in text for text in warnings(cluster, "node3")) else "no warning",
                   "health warns", 30)
        before = cluster.query("node3", "SELECT last_value FROM unison.round_number")[0][0]
        wait_until(lambda: None if cluster.query("node3", "SELECT last_value FROM unison.round_number")[0][0] >= before + 3 else "too few", "three rounds", 20)
        lines = [line for _, lines in cluster.site.runtime.logs(cluster.site.spec("node3")) for line in lines]
        assert sum("maintenance: public.entry: never from here" in line for line in lines) == 1
    wait_until(lambda: str(warnings(cluster, "node3")) if warnings(cluster, "node3") else None, "the warning ends", 30)
    assert_same(cluster, "entry")


def warnings(cluster, node: str) -> list[str]:
    return cluster.site.agents.health(cluster.site.spec(node))["warnings"]


# --- prepared transactions ---


@contextlib.contextmanager
def prepared(cluster, node: str, gid: str, *statements: str):
    """Prepare a transaction, and commit it at the end of the block."""
    with cluster.connect(node, "writer", autocommit=False) as connection, connection.cursor() as cursor:
        for statement in statements:
            cursor.execute(statement)
        cursor.execute("PREPARE TRANSACTION %s", [gid])
    try:
        yield
    finally:
        with cluster.connect(node, "writer") as connection, connection.cursor() as cursor, contextlib.suppress(psycopg2.errors.UndefinedObject):
            cursor.execute("COMMIT PREPARED %s", [gid])


def test_a_row_of_a_prepared_transaction_that_raced_is_swept(cluster, key):
    """The deletion arrives while the row is prepared, and is forgotten by every later round when these do not see that it runs."""
    with prepared(cluster, "node2", f"insert {key}", f"INSERT INTO entry (id, value) VALUES ({key}, 'raced')"):
        superuser(cluster, "node2", f"SET session_replication_role = replica; INSERT INTO {companion(cluster, 'node2', 'entry', 'tombstone')}"
                                    " (id, modified_ts, modified_node) VALUES (%s, %s, 3)", key, FUTURE)
        maintain(cluster, "node2", 12)
    wait_until(lambda: swept(cluster, "node2", "entry", key), "the row is swept", 20)


def test_a_deletion_that_meets_a_prepared_transaction(cluster, key):
    """node2 deletes K, inserts it anew and prepares that; node3 deletes K meanwhile."""
    write(cluster, "node1", "INSERT INTO entry (id, value) VALUES (%s, 'first')", key)
    settle(cluster)
    with prepared(cluster, "node2", f"again {key}", f"DELETE FROM entry WHERE id = {key}", f"INSERT INTO entry (id, value) VALUES ({key}, 'again')"):
        write(cluster, "node3", "DELETE FROM entry WHERE id = %s", key)
        maintain(cluster, "node2", 12)
    assert_same(cluster, "entry")


def test_a_prepared_transaction_holds_the_tombstones(cluster, key):
    with prepared(cluster, "node3", f"older {key}", f"INSERT INTO entry (id, value) VALUES ({key}, 'older')"):
        write(cluster, "node1", "INSERT INTO entry (id, value) VALUES (%s, 'doomed')", key)
        write(cluster, "node1", "DELETE FROM entry WHERE id = %s", key)
        for _ in range(40):
            everywhere(cluster, lambda node: maintain(cluster, node))
        assert tombstones(cluster, "node1", "entry", key) == 1
    settle(cluster)
    wait_until(lambda: forgotten(cluster, "entry", key), "the tombstones are collected", 60)
    assert_same(cluster, "entry")
    assert not there(cluster, "node1", "entry", key)


def test_a_transaction_keeps_its_age_when_it_is_prepared(cluster, key):
    """It was seen by its virtual id in some rounds, and is prepared then: the rounds since then must not pass over it."""
    with cluster.connect("node2", "writer", autocommit=False) as connection, connection.cursor() as cursor:
        cursor.execute("INSERT INTO entry (id, value) VALUES (%s, 'long')", [key])
        first = maintained(cluster, "node2")
        maintain(cluster, "node2", 3)
        cursor.execute("PREPARE TRANSACTION %s", [f"long {key}"])
    maintain(cluster, "node2", 3)
    running, oldest = cluster.query("node2", "SELECT running, oldest FROM unison.round ORDER BY number DESC LIMIT 1")[0]
    assert oldest <= first and any(each.endswith(f"long {key}") for each in running)
    cluster.query("node2", "COMMIT PREPARED %s", [f"long {key}"], role="writer")
    maintain(cluster, "node2", 1)
    assert cluster.query("node2", "SELECT oldest FROM unison.round ORDER BY number DESC LIMIT 1")[0][0] > first


def maintained(cluster, node: str) -> int:
    """Do a round; returns its number, or that of a later one."""
    maintain(cluster, node)
    return cluster.query(node, "SELECT max(number) FROM unison.round")[0][0]


def test_prepared_transactions_are_told_with_their_age(cluster, key):
    with prepared(cluster, "node1", f"it's {key}", f"INSERT INTO entry (id, value) VALUES ({key}, 'prepared')"):
        found = maintain(cluster, "node1")["prepared"]
        assert [(each["gid"], each["database"]) for each in found] == [(f"it's {key}", cluster.site.configuration.database)]
        assert found[0]["age_s"] >= 0
    assert_same(cluster, "entry")


@pytest.mark.process_runtime("the service runs in this process, which reaches a node by its socket")
def test_a_new_link_that_waits_for_a_prepared_transaction_names_it(make_cluster, monkeypatch):
    """The slot waits for those of every database. The service runs in this process, whose patience is short."""
    made = make_cluster(nodes=2, tables=[OTHER, MARKS], postgresql={"max_prepared_transactions": 10}).up()
    subscription = made.link("node1", "node2")
    administer(made, "node2", f'ALTER SUBSCRIPTION "{subscription}" DISABLE', f'DROP SUBSCRIPTION "{subscription}"')
    with contextlib.closing(made.superuser("node1")) as connection, connection.cursor() as cursor:
        cursor.execute("CREATE TABLE public.elsewhere (id int); INSERT INTO public.elsewhere VALUES (1); PREPARE TRANSACTION 'it''s forgotten'")
    site = made.site
    monkeypatch.setattr("services.subscription.SLOT_TIMEOUT_S", 3)
    monkeypatch.setattr("services.server._server", Server(str(made.folder("node2") / "socket"), site.configuration.postgresql_port))
    spec = site.spec("node2")
    call = document("subscription.setup", Cluster={"id": site.configuration.id, "Node": {
        "name": "node2", "index": spec.index, "database": site.configuration.database, "Subscription": site.subscription("node1")}})
    with pytest.raises(ServiceError) as refused:
        execute(call)
    assert re.search(r"'it''s forgotten' of database \S+ there is prepared for \d+ s", refused.value.detail)
    assert "ROLLBACK PREPARED 'it''s forgotten'" in refused.value.hint
    with contextlib.closing(made.superuser("node1")) as connection, connection.cursor() as cursor:
        connection.autocommit = True
        cursor.execute("ROLLBACK PREPARED 'it''s forgotten'")
    made.up()
    assert_same(made, "other")
