-- When was this key last deleted? NULL when it never was. As the owner, because writers may not read tombstones.
CREATE OR REPLACE FUNCTION {buried}(r {table}) RETURNS timestamptz LANGUAGE sql VOLATILE SECURITY DEFINER
SET search_path = pg_catalog, pg_temp AS $body$
    SELECT max(d.modified_ts) FROM {tombstone} AS d WHERE ({d_key}) = ({r_key})
$body$;

-- Give a changed row its version: later than the clock says, and later than the version it replaces, so that what a user
-- saw and overwrote loses everywhere, however slow this node's clock is. Not before the floor, as in stamp_insert.sql: the key may be a new one.
-- Below another trigger it may be the new stamp that revive.sql asks for: then it must also be later than the tombstone.
CREATE OR REPLACE FUNCTION {function}() RETURNS trigger LANGUAGE plpgsql AS $body$
BEGIN
    NEW.modified_ts := greatest(pg_catalog.clock_timestamp(), OLD.modified_ts OPERATOR(pg_catalog.+) '1 microsecond'::pg_catalog.interval,
                                pg_catalog.to_timestamp(pg_catalog.pg_sequence_last_value('unison.floor')));
    NEW.modified_node := {node};
    IF pg_catalog.pg_trigger_depth() OPERATOR(pg_catalog.>) 1 THEN
        NEW.modified_ts := greatest(NEW.modified_ts,
                                    {buried}(NEW) OPERATOR(pg_catalog.+) '1 microsecond'::pg_catalog.interval);
    END IF;
    RETURN NEW;
END
$body$;

CREATE OR REPLACE TRIGGER zzz_unison_stamp_update BEFORE UPDATE ON {table}
FOR EACH ROW EXECUTE FUNCTION {function}();
