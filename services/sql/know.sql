-- Which keys may be known already? For a table whose key is drawn from a sequence, a sequence of the merge's own says it, because every session sees
-- that one at once, and because it costs next to nothing to read: keys whose place in their node's range is above its value are *fresh* here. Nothing
-- is known of them but what the writer who drew them has inserted: no tombstone was ever stored for such a key, and no row came in another way.
-- The value only rises: before a tombstone is stored, and before a row is stored under a key that was not drawn where the row was written.
-- So whoever sees a fresh key need not look for it (outlive_drawn.sql, merge_row.sql).

-- Let keys up to the place of this one in its range be known; always true. A thousand at once, so that this is rare. A key of no node's range, such as
-- -1, is never fresh. It is not called "know" because merges of older versions call that with a place.
-- One at a time, or a lower value could be set after a higher one. The lock ends with the subtransaction, whose failure nothing in a sequence feels. It is on a
-- table that only the owner may lock: an advisory lock could be taken, and kept, by anybody who reads.
-- (nextval would need no lock, but would change what a client's lastval() answers.)
CREATE OR REPLACE FUNCTION unison.know_key(known regclass, key bigint) RETURNS boolean LANGUAGE plpgsql
SET search_path = pg_catalog, pg_temp AS $body$
DECLARE
    -- of 2^31 keys each (services/sequence.py)
    node bigint := key >> 31;
    place bigint := key & 2147483647;
BEGIN
    IF node NOT BETWEEN 1 AND 32767 THEN
        RETURN true;
    END IF;
    BEGIN
        LOCK TABLE unison.knowing IN EXCLUSIVE MODE;
        IF pg_sequence_last_value(known) < place THEN
            PERFORM setval(known, place | 1023);
        END IF;
        RAISE SQLSTATE 'UN001';
    EXCEPTION WHEN SQLSTATE 'UN001' THEN
        RETURN true;
    END;
END
$body$;
