-- outlive.sql for a row that got another key: a deletion of that key that the UPDATE waited for may
-- have been stamped after it. Fires where the statement names a column of the key; a key that only
-- a trigger changes has move.sql alone.
CREATE OR REPLACE FUNCTION {function}() RETURNS trigger LANGUAGE plpgsql SECURITY DEFINER
SET search_path = pg_catalog, pg_temp SET enable_seqscan = off AS $body$
#variable_conflict use_column
BEGIN
    IF {same_key} THEN
        RETURN NULL;
    END IF;
    -- counted, because a look by primary key stops at the first row it finds
    IF current_setting('transaction_isolation') <> 'read committed'
       AND (SELECT count(*) FROM {table} AS t WHERE ({t_key}) = ({new_key})) > 1 THEN
        RAISE EXCEPTION 'could not serialize access due to concurrent delete' USING ERRCODE = 'serialization_failure';
    END IF;
    IF EXISTS (SELECT FROM {tombstone} AS d
               WHERE ({d_key}) = ({new_key}) AND (d.modified_ts, d.modified_node) >= (NEW.modified_ts, NEW.modified_node)) THEN
        PERFORM {revive}(ARRAY[ROW ({new_all})::{table}], false);
    END IF;
    RETURN NULL;
END
$body$;

CREATE OR REPLACE TRIGGER zzz_unison_outlive_moved AFTER UPDATE OF {key} ON {table}
FOR EACH ROW EXECUTE FUNCTION {function}();
