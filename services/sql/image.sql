-- Send the changed rows, whole, to the peers; one statement however many rows.
-- A changed primary key is a deletion and an insertion. Which row went to which key cannot be told from here, so when an old key
-- is gone, all old keys of the statement are buried, and what stands under an old or a new key is made later than that (revive.sql).
-- That an old key is gone is told by a setting, because a second statement costs a single-row transaction as much as the first.
-- Without nested loops: the plan is kept for the session, and one that was made for a single row would be quadratic for many.
CREATE OR REPLACE FUNCTION {function}() RETURNS trigger LANGUAGE plpgsql SECURITY DEFINER
SET search_path = pg_catalog, pg_temp SET enable_nestloop = off SET enable_seqscan = off AS $body$
#variable_conflict use_column
DECLARE
    moved text := set_config('unison.moved', 'no', true);
BEGIN
    INSERT INTO {image} ({columns}, unison_replaced_ts, unison_replaced_node)
    SELECT {n_columns}, o.modified_ts, o.modified_node FROM new_rows AS n LEFT JOIN old_rows AS o ON ({n_key}) = ({o_key})
    -- keys are unique before and after: a partner for each row means that each row kept its key
    WHERE o.modified_ts IS NOT NULL OR set_config('unison.moved', 'yes', true) IS NULL;
    IF current_setting('unison.moved') = 'yes' THEN
        INSERT INTO {tombstone} ({key}, modified_ts, modified_node, unison_replaced_ts, unison_replaced_node)
        SELECT {o_key}, greatest(clock_timestamp(), o.modified_ts + '1 microsecond'::interval), {node}, o.modified_ts, o.modified_node
        FROM old_rows AS o WHERE {o_known};
        -- a row under a new key that was deleted after this snapshot was taken: see outlive.sql
        IF current_setting('transaction_isolation') <> 'read committed'
           AND EXISTS (SELECT FROM new_rows AS n WHERE (SELECT count(*) FROM {table} AS t WHERE ({t_key}) = ({n_key})) > 1) THEN
            RAISE EXCEPTION 'could not serialize access due to concurrent delete' USING ERRCODE = 'serialization_failure';
        END IF;
        -- the same statement, or a trigger of the user's, may have put other rows under the old keys
        PERFORM {revive}(ARRAY(SELECT ROW ({n_all})::{table} FROM new_rows AS n), ARRAY(SELECT ROW ({o_all})::{table} FROM old_rows AS o));
    END IF;
    RETURN NULL;
END
$body$;

CREATE OR REPLACE TRIGGER zzz_unison_image AFTER UPDATE ON {table}
REFERENCING OLD TABLE AS old_rows NEW TABLE AS new_rows FOR EACH STATEMENT EXECUTE FUNCTION {function}();
