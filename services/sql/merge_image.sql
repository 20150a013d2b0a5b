-- A changed row arrives from a peer. Mostly the version that it replaced is here: then it takes its place, and there is nothing else to ask,
-- because a tombstone that is newer would have removed that row. Otherwise settle.sql decides.
-- enable_seqscan: see merge_row.sql.
CREATE OR REPLACE FUNCTION {function}() RETURNS trigger LANGUAGE plpgsql AS $body$
#variable_conflict use_column
DECLARE
    ready pg_catalog.bool := {indexed};
BEGIN
    UPDATE {table} AS t SET ({updatable}) = ROW ({new_updatable})
    WHERE ({t_key}) = ({new_key})
      AND t.modified_ts = NEW.unison_replaced_ts AND t.modified_node = NEW.unison_replaced_node;
    IF NOT FOUND THEN
        PERFORM {settle}(ROW ({new_all})::{table}, NEW.unison_replaced_ts, NEW.unison_replaced_node);
    END IF;
    RETURN NULL;
END
$body$;

CREATE OR REPLACE TRIGGER zzz_unison_merge BEFORE INSERT ON {image} FOR EACH ROW EXECUTE FUNCTION {function}();
ALTER TABLE {image} ENABLE REPLICA TRIGGER zzz_unison_merge;
