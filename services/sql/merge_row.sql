-- A row arrives from a peer, as somebody inserted it, or as the peer holds it while a link is seeded: the newest version of its key stays.
-- Runs in apply workers and while a peer's rows are copied (session_replication_role = replica).
-- A plan is kept as long as the worker lives. One that was made while the table was empty would read it from end to end for each row, hence
-- enable_seqscan, which is off for the rest of the session: a function's own setting would cost more than all of the short cut. The search_path needs
-- no setting: an apply worker's is empty, and the seed sets its own.
-- Where a worker has ever failed, the first transaction of a session takes no short cut, and a seed never does: so a worker that met an unforeseen row of a
-- fresh key, and failed, merges it at its next try. unison.careful is that transaction, or 'never'; the first row of the next one finds that it has ended.
CREATE OR REPLACE FUNCTION {function}() RETURNS trigger LANGUAGE plpgsql AS $body$
#variable_conflict use_column
DECLARE
    ready pg_catalog.bool;
    careful pg_catalog.text;
BEGIN
    -- A fresh key from the writer's own sequence (know.sql): nothing can be known of it here, and the native path is the cheapest.
    IF {sent_fresh} AND current_setting('unison.careful', true) = 'never' THEN
        RETURN NEW;
    END IF;
    -- what is inserted below comes through here again
    IF pg_trigger_depth() > 1 THEN
        RETURN NEW;
    END IF;
    ready := {new_known} AND {indexed};
    careful := nullif(current_setting('unison.careful', true), '');
    IF careful IS NULL THEN
        PERFORM set_config('unison.careful', CASE WHEN EXISTS (SELECT FROM pg_catalog.pg_stat_subscription_stats WHERE apply_error_count > 0)
                                             THEN pg_current_xact_id()::pg_catalog.text ELSE 'never' END, false);
    ELSIF careful NOT IN ('never', pg_current_xact_id()::pg_catalog.text) THEN
        PERFORM set_config('unison.careful', 'never', false);
    END IF;
    -- two workers, or one and a seed, may insert at once, and only this ends that without an error
    INSERT INTO {table} ({columns}) OVERRIDING SYSTEM VALUE
    SELECT {new_columns} WHERE NOT EXISTS (SELECT FROM {tombstone} AS d WHERE ({d_key}) = ({new_key}))
    ON CONFLICT ({key}) DO NOTHING;
    IF NOT FOUND THEN
        PERFORM {settle}(NEW, NULL, NULL);
    END IF;
    RETURN NULL;
END
$body$;

CREATE OR REPLACE TRIGGER zzz_unison_merge BEFORE INSERT ON {table} FOR EACH ROW EXECUTE FUNCTION {function}();
ALTER TABLE {table} ENABLE REPLICA TRIGGER zzz_unison_merge;
