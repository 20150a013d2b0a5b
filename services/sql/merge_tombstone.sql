-- A deletion arrives from a peer: it ends every older state of its key and is remembered for those still to come.
-- Arriving twice (a copy that overlaps the stream) is nothing new.
CREATE OR REPLACE FUNCTION {function}() RETURNS trigger LANGUAGE plpgsql
SET search_path = pg_catalog, pg_temp AS $body$
#variable_conflict use_column
BEGIN
    DELETE FROM {table} AS t
    WHERE ({t_key}) = ({new_key})
      AND (t.modified_ts, t.modified_node) < (NEW.modified_ts, NEW.modified_node);
    IF EXISTS (SELECT FROM {tombstone} AS d
               WHERE ({d_key}) = ({new_key})
                 AND (d.modified_ts, d.modified_node) = (NEW.modified_ts, NEW.modified_node)) THEN
        RETURN NULL;
    END IF;
    RETURN NEW;
END
$body$;

CREATE OR REPLACE TRIGGER zzz_unison_merge BEFORE INSERT ON {tombstone} FOR EACH ROW EXECUTE FUNCTION {function}();
ALTER TABLE {tombstone} ENABLE REPLICA TRIGGER zzz_unison_merge;
