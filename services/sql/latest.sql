-- The newest tombstone of a row's key; no row when there is none.
CREATE OR REPLACE FUNCTION {function}(r {table}) RETURNS TABLE (modified_ts timestamptz, modified_node smallint)
LANGUAGE plpgsql VOLATILE SET search_path = pg_catalog, pg_temp SET enable_seqscan = off AS $body$
#variable_conflict use_column
BEGIN
    RETURN QUERY SELECT d.modified_ts, d.modified_node FROM {tombstone} AS d WHERE ({d_key}) = ({r_key})
                 ORDER BY d.modified_ts DESC, d.modified_node DESC LIMIT 1;
END
$body$;
