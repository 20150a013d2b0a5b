-- TRUNCATE deletes every row, on every node: first as a DELETE, with its tombstones, then what TRUNCATE does here.
-- With an older snapshot the DELETE would not see what TRUNCATE removes.
CREATE OR REPLACE FUNCTION {function}() RETURNS trigger LANGUAGE plpgsql SECURITY DEFINER
SET search_path = pg_catalog, pg_temp AS $body$
BEGIN
    IF current_setting('transaction_isolation') <> 'read committed' THEN
        RAISE EXCEPTION 'cannot truncate replicated table "%" in a % transaction', TG_TABLE_NAME, current_setting('transaction_isolation')
        USING ERRCODE = 'feature_not_supported', DETAIL = 'Rows that this transaction does not see would stay on the other nodes.',
              HINT = 'Use READ COMMITTED, or DELETE.';
    END IF;
    DELETE FROM {table};
    RETURN NULL;
END
$body$;

CREATE OR REPLACE TRIGGER zzz_unison_truncate BEFORE TRUNCATE ON {table}
FOR EACH STATEMENT EXECUTE FUNCTION {function}();
