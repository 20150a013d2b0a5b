-- Remember the deleted keys, with a version later than the row's; the INSERT is the message to the peers.
-- The same statement, or a trigger of the user's, may have put a row of such a key back already: that row is later.
CREATE OR REPLACE FUNCTION {function}() RETURNS trigger LANGUAGE plpgsql SECURITY DEFINER
SET search_path = pg_catalog, pg_temp SET enable_seqscan = off AS $body$
#variable_conflict use_column
BEGIN
    INSERT INTO {tombstone} ({key}, modified_ts, modified_node, unison_replaced_ts, unison_replaced_node)
    SELECT {o_key}, greatest(clock_timestamp(), o.modified_ts + '1 microsecond'::interval), {node}, o.modified_ts, o.modified_node
    FROM old_rows AS o;
    -- OFFSET 0 and enable_seqscan keep the planner to one look into the index for each row: the plan is kept for the session, whatever it was
    -- made for
    IF EXISTS (SELECT FROM old_rows AS o, LATERAL (SELECT FROM {table} AS t WHERE ({t_key}) = ({o_key}) OFFSET 0) AS t) THEN
        PERFORM {revive}(ARRAY[]::{table}[], ARRAY(SELECT ROW ({o_all})::{table} FROM old_rows AS o));
    END IF;
    RETURN NULL;
END
$body$;

CREATE OR REPLACE TRIGGER zzz_unison_bury AFTER DELETE ON {table}
REFERENCING OLD TABLE AS old_rows FOR EACH STATEMENT EXECUTE FUNCTION {function}();
