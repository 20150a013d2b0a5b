-- Remember the deleted keys, with a version later than the row's; the INSERT is the message to the peers.
CREATE OR REPLACE FUNCTION {function}() RETURNS trigger LANGUAGE plpgsql SECURITY DEFINER
SET search_path = pg_catalog, pg_temp AS $body$
BEGIN
    INSERT INTO {tombstone} ({key}, modified_ts, modified_node)
    SELECT {o_key}, greatest(clock_timestamp(), o.modified_ts + '1 microsecond'::interval), {node} FROM old_rows AS o;
    RETURN NULL;
END
$body$;

CREATE OR REPLACE TRIGGER zzz_unison_bury AFTER DELETE ON {table}
REFERENCING OLD TABLE AS old_rows FOR EACH STATEMENT EXECUTE FUNCTION {function}();
