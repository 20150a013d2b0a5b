-- A key that was deleted is used again: the new row must be later than its tombstone (revive.sql).
-- The stamp of the INSERT alone cannot promise that: the clock may be slow, and a DELETE of the same
-- key that this INSERT waited for may have been stamped after it. Here, after the row is in, the
-- tombstone it outlived is visible. Not to an older snapshot, though. That one still shows the deleted
-- row beside the new one, or has never shown it; the first is an access that cannot be serialized, and
-- in the second a stamp of now is later than the deletion.
CREATE OR REPLACE FUNCTION {function}() RETURNS trigger LANGUAGE plpgsql SECURITY DEFINER
SET search_path = pg_catalog, pg_temp SET enable_seqscan = off AS $body$
#variable_conflict use_column
BEGIN
    IF current_setting('transaction_isolation') <> 'read committed' THEN
        -- counted, because a join on a primary key stops at the first row it finds
        IF EXISTS (SELECT FROM new_rows AS n WHERE (SELECT count(*) FROM {table} AS t WHERE ({t_key}) = ({n_key})) > 1) THEN
            RAISE EXCEPTION 'could not serialize access due to concurrent delete' USING ERRCODE = 'serialization_failure';
        END IF;
        PERFORM {revive}(ARRAY(SELECT ROW ({n_all})::{table} FROM new_rows AS n), true);
    -- OFFSET 0 and enable_seqscan keep the planner to one look into the index for each row: the plan is
    -- kept for the session, whatever it was made for
    ELSIF EXISTS (SELECT FROM new_rows AS n, LATERAL (SELECT FROM {tombstone} AS d WHERE ({d_key}) = ({n_key}) OFFSET 0) AS d) THEN
        PERFORM {revive}(ARRAY(SELECT ROW ({n_all})::{table} FROM new_rows AS n
                               WHERE EXISTS (SELECT FROM {tombstone} AS d WHERE ({d_key}) = ({n_key}))), false);
    END IF;
    RETURN NULL;
END
$body$;

CREATE OR REPLACE TRIGGER zzz_unison_outlive AFTER INSERT ON {table}
REFERENCING NEW TABLE AS new_rows FOR EACH STATEMENT EXECUTE FUNCTION {function}();
