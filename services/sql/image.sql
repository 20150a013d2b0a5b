-- Give a changed row its version, and send it whole to the peers.
--
-- The version is later than the clock says, and later than the version it replaces, so that what a
-- user saw and overwrote loses everywhere, however slow this node's clock is. It is not before the
-- floor, as in stamp_insert.sql: the key may be a new one.
--
-- A row at a time, because a statement may change a row more than once (cascades of foreign keys,
-- triggers of the user's) and change its key on the way: only here is it certain which row was
-- which. The row is locked already, and this is the last trigger before it is changed (fitness.py
-- and guard.sql refuse triggers that sort behind it), so what is sent here happens.
--
-- Below another trigger it may be the new version that revive.sql asks for: then it must be later
-- than the tombstone of its key, too. So must a row that comes under a new key (move.sql).
--
-- Every name is qualified: it runs as the owner, and a setting would cost more than all of this.
CREATE OR REPLACE FUNCTION {function}() RETURNS trigger LANGUAGE plpgsql SECURITY DEFINER AS $body$
DECLARE
    deleted pg_catalog.record;
BEGIN
    NEW.modified_ts := greatest(
        pg_catalog.clock_timestamp(),
        OLD.modified_ts OPERATOR(pg_catalog.+) '1 microsecond'::pg_catalog.interval,
        pg_catalog.to_timestamp(pg_catalog.pg_sequence_last_value('unison.floor')));
    NEW.modified_node := {node};
    IF NOT {same_key} THEN
        SELECT m.* INTO deleted FROM {move}(OLD, NEW) AS m;
        NEW.modified_ts := greatest(NEW.modified_ts, deleted.modified_ts
            OPERATOR(pg_catalog.+) '1 microsecond'::pg_catalog.interval);
        INSERT INTO {image} ({columns}, unison_replaced_ts, unison_replaced_node)
        VALUES ({new_columns}, deleted.modified_ts, deleted.modified_node);
        RETURN NEW;
    ELSIF pg_catalog.pg_trigger_depth() OPERATOR(pg_catalog.>) 1 THEN
        SELECT b.* INTO deleted FROM {latest}(NEW) AS b;
        NEW.modified_ts := greatest(NEW.modified_ts, deleted.modified_ts
            OPERATOR(pg_catalog.+) '1 microsecond'::pg_catalog.interval);
    END IF;
    INSERT INTO {image} ({columns}, unison_replaced_ts, unison_replaced_node)
    VALUES ({new_columns}, OLD.modified_ts, OLD.modified_node);
    RETURN NEW;
END
$body$;

CREATE OR REPLACE TRIGGER zzz_unison_image BEFORE UPDATE ON {table}
FOR EACH ROW EXECUTE FUNCTION {function}();
