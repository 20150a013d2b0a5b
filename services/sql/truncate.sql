-- TRUNCATE deletes every row, on every node: first as a DELETE, with its tombstones, then what TRUNCATE does here.
CREATE OR REPLACE FUNCTION {function}() RETURNS trigger LANGUAGE plpgsql SECURITY DEFINER
SET search_path = pg_catalog, pg_temp AS $body$
BEGIN
    DELETE FROM {table};
    RETURN NULL;
END
$body$;

CREATE OR REPLACE TRIGGER zzz_unison_truncate BEFORE TRUNCATE ON {table}
FOR EACH STATEMENT EXECUTE FUNCTION {function}();
