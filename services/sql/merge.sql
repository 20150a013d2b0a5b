-- A row's state arrives from a peer, as an INSERT into the table itself or as an image: the newest version of its key stays.
-- The trigger's argument says where it arrived ('row' or 'image').
-- Runs in apply workers and while a peer's rows are copied (session_replication_role = replica).
CREATE OR REPLACE FUNCTION {function}() RETURNS trigger LANGUAGE plpgsql
SET search_path = pg_catalog, pg_temp AS $body$
#variable_conflict use_column
BEGIN
    -- the upsert below comes through here again
    IF pg_trigger_depth() > 1 THEN
        RETURN NEW;
    END IF;
    IF EXISTS (SELECT FROM {tombstone} AS d
               WHERE ({d_key}) = ({new_key})
                 AND (d.modified_ts, d.modified_node) > (NEW.modified_ts, NEW.modified_node)) THEN
        RETURN NULL;
    END IF;
    -- A key from the writer's own sequence has met nobody else's INSERT: if no row is here, the native path is the cheapest. For any
    -- other key two workers may insert at once, and only an upsert ends that without an error.
    IF TG_ARGV[0] = 'row' AND {own_key} AND NOT EXISTS (SELECT FROM {table} AS t WHERE ({t_key}) = ({new_key})) THEN
        RETURN NEW;
    END IF;
    INSERT INTO {table} AS t ({columns}) OVERRIDING SYSTEM VALUE VALUES ({new_columns})
    ON CONFLICT ({key}) DO UPDATE SET ({updatable}) = ROW ({excluded_updatable})
    WHERE (excluded.modified_ts, excluded.modified_node) > (t.modified_ts, t.modified_node);
    RETURN NULL;
END
$body$;

CREATE OR REPLACE TRIGGER zzz_unison_merge BEFORE INSERT ON {table} FOR EACH ROW EXECUTE FUNCTION {function}('row');
ALTER TABLE {table} ENABLE REPLICA TRIGGER zzz_unison_merge;
CREATE OR REPLACE TRIGGER zzz_unison_merge BEFORE INSERT ON {image} FOR EACH ROW EXECUTE FUNCTION {function}('image');
ALTER TABLE {image} ENABLE REPLICA TRIGGER zzz_unison_merge;
