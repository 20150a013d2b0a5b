-- A deletion arrives from a peer: it ends every older state of its key and is remembered for those still to come.
-- Arriving twice (a copy that overlaps the stream) is nothing new.
-- enable_seqscan: see merge_row.sql.
CREATE OR REPLACE FUNCTION {function}() RETURNS trigger LANGUAGE plpgsql AS $body$
#variable_conflict use_column
DECLARE
    -- the key is known before anything is stored of it: see know.sql
    ready pg_catalog.bool := {new_known} AND {indexed};
    here {table};
    ended pg_catalog.bool;
BEGIN
    -- mostly the version that was deleted is here
    DELETE FROM {table} AS t
    WHERE ({t_key}) = ({new_key}) AND t.modified_ts = NEW.unison_replaced_ts AND t.modified_node = NEW.unison_replaced_node;
    IF FOUND THEN
        RETURN NEW;
    END IF;
    DELETE FROM {table} AS t
    WHERE ({t_key}) = ({new_key}) AND (t.modified_ts, t.modified_node) <= (NEW.modified_ts, NEW.modified_node) RETURNING t.* INTO here;
    ended := FOUND;
    IF EXISTS (SELECT FROM {tombstone} AS d
               WHERE ({d_key}) = ({new_key}) AND (d.modified_ts, d.modified_node) = (NEW.modified_ts, NEW.modified_node)) THEN
        RETURN NULL;
    END IF;
    IF current_setting('unison.seeding', true) = 'on' THEN
        RETURN NEW;
    END IF;

    -- the conflict history, see conflict.sql
    IF NEW.unison_replaced_ts IS NOT NULL THEN
        PERFORM unison.note_replaced({schema_text}, {table_text}, jsonb_build_array({new_key}), NEW.unison_replaced_ts, NEW.unison_replaced_node);
    END IF;
    IF ended THEN
        PERFORM unison.note_lost({schema_text}, {table_text}, jsonb_build_array({new_key}), here.modified_ts, here.modified_node, here,
                                 NEW.modified_ts, NEW.modified_node);
    ELSE
        SELECT t.* INTO here FROM {table} AS t WHERE ({t_key}) = ({new_key});
        IF FOUND THEN
            PERFORM unison.note_lost({schema_text}, {table_text}, jsonb_build_array({new_key}), NEW.modified_ts, NEW.modified_node,
                                     NULL::{table}, here.modified_ts, here.modified_node);
        END IF;
    END IF;
    RETURN NEW;
END
$body$;

CREATE OR REPLACE TRIGGER zzz_unison_merge BEFORE INSERT ON {tombstone} FOR EACH ROW EXECUTE FUNCTION {function}();
ALTER TABLE {tombstone} ENABLE REPLICA TRIGGER zzz_unison_merge;
