-- Remember the deleted keys, with a version later than the row's; the INSERT is the message to the peers. They are known then (know.sql).
-- The same statement, or a trigger of the user's, may have put a row of such a key back already: that row is later.
-- One statement looks for those, too, because each costs a single-row transaction as much as all else does; it tells by a setting.
CREATE OR REPLACE FUNCTION {function}() RETURNS trigger LANGUAGE plpgsql SECURITY DEFINER
SET search_path = pg_catalog, pg_temp SET enable_seqscan = off AS $body$
#variable_conflict use_column
DECLARE
    back text := set_config('unison.back', 'no', true);
BEGIN
    -- OFFSET 0 and enable_seqscan keep the planner to one look into the index for each row: the plan is kept for the session, whatever it was
    -- made for
    INSERT INTO {tombstone} ({key}, modified_ts, modified_node, unison_replaced_ts, unison_replaced_node)
    SELECT {o_key}, greatest(clock_timestamp(), o.modified_ts + '1 microsecond'::interval), {node}, o.modified_ts, o.modified_node
    FROM old_rows AS o
    WHERE {o_known}
      AND CASE WHEN EXISTS (SELECT FROM {table} AS t WHERE ({t_key}) = ({o_key}) OFFSET 0)
          THEN set_config('unison.back', 'yes', true) IS NOT NULL ELSE true END;
    IF current_setting('unison.back') = 'yes' THEN
        PERFORM {revive}(ARRAY[]::{table}[], ARRAY(SELECT ROW ({o_all})::{table} FROM old_rows AS o));
    END IF;
    RETURN NULL;
END
$body$;

CREATE OR REPLACE TRIGGER zzz_unison_bury AFTER DELETE ON {table}
REFERENCING OLD TABLE AS old_rows FOR EACH STATEMENT EXECUTE FUNCTION {function}();
