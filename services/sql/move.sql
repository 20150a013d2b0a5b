-- A row gets another key: a deletion of the old one, and an insertion under the new one, whose
-- newest tombstone is answered; no row when there is none. Both keys are known then (know.sql).
--
-- Whoever deletes the row that has the new key now is waited for, so that its tombstone is seen. One
-- that comes between this look and the change is found by outlive_moved.sql.
CREATE OR REPLACE FUNCTION {function}(gone {table}, arriving {table})
RETURNS TABLE (modified_ts timestamptz, modified_node smallint)
LANGUAGE plpgsql VOLATILE SET search_path = pg_catalog, pg_temp SET enable_seqscan = off AS $body$
#variable_conflict use_column
BEGIN
    INSERT INTO {tombstone} ({key}, modified_ts, modified_node, unison_replaced_ts, unison_replaced_node)
    SELECT {gone_key}, greatest(clock_timestamp(), gone.modified_ts + '1 microsecond'::interval), {node},
           gone.modified_ts, gone.modified_node
    WHERE {gone_known} AND {arriving_known}
    -- a row that was not yet given a version later than its tombstone: that one ends it
    ON CONFLICT DO NOTHING;
    PERFORM FROM {table} AS t WHERE ({t_key}) = ({arriving_key}) FOR KEY SHARE;
    RETURN QUERY SELECT m.* FROM {latest}(arriving) AS m;
END
$body$;
