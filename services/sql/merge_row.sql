-- A row arrives from a peer, as somebody inserted it, or as the peer holds it while a link is seeded: the newest version of its key stays.
-- Runs in apply workers and while a peer's rows are copied (session_replication_role = replica).
-- A plan is kept as long as the worker lives. One that was made while the table was empty would read it from end to end for each row, hence
-- enable_seqscan. The search_path needs no setting: an apply worker's is empty, and the seed sets its own.
CREATE OR REPLACE FUNCTION {function}() RETURNS trigger LANGUAGE plpgsql
SET enable_seqscan = off AS $body$
#variable_conflict use_column
BEGIN
    -- what is inserted below comes through here again
    IF pg_trigger_depth() > 1 THEN
        RETURN NEW;
    END IF;
    -- A key from the writer's own sequence has met nobody else's INSERT: if nothing is known of it here, the native path is the cheapest.
    IF {own_key} THEN
        IF NOT EXISTS (SELECT FROM {table} AS t WHERE ({t_key}) = ({new_key}))
           AND NOT EXISTS (SELECT FROM {tombstone} AS d WHERE ({d_key}) = ({new_key})) THEN
            RETURN NEW;
        END IF;
    ELSE
        -- for any other key two workers may insert at once, and only this ends that without an error
        INSERT INTO {table} ({columns}) OVERRIDING SYSTEM VALUE
        SELECT {new_columns} WHERE NOT EXISTS (SELECT FROM {tombstone} AS d WHERE ({d_key}) = ({new_key}))
        ON CONFLICT ({key}) DO NOTHING;
        IF FOUND THEN
            RETURN NULL;
        END IF;
    END IF;
    PERFORM {settle}(NEW, NULL, NULL);
    RETURN NULL;
END
$body$;

CREATE OR REPLACE TRIGGER zzz_unison_merge BEFORE INSERT ON {table} FOR EACH ROW EXECUTE FUNCTION {function}();
ALTER TABLE {table} ENABLE REPLICA TRIGGER zzz_unison_merge;
