-- outlive.sql for a table whose key is drawn from a sequence: the same, a row at a time, and not at
-- all for a fresh key (know.sql), which almost every key is. The condition is evaluated when the row
-- is in: behind every deletion of its key that the INSERT waited for. It is short, because every
-- statement parses it anew.
CREATE OR REPLACE FUNCTION {function}() RETURNS trigger LANGUAGE plpgsql SECURITY DEFINER
SET search_path = pg_catalog, pg_temp SET enable_seqscan = off AS $body$
#variable_conflict use_column
DECLARE
    ready boolean := {new_known};
BEGIN
    IF current_setting('transaction_isolation') <> 'read committed' THEN
        -- counted, because a look by primary key stops at the first row it finds
        IF (SELECT count(*) FROM {table} AS t WHERE ({t_key}) = ({new_key})) > 1 THEN
            RAISE EXCEPTION 'could not serialize access due to concurrent delete' USING ERRCODE = 'serialization_failure';
        END IF;
        PERFORM {revive}(ARRAY[ROW ({new_all})::{table}], true);
    ELSIF EXISTS (SELECT FROM {tombstone} AS d WHERE ({d_key}) = ({new_key})) THEN
        PERFORM {revive}(ARRAY[ROW ({new_all})::{table}], false);
    END IF;
    RETURN NULL;
END
$body$;

CREATE OR REPLACE TRIGGER zzz_unison_outlive AFTER INSERT ON {table}
FOR EACH ROW WHEN (({drawn_fresh}) IS NOT TRUE) EXECUTE FUNCTION {function}();
