-- Remember the deleted keys, with a version later than the row's; the INSERT is the message to the peers.
-- The same statement, or a trigger of the user's, may have put a row of such a key back already: that row is later, and stamped so.
CREATE OR REPLACE FUNCTION {function}() RETURNS trigger LANGUAGE plpgsql SECURITY DEFINER
SET search_path = pg_catalog, pg_temp AS $body$
#variable_conflict use_column
BEGIN
    INSERT INTO {tombstone} ({key}, modified_ts, modified_node)
    SELECT {o_key}, greatest(clock_timestamp(), o.modified_ts + '1 microsecond'::interval), {node} FROM old_rows AS o;
    IF EXISTS (SELECT FROM {table} AS t JOIN old_rows AS o ON ({t_key}) = ({o_key})) THEN
        UPDATE {table} AS t SET modified_node = t.modified_node FROM old_rows AS o WHERE ({t_key}) = ({o_key});
    END IF;
    RETURN NULL;
END
$body$;

CREATE OR REPLACE TRIGGER zzz_unison_bury AFTER DELETE ON {table}
REFERENCING OLD TABLE AS old_rows FOR EACH STATEMENT EXECUTE FUNCTION {function}();
