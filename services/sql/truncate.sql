-- TRUNCATE deletes every row, on every node: first the tombstones, as bury.sql writes them, then what TRUNCATE does here.
-- No DELETE: it would ask for the foreign keys of one table at a time, which TRUNCATE asks for all its tables at once.
-- Its keys are known then (know.sql). With an older snapshot the tombstones would not be of all that TRUNCATE removes.
CREATE OR REPLACE FUNCTION {function}() RETURNS trigger LANGUAGE plpgsql SECURITY DEFINER
SET search_path = pg_catalog, pg_temp AS $body$
#variable_conflict use_column
BEGIN
    IF current_setting('transaction_isolation') <> 'read committed' THEN
        RAISE EXCEPTION 'cannot truncate replicated table "%" in a % transaction', TG_TABLE_NAME, current_setting('transaction_isolation')
        USING ERRCODE = 'feature_not_supported', DETAIL = 'Rows that this transaction does not see would stay on the other nodes.',
              HINT = 'Use READ COMMITTED, or DELETE.';
    END IF;
    INSERT INTO {tombstone} ({key}, modified_ts, modified_node, unison_replaced_ts, unison_replaced_node)
    SELECT {t_key}, greatest(clock_timestamp(), t.modified_ts + '1 microsecond'::interval), {node}, t.modified_ts, t.modified_node
    FROM {table} AS t WHERE {t_known};
    RETURN NULL;
END
$body$;

CREATE OR REPLACE TRIGGER zzz_unison_truncate BEFORE TRUNCATE ON {table}
FOR EACH STATEMENT EXECUTE FUNCTION {function}();
