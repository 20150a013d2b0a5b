-- The history of conflicts, on each node: the versions that lost to another one although nobody who changed the row had seen them.
--
-- Each change carries the version that it replaced. So the versions of a key are a tree, and what a user wrote is lost when its version
-- is neither the current one nor replaced by any other. Whether it is, may be known only later: changes of different nodes arrive in any order. A
-- version that loses is written down at once; when one arrives that replaced it, it is struck out again; and when that one arrived before it,
-- unison.replaced remembers, until everything older has arrived (maintenance.py).
-- A deletion is written down when it loses to a row; that two nodes deleted a row is no loss.

-- A change has arrived that replaced this version, which is not current here.
CREATE OR REPLACE FUNCTION unison.note_replaced(of_schema text, of_table text, of_key jsonb, of_ts timestamptz, of_node smallint) RETURNS void
LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp AS $body$
BEGIN
    DELETE FROM unison.conflict AS c
    WHERE c.lost_ts = of_ts AND c.lost_node = of_node AND c.key_hash = hashtextextended(of_key::text, 0)
      AND c.schema_name = of_schema AND c.table_name = of_table;
    INSERT INTO unison.replaced (version_ts, version_node, key_hash, schema_name, table_name)
    VALUES (of_ts, of_node, hashtextextended(of_key::text, 0), of_schema, of_table) ON CONFLICT DO NOTHING;
END
$body$;

-- This version has lost to another one. What cannot be written as JSON (a value of more than 256 MB) must not stop the replication.
CREATE OR REPLACE FUNCTION unison.note_lost(of_schema text, of_table text, of_key jsonb, of_ts timestamptz, of_node smallint, of_row anyelement,
                                            winner_ts timestamptz, winner_node smallint) RETURNS void
LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp AS $body$
DECLARE
    lost_row jsonb;
BEGIN
    IF EXISTS (SELECT FROM unison.replaced AS r
               WHERE r.version_ts = of_ts AND r.version_node = of_node AND r.key_hash = hashtextextended(of_key::text, 0)
                 AND r.schema_name = of_schema AND r.table_name = of_table) THEN
        RETURN;
    END IF;
    BEGIN
        lost_row := to_jsonb(of_row);
    EXCEPTION WHEN OTHERS THEN
        lost_row := jsonb_build_object('unison_error', sqlerrm);
    END;
    INSERT INTO unison.conflict (schema_name, table_name, key, key_hash, lost_ts, lost_node, lost_row, won_ts, won_node)
    VALUES (of_schema, of_table, of_key, hashtextextended(of_key::text, 0), of_ts, of_node, lost_row, winner_ts, winner_node)
    ON CONFLICT DO NOTHING;
END
$body$;
