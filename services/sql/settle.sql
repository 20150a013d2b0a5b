-- Decide between a row that arrives and what is known of its key here: the newest version stays. What the short cuts of merge_row.sql and
-- merge_image.sql do not cover ends here. A version that loses goes to the conflict history when no change of it is known (conflict.sql).
-- replaced_ts and replaced_node are the version that the arriving one replaced; NULL when it is not known.
-- enable_seqscan: see merge_row.sql.
CREATE OR REPLACE FUNCTION {function}(incoming {table}, replaced_ts timestamptz, replaced_node smallint) RETURNS void LANGUAGE plpgsql
SET enable_seqscan = off AS $body$
#variable_conflict use_column
DECLARE
    -- before anything is stored under this key: see know.sql
    ready pg_catalog.bool := {incoming_known};
    here {table};
    buried pg_catalog.record;
    present pg_catalog.bool;
    deleted pg_catalog.bool;
    lives pg_catalog.bool;
    wins pg_catalog.bool;
    known pg_catalog.bool;
BEGIN
    LOOP
        SELECT t.* INTO here FROM {table} AS t WHERE ({t_key}) = ({incoming_key}) FOR UPDATE;
        present := FOUND;
        SELECT d.modified_ts, d.modified_node, d.unison_replaced_ts, d.unison_replaced_node INTO buried
        FROM {tombstone} AS d WHERE ({d_key}) = ({incoming_key}) ORDER BY d.modified_ts DESC, d.modified_node DESC LIMIT 1;
        deleted := FOUND;
        lives := present AND (NOT deleted OR (here.modified_ts, here.modified_node) > (buried.modified_ts, buried.modified_node));
        IF lives THEN
            wins := (incoming.modified_ts, incoming.modified_node) > (here.modified_ts, here.modified_node);
        ELSE
            wins := NOT deleted OR (incoming.modified_ts, incoming.modified_node) > (buried.modified_ts, buried.modified_node);
        END IF;
        IF wins AND present THEN
            UPDATE {table} AS t SET ({updatable}) = ROW ({incoming_updatable}) WHERE ({t_key}) = ({incoming_key});
        ELSIF wins THEN
            INSERT INTO {table} ({columns}) OVERRIDING SYSTEM VALUE VALUES ({incoming_columns}) ON CONFLICT ({key}) DO NOTHING;
            -- another worker was faster
            CONTINUE WHEN NOT FOUND;
        ELSIF present AND NOT lives THEN
            -- it raced with its tombstone: what the sweep would do
            DELETE FROM {table} AS t WHERE ({t_key}) = ({incoming_key});
        END IF;
        EXIT;
    END LOOP;

    IF current_setting('unison.seeding', true) = 'on' THEN
        RETURN;
    END IF;
    IF replaced_ts IS NOT NULL THEN
        known := CASE WHEN lives THEN (here.modified_ts, here.modified_node) = (replaced_ts, replaced_node)
                      WHEN deleted THEN (buried.modified_ts, buried.modified_node) = (replaced_ts, replaced_node)
                      ELSE false END;
        -- it loses although its writer knew the current version: the first of the images that revive.sql sends
        IF NOT (known AND wins) THEN
            PERFORM unison.note_replaced({schema_text}, {table_text}, jsonb_build_array({incoming_key}), replaced_ts, replaced_node);
        END IF;
    END IF;
    IF present AND (wins OR NOT lives)
       AND (here.modified_ts, here.modified_node) IS DISTINCT FROM (replaced_ts, replaced_node)
       AND NOT (deleted AND (here.modified_ts, here.modified_node) IS NOT DISTINCT FROM (buried.unison_replaced_ts, buried.unison_replaced_node)) THEN
        PERFORM unison.note_lost({schema_text}, {table_text}, jsonb_build_array({incoming_key}), here.modified_ts, here.modified_node, here,
                                 CASE WHEN wins THEN incoming.modified_ts ELSE buried.modified_ts END,
                                 CASE WHEN wins THEN incoming.modified_node ELSE buried.modified_node END);
    END IF;
    IF wins AND deleted AND NOT lives
       AND (buried.modified_ts, buried.modified_node) IS DISTINCT FROM (replaced_ts, replaced_node) THEN
        PERFORM unison.note_lost({schema_text}, {table_text}, jsonb_build_array({incoming_key}), buried.modified_ts, buried.modified_node,
                                 NULL::{table}, incoming.modified_ts, incoming.modified_node);
    END IF;
    IF NOT wins AND lives AND (incoming.modified_ts, incoming.modified_node) <> (here.modified_ts, here.modified_node) THEN
        PERFORM unison.note_lost({schema_text}, {table_text}, jsonb_build_array({incoming_key}), incoming.modified_ts, incoming.modified_node,
                                 incoming, here.modified_ts, here.modified_node);
    -- equal to a deletion is only what its writer is about to make later than it (revive.sql)
    ELSIF NOT wins AND NOT lives AND (incoming.modified_ts, incoming.modified_node) <> (buried.modified_ts, buried.modified_node) THEN
        PERFORM unison.note_lost({schema_text}, {table_text}, jsonb_build_array({incoming_key}), incoming.modified_ts, incoming.modified_node,
                                 incoming, buried.modified_ts, buried.modified_node);
    END IF;
END
$body$;
