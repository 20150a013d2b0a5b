-- Give a new row its version. Every name is qualified: a caller's search_path must not choose the operators.
-- Never before the floor: tombstones from before it may be forgotten here, while another node still knows them (round.sql).
CREATE OR REPLACE FUNCTION {function}() RETURNS trigger LANGUAGE plpgsql AS $body$
BEGIN
    NEW.modified_ts := greatest(pg_catalog.clock_timestamp(), pg_catalog.to_timestamp(pg_catalog.pg_sequence_last_value('unison.floor')));
    NEW.modified_node := {node};
    RETURN NEW;
END
$body$;

-- Its name sorts last among the BEFORE triggers, so that no other one changes the version after it.
CREATE OR REPLACE TRIGGER zzz_unison_stamp_insert BEFORE INSERT ON {table}
FOR EACH ROW EXECUTE FUNCTION {function}();
