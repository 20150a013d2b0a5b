-- outlive.sql for a table whose key is drawn from a sequence: the same, but not for a fresh key
-- (know.sql), which almost every key is. What is known is read when the rows are in: behind every
-- deletion of their keys that the INSERT waited for.
--
-- A statement trigger without a WHEN, because each statement parses and plans that anew, and without
-- settings, for the same reason: it costs each INSERT less. So every name is qualified, as a caller's
-- search_path must not choose the operators, and enable_seqscan is set where it is needed (bury.sql).
CREATE OR REPLACE FUNCTION {function}() RETURNS trigger LANGUAGE plpgsql SECURITY DEFINER AS $body$
#variable_conflict use_column
<<part>>
DECLARE
    last_known pg_catalog.int8 := {drawn_last};
BEGIN
    PERFORM FROM new_rows AS n WHERE ({n_drawn_fresh}) IS NOT TRUE;
    IF NOT FOUND THEN
        RETURN NULL;
    END IF;

    -- a block of its own: what it declares costs nothing above
    DECLARE
        planned_with pg_catalog.text := pg_catalog.current_setting('enable_seqscan');
        changed pg_catalog.text := pg_catalog.set_config('enable_seqscan', 'off', true);
        inserted {table};
    BEGIN
        -- keys from elsewhere are known now
        PERFORM FROM new_rows AS n WHERE CASE WHEN {n_drawn_fresh} THEN false ELSE NOT {n_known} END;
        IF pg_catalog.current_setting('transaction_isolation') OPERATOR(pg_catalog.<>) 'read committed' THEN
            FOR inserted IN SELECT {n_all} FROM new_rows AS n WHERE ({n_drawn_fresh}) IS NOT TRUE LOOP
                -- counted, because a look by primary key stops at the first row it finds
                IF (SELECT pg_catalog.count(*) FROM {table} AS t
                    WHERE ({t_key}) OPERATOR(pg_catalog.=) ({inserted_key})) OPERATOR(pg_catalog.>) 1 THEN
                    RAISE EXCEPTION 'could not serialize access due to concurrent delete' USING ERRCODE = 'serialization_failure';
                END IF;
                PERFORM {revive}(ARRAY[inserted], true);
            END LOOP;
        -- OFFSET 0: see outlive.sql
        ELSIF EXISTS (SELECT FROM new_rows AS n, LATERAL (SELECT FROM {tombstone} AS d
                                                          WHERE ({d_key}) OPERATOR(pg_catalog.=) ({n_key}) OFFSET 0) AS d) THEN
            PERFORM {revive}(ARRAY(SELECT ROW ({n_all})::{table} FROM new_rows AS n
                                   WHERE EXISTS (SELECT FROM {tombstone} AS d
                                                 WHERE ({d_key}) OPERATOR(pg_catalog.=) ({n_key}))), false);
        END IF;
        changed := pg_catalog.set_config('enable_seqscan', planned_with, true);
    END;
    RETURN NULL;
END
$body$;

CREATE OR REPLACE TRIGGER zzz_unison_outlive AFTER INSERT ON {table}
REFERENCING NEW TABLE AS new_rows FOR EACH STATEMENT EXECUTE FUNCTION {function}();
