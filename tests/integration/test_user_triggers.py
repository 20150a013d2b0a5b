"""Triggers of the user's beside those of the merge: the ten usual ones do on a replicated table what they do on any other, once, where the write is made."""

import psycopg2.errors
import pytest

from tests.convergence.comparison import MARKS, all_links, assert_same, names, paused, settle
from tests.integration.test_types import set_up

pytestmark = [pytest.mark.process_runtime("triggers are a matter of SQL, wherever the node runs"), pytest.mark.usefixtures("no_error_loop")]

MADE = """
CREATE TABLE author (id bigint PRIMARY KEY, articles int NOT NULL DEFAULT 0);
CREATE TABLE article (id bigint PRIMARY KEY, author bigint REFERENCES author, title text, slug text, body text, words tsvector, locked boolean DEFAULT false,
                      updated_at timestamptz, deleted_at timestamptz);
CREATE TABLE audit (id bigserial PRIMARY KEY, what text, article bigint);
CREATE TABLE former (id bigserial PRIMARY KEY, article bigint, title text);

CREATE FUNCTION audit() RETURNS trigger LANGUAGE plpgsql AS
    $$ BEGIN INSERT INTO audit (what, article) VALUES (TG_OP, CASE TG_OP WHEN 'DELETE' THEN OLD.id ELSE NEW.id END); RETURN NULL; END $$;
CREATE TRIGGER audit AFTER INSERT OR UPDATE OR DELETE ON article FOR EACH ROW EXECUTE FUNCTION audit();

CREATE FUNCTION updated_at() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN NEW.updated_at := now(); RETURN NEW; END $$;
CREATE TRIGGER updated_at BEFORE UPDATE ON article FOR EACH ROW WHEN (OLD.* IS DISTINCT FROM NEW.*) EXECUTE FUNCTION updated_at();

CREATE TRIGGER words BEFORE INSERT OR UPDATE ON article FOR EACH ROW
EXECUTE FUNCTION tsvector_update_trigger(words, 'pg_catalog.simple', title, body);

CREATE FUNCTION tell() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN PERFORM pg_notify('article', NEW.id::text); RETURN NULL; END $$;
CREATE TRIGGER tell AFTER INSERT ON article FOR EACH ROW EXECUTE FUNCTION tell();

CREATE FUNCTION deny() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN RAISE EXCEPTION 'article % is locked', OLD.id; END $$;
CREATE TRIGGER deny BEFORE UPDATE ON article FOR EACH ROW WHEN (OLD.locked) EXECUTE FUNCTION deny();

CREATE FUNCTION slug() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN NEW.slug := replace(lower(NEW.title), ' ', '-'); RETURN NEW; END $$;
CREATE TRIGGER slug BEFORE INSERT OR UPDATE OF title ON article FOR EACH ROW EXECUTE FUNCTION slug();

CREATE FUNCTION count_articles() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    UPDATE author SET articles = articles + CASE TG_OP WHEN 'INSERT' THEN 1 ELSE -1 END
    WHERE id = CASE TG_OP WHEN 'INSERT' THEN NEW.author ELSE OLD.author END;
    RETURN NULL;
END $$;
CREATE TRIGGER count_articles AFTER INSERT OR DELETE ON article FOR EACH ROW EXECUTE FUNCTION count_articles();

CREATE FUNCTION soft_delete() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    IF OLD.deleted_at IS NOT NULL THEN RETURN OLD; END IF;
    UPDATE article SET deleted_at = now() WHERE id = OLD.id;
    RETURN NULL;
END $$;
CREATE TRIGGER soft_delete BEFORE DELETE ON article FOR EACH ROW EXECUTE FUNCTION soft_delete();

CREATE TRIGGER z_min_update BEFORE UPDATE ON article FOR EACH ROW EXECUTE FUNCTION suppress_redundant_updates_trigger();

CREATE FUNCTION keep_former() RETURNS trigger LANGUAGE plpgsql AS $$
    BEGIN INSERT INTO former (article, title) VALUES (OLD.id, OLD.title); RETURN NULL; END $$;
CREATE TRIGGER keep_former AFTER UPDATE OF title ON article FOR EACH ROW EXECUTE FUNCTION keep_former()
"""
TABLES = ["author", "article", "audit", "former"]


@pytest.fixture(scope="module")
def cluster(make_cluster):
    cluster = make_cluster(nodes=2, tables=[MARKS]).up()
    for node in names(cluster):
        cluster.query(node, MADE)
    set_up(cluster, *TABLES)
    cluster.query("node1", "INSERT INTO author (id) SELECT n FROM generate_series(1, 9) AS n", role="writer")
    settle(cluster)
    return cluster


def write(cluster, *statements: str, node: str = "node1") -> None:
    for statement in statements:
        cluster.query(node, statement, role="writer")


def seen(cluster, statement: str) -> list[tuple]:
    """Assert that the nodes are the same; return what the node that did not write shows."""
    assert_same(cluster, *TABLES)
    return cluster.query("node2", statement, role="reader")


def test_each_fires_once_where_the_write_is_made(cluster):
    write(cluster, "INSERT INTO article (id, author, title, body) VALUES (100, 1, 'One Day', 'and another')",
          "UPDATE article SET title = 'Two Days' WHERE id = 100", "UPDATE article SET title = title WHERE id = 100")
    assert seen(cluster, "SELECT slug, words::text, updated_at IS NOT NULL FROM article WHERE id = 100") == [
        ("two-days", "'and':3 'another':4 'days':2 'two':1", True)]
    # the last UPDATE changes nothing, so it is none
    assert seen(cluster, "SELECT what FROM audit WHERE article = 100 ORDER BY id") == [("INSERT",), ("UPDATE",)]
    assert seen(cluster, "SELECT title FROM former WHERE article = 100") == [("One Day",)]
    assert seen(cluster, "SELECT articles FROM author WHERE id = 1") == [(1,)]


def test_a_soft_deletion_is_an_update_and_the_second_one_a_deletion(cluster):
    write(cluster, "INSERT INTO article (id, author, title) VALUES (200, 2, 'gone')", "DELETE FROM article WHERE id = 200")
    assert seen(cluster, "SELECT deleted_at IS NOT NULL FROM article WHERE id = 200") == [(True,)]
    write(cluster, "DELETE FROM article WHERE id = 200")
    assert seen(cluster, "SELECT FROM article WHERE id = 200") == []
    assert seen(cluster, "SELECT what FROM audit WHERE article = 200 ORDER BY id") == [("INSERT",), ("UPDATE",), ("DELETE",)]
    assert seen(cluster, "SELECT articles FROM author WHERE id = 2") == [(0,)]


def test_a_denied_update_changes_nothing_anywhere(cluster):
    write(cluster, "INSERT INTO article (id, author, title, locked) VALUES (300, 3, 'fixed', true)")
    with pytest.raises(psycopg2.errors.RaiseException, match="article 300 is locked"):
        write(cluster, "UPDATE article SET title = 'other' WHERE id = 300")
    assert seen(cluster, "SELECT title FROM article WHERE id = 300") == [("fixed",)]


def test_a_key_that_is_used_again_fires_no_update(cluster):
    write(cluster, "INSERT INTO article (id, author, title) VALUES (400, 4, 'first')", "DELETE FROM article WHERE id = 400",
          "DELETE FROM article WHERE id = 400", "INSERT INTO article (id, author, title, locked) VALUES (400, 4, 'second', true)")
    assert seen(cluster, "SELECT title FROM article WHERE id = 400") == [("second",)]
    assert seen(cluster, "SELECT what FROM audit WHERE article = 400 ORDER BY id") == [("INSERT",), ("UPDATE",), ("DELETE",), ("INSERT",)]


def test_writers_on_both_nodes(cluster):
    write(cluster, "INSERT INTO article (id, author, title) SELECT 500 + n, 5, 'title ' || n FROM generate_series(1, 50) AS n")
    settle(cluster)
    with paused(cluster, *all_links(cluster)):
        for node in names(cluster):
            write(cluster, f"UPDATE article SET title = '{node} ' || id WHERE id BETWEEN 500 AND 540",
                  "DELETE FROM article WHERE id BETWEEN 530 AND 550", "DELETE FROM article WHERE id BETWEEN 540 AND 545",
                  f"INSERT INTO article (id, author, title) VALUES (540, 5, '{node} again')", node=node)
    left = dict(seen(cluster, "SELECT id::int, title FROM article WHERE id BETWEEN 500 AND 550"))
    assert left[501] == "node2 501" and left[540] == "node2 again" and 541 not in left
    # each node's own triggers told of its own writes, once
    assert seen(cluster, "SELECT what, count(*) FROM audit WHERE article BETWEEN 501 AND 550 GROUP BY 1 ORDER BY 1") == [
        ("DELETE", 2 * 6), ("INSERT", 50 + 2), ("UPDATE", 2 * (40 + 21))]
