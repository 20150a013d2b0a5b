-- The merge of public.table1 (id bigserial, col1 text, col2 text), as node1 has it installed.
-- Written by "make docs" from services/sql/; a test compares the two. To be read, not to be run:
-- services/table.py installs it, as the table's owner and in one transaction with more around it.
-- docs/life-of-a-change.md follows a row through it.
--
-- For writers      zzz_unison_stamp_insert  BEFORE INSERT       the row's version
--                  zzz_unison_outlive       AFTER INSERT        a deleted key is used again
--                  zzz_unison_image         BEFORE UPDATE       the row's version, and its image
--                  zzz_unison_outlive_moved AFTER UPDATE OF id  the same as outlive, for a new key
--                  zzz_unison_bury          AFTER DELETE        tombstones
--                  zzz_unison_truncate      BEFORE TRUNCATE     tombstones
-- For apply workers zzz_unison_merge        BEFORE INSERT       on the table, its images, its tombstones
--
-- Which of two concurrent changes of a row wins is decided in settle.sql.


-- ==== services/sql/companions.sql

-- The two tables that stand beside a replicated table. "id" is the list of its primary key's columns.
-- Both say which version a change replaced: what was current for its writer. A peer that holds another one has met a conflict.

-- Images of updated rows: a message to the peers, of no use once it is in the WAL; trimmed again and again.
-- Names, types and collations only: what an image holds was checked where it was made, and generated columns are computed where it arrives.
CREATE TABLE IF NOT EXISTS "unison"."table1_aa3f7ed5_image" AS SELECT "id", "col1", "col2", "modified_ts", "modified_node" FROM "public"."table1" WITH NO DATA;
ALTER TABLE "unison"."table1_aa3f7ed5_image" ADD COLUMN IF NOT EXISTS unison_replaced_ts timestamptz,
                    ADD COLUMN IF NOT EXISTS unison_replaced_node smallint;
ALTER TABLE "unison"."table1_aa3f7ed5_image" SET (autovacuum_vacuum_scale_factor = 0, autovacuum_vacuum_threshold = 20000,
                         toast.autovacuum_vacuum_scale_factor = 0, toast.autovacuum_vacuum_threshold = 20000);

-- Tombstones: every deletion of every key that is still remembered. A key may have several: only the newest counts, and a
-- writer never has to touch an older one. That makes each deletion one plain INSERT, which is its message to the peers.
-- unison_arrived is the number of the node's latest round of maintenance when the tombstone was stored here; it is not sent.
CREATE TABLE IF NOT EXISTS "unison"."table1_aa3f7ed5_tombstone" AS SELECT "id", modified_ts, modified_node FROM "public"."table1" WITH NO DATA;
ALTER TABLE "unison"."table1_aa3f7ed5_tombstone" ADD COLUMN IF NOT EXISTS unison_replaced_ts timestamptz,
                        ADD COLUMN IF NOT EXISTS unison_replaced_node smallint,
                        ADD COLUMN IF NOT EXISTS unison_arrived bigint NOT NULL
                            DEFAULT coalesce(pg_catalog.pg_sequence_last_value('unison.round_number'), 0);

-- What older versions made otherwise: images with NOT NULL, an arrival by the clock (which may be a key's name), and by no default.
DO $body$
DECLARE
    r record;
BEGIN
    FOR r IN SELECT t.image_name, a.attname FROM unison.replicated_table AS t
             JOIN pg_catalog.pg_attribute AS a ON a.attrelid = pg_catalog.format('unison.%I', t.image_name)::pg_catalog.regclass
             WHERE (t.schema_name, t.table_name) = ('public', 'table1') AND a.attnum > 0 AND a.attnotnull LOOP
        EXECUTE pg_catalog.format('ALTER TABLE unison.%I ALTER COLUMN %I DROP NOT NULL', r.image_name, r.attname);
    END LOOP;
    FOR r IN SELECT t.tombstone_name FROM unison.replicated_table AS t
             WHERE (t.schema_name, t.table_name) = ('public', 'table1') AND 'arrived_at' <> ALL (t.key_columns) LOOP
        EXECUTE pg_catalog.format('ALTER TABLE unison.%I DROP COLUMN IF EXISTS arrived_at', r.tombstone_name);
    END LOOP;
END
$body$;
ALTER TABLE "unison"."table1_aa3f7ed5_tombstone" ALTER COLUMN unison_arrived
    SET DEFAULT coalesce(pg_catalog.pg_sequence_last_value('unison.round_number'), 0);

CREATE UNIQUE INDEX IF NOT EXISTS "table1_aa3f7ed5_tombstone_key" ON "unison"."table1_aa3f7ed5_tombstone" ("id", modified_ts, modified_node);
-- The sweep asks only for what arrived lately; the table is written in that order, so the cheapest index there is serves it.
CREATE INDEX IF NOT EXISTS "table1_aa3f7ed5_tombstone_arrival" ON "unison"."table1_aa3f7ed5_tombstone" USING brin (unison_arrived) WITH (pages_per_range = 8);


-- ==== services/sql/known.sql

-- The sequence of know.sql for one table. Its triggers read it as whoever writes.
CREATE SEQUENCE IF NOT EXISTS "unison"."table1_aa3f7ed5_known" MINVALUE 0 START 0;
GRANT SELECT ON SEQUENCE "unison"."table1_aa3f7ed5_known" TO PUBLIC;
-- What is here already is known; nothing comes meanwhile.
LOCK TABLE "public"."table1", "unison"."table1_aa3f7ed5_tombstone" IN SHARE ROW EXCLUSIVE MODE;
SELECT setval('unison."table1_aa3f7ed5_known"'::pg_catalog.regclass, greatest(pg_sequence_last_value('unison."table1_aa3f7ed5_known"'::pg_catalog.regclass), 0,
                                     (SELECT max(("t"."id" OPERATOR(pg_catalog.&) 2147483647)) FROM "public"."table1" AS t WHERE ("t"."id" >> 31) BETWEEN 1 AND 32767),
                                     (SELECT max(("d"."id" OPERATOR(pg_catalog.&) 2147483647)) FROM "unison"."table1_aa3f7ed5_tombstone" AS d WHERE ("d"."id" >> 31) BETWEEN 1 AND 32767)));
-- older versions began below
ALTER SEQUENCE "unison"."table1_aa3f7ed5_known" MINVALUE 0 START 0;


-- ==== services/sql/latest.sql

-- The newest tombstone of a row's key; no row when there is none.
CREATE OR REPLACE FUNCTION "unison"."table1_aa3f7ed5_latest"(r "public"."table1") RETURNS TABLE (modified_ts timestamptz, modified_node smallint)
LANGUAGE plpgsql VOLATILE SET search_path = pg_catalog, pg_temp SET enable_seqscan = off AS $body$
#variable_conflict use_column
BEGIN
    RETURN QUERY SELECT d.modified_ts, d.modified_node FROM "unison"."table1_aa3f7ed5_tombstone" AS d WHERE ("d"."id") = ("r"."id")
                 ORDER BY d.modified_ts DESC, d.modified_node DESC LIMIT 1;
END
$body$;


-- ==== services/sql/move.sql

-- A row gets another key: a deletion of the old one, and an insertion under the new one, whose
-- newest tombstone is answered; no row when there is none. Both keys are known then (know.sql).
--
-- Whoever deletes the row that has the new key now is waited for, so that its tombstone is seen. One
-- that comes between this look and the change is found by outlive_moved.sql.
CREATE OR REPLACE FUNCTION "unison"."table1_aa3f7ed5_move"(gone "public"."table1", arriving "public"."table1")
RETURNS TABLE (modified_ts timestamptz, modified_node smallint)
LANGUAGE plpgsql VOLATILE SET search_path = pg_catalog, pg_temp SET enable_seqscan = off AS $body$
#variable_conflict use_column
BEGIN
    INSERT INTO "unison"."table1_aa3f7ed5_tombstone" ("id", modified_ts, modified_node, unison_replaced_ts, unison_replaced_node)
    SELECT "gone"."id", greatest(clock_timestamp(), gone.modified_ts + '1 microsecond'::interval), 1,
           gone.modified_ts, gone.modified_node
    WHERE (("gone"."id" OPERATOR(pg_catalog.&) 2147483647) OPERATOR(pg_catalog.<=) pg_catalog.pg_sequence_last_value('unison."table1_aa3f7ed5_known"'::pg_catalog.regclass) OR unison.know_key('unison."table1_aa3f7ed5_known"'::pg_catalog.regclass, "gone"."id")) AND (("arriving"."id" OPERATOR(pg_catalog.&) 2147483647) OPERATOR(pg_catalog.<=) pg_catalog.pg_sequence_last_value('unison."table1_aa3f7ed5_known"'::pg_catalog.regclass) OR unison.know_key('unison."table1_aa3f7ed5_known"'::pg_catalog.regclass, "arriving"."id"))
    -- a row that was not yet given a version later than its tombstone: that one ends it
    ON CONFLICT DO NOTHING;
    PERFORM FROM "public"."table1" AS t WHERE ("t"."id") = ("arriving"."id") FOR KEY SHARE;
    RETURN QUERY SELECT m.* FROM "unison"."table1_aa3f7ed5_latest"(arriving) AS m;
END
$body$;


-- ==== services/sql/revive.sql

-- Keys that were deleted have rows again. The peers are told that the writer knew of the deletion,
-- which an INSERT alone does not say; and a row that is not later than its tombstone, which every
-- other node would drop, gets a later version. "rows" are as their statement made them, because an
-- old snapshot may show another one under the same key. With "stale" every row gets a later version:
-- tombstones may be there that the snapshot does not show.
--
-- The UPDATE carries the new version itself: one that changes nothing may be left out by a trigger of
-- the user's (suppress_redundant_updates_trigger). image.sql sends it. Where a trigger of the user's
-- keeps it from being done, the writer gets an error: an acknowledged row would be lost.
-- With nested loops: each key is looked up in an index.
CREATE OR REPLACE FUNCTION "unison"."table1_aa3f7ed5_revive"(rows "public"."table1"[], stale boolean) RETURNS void LANGUAGE plpgsql SECURITY DEFINER
SET search_path = pg_catalog, pg_temp SET enable_nestloop = on SET enable_seqscan = off AS $body$
#variable_conflict use_column
DECLARE
    refused text := 'it left the row as it was';
BEGIN
    INSERT INTO "unison"."table1_aa3f7ed5_image" ("id", "col1", "col2", "modified_ts", "modified_node", unison_replaced_ts, unison_replaced_node)
    SELECT "n"."id", "n"."col1", "n"."col2", "n"."modified_ts", "n"."modified_node", d.modified_ts, d.modified_node
    FROM unnest($1) AS n CROSS JOIN LATERAL "unison"."table1_aa3f7ed5_latest"(ROW ("n"."id", "n"."col1", "n"."col2", "n"."modified_ts", "n"."modified_node")::"public"."table1") AS d;

    BEGIN
        UPDATE "public"."table1" AS t
        SET modified_ts = greatest(clock_timestamp(), t.modified_ts + '1 microsecond'::interval,
                                   d.modified_ts + '1 microsecond'::interval)
        FROM unnest($1) AS n LEFT JOIN LATERAL "unison"."table1_aa3f7ed5_latest"(ROW ("n"."id", "n"."col1", "n"."col2", "n"."modified_ts", "n"."modified_node")::"public"."table1") AS d ON true
        WHERE ("t"."id") = ("n"."id")
          AND ($2 OR (d.modified_ts, d.modified_node) >= (t.modified_ts, t.modified_node));
    EXCEPTION
        WHEN transaction_rollback THEN
            RAISE;
        WHEN OTHERS THEN
            refused := sqlerrm;
    END;

    IF EXISTS (SELECT FROM unnest($1) AS n JOIN "public"."table1" AS t ON ("t"."id") = ("n"."id")
               WHERE $2 AND (t.modified_ts, t.modified_node) = (n.modified_ts, n.modified_node)
                  OR EXISTS (SELECT FROM "unison"."table1_aa3f7ed5_tombstone" AS d
                             WHERE ("d"."id") = ("t"."id")
                               AND (d.modified_ts, d.modified_node) >= (t.modified_ts, t.modified_node))) THEN
        RAISE EXCEPTION 'could not serialize access due to concurrent delete'
        USING ERRCODE = 'serialization_failure',
              DETAIL = format('A row of %s needs a version later than the deletion of its key, and a trigger refused that: %s.',
                              'table1', refused),
              HINT = CASE WHEN $2 THEN 'Use READ COMMITTED, or let the trigger pass updates that change modified_ts only.'
                          ELSE 'Try again, or let the trigger pass updates that change modified_ts only.' END;
    END IF;
END
$body$;


-- ==== services/sql/settle.sql

-- Decide between a row that arrives and what is known of its key here: the newest version stays. What the short cuts of merge_row.sql and
-- merge_image.sql do not cover ends here. A version that loses goes to the conflict history when no change of it is known (conflict.sql).
-- replaced_ts and replaced_node are the version that the arriving one replaced; NULL when it is not known.
-- enable_seqscan: see merge_row.sql.
CREATE OR REPLACE FUNCTION "unison"."table1_aa3f7ed5_settle"(incoming "public"."table1", replaced_ts timestamptz, replaced_node smallint) RETURNS void LANGUAGE plpgsql
SET enable_seqscan = off AS $body$
#variable_conflict use_column
DECLARE
    -- before anything is stored under this key: see know.sql
    ready pg_catalog.bool := (("incoming"."id" OPERATOR(pg_catalog.&) 2147483647) OPERATOR(pg_catalog.<=) pg_catalog.pg_sequence_last_value('unison."table1_aa3f7ed5_known"'::pg_catalog.regclass) OR unison.know_key('unison."table1_aa3f7ed5_known"'::pg_catalog.regclass, "incoming"."id"));
    here "public"."table1";
    buried pg_catalog.record;
    present pg_catalog.bool;
    deleted pg_catalog.bool;
    lives pg_catalog.bool;
    wins pg_catalog.bool;
    known pg_catalog.bool;
BEGIN
    LOOP
        SELECT t.* INTO here FROM "public"."table1" AS t WHERE ("t"."id") = ("incoming"."id") FOR UPDATE;
        present := FOUND;
        SELECT d.modified_ts, d.modified_node, d.unison_replaced_ts, d.unison_replaced_node INTO buried
        FROM "unison"."table1_aa3f7ed5_tombstone" AS d WHERE ("d"."id") = ("incoming"."id") ORDER BY d.modified_ts DESC, d.modified_node DESC LIMIT 1;
        deleted := FOUND;
        lives := present AND (NOT deleted OR (here.modified_ts, here.modified_node) > (buried.modified_ts, buried.modified_node));
        IF lives THEN
            wins := (incoming.modified_ts, incoming.modified_node) > (here.modified_ts, here.modified_node);
        ELSE
            wins := NOT deleted OR (incoming.modified_ts, incoming.modified_node) > (buried.modified_ts, buried.modified_node);
        END IF;
        IF wins AND present THEN
            UPDATE "public"."table1" AS t SET ("id", "col1", "col2", "modified_ts", "modified_node") = ROW ("incoming"."id", "incoming"."col1", "incoming"."col2", "incoming"."modified_ts", "incoming"."modified_node") WHERE ("t"."id") = ("incoming"."id");
        ELSIF wins THEN
            INSERT INTO "public"."table1" ("id", "col1", "col2", "modified_ts", "modified_node") OVERRIDING SYSTEM VALUE VALUES ("incoming"."id", "incoming"."col1", "incoming"."col2", "incoming"."modified_ts", "incoming"."modified_node") ON CONFLICT ("id") DO NOTHING;
            -- another worker was faster
            CONTINUE WHEN NOT FOUND;
        ELSIF present AND NOT lives THEN
            -- it raced with its tombstone: what the sweep would do
            DELETE FROM "public"."table1" AS t WHERE ("t"."id") = ("incoming"."id");
        END IF;
        EXIT;
    END LOOP;

    IF current_setting('unison.seeding', true) = 'on' THEN
        RETURN;
    END IF;
    IF replaced_ts IS NOT NULL THEN
        known := CASE WHEN lives THEN (here.modified_ts, here.modified_node) = (replaced_ts, replaced_node)
                      WHEN deleted THEN (buried.modified_ts, buried.modified_node) = (replaced_ts, replaced_node)
                      ELSE false END;
        -- it loses although its writer knew the current version: the first of the images that revive.sql sends
        IF NOT (known AND wins) THEN
            PERFORM unison.note_replaced('public', 'table1', jsonb_build_array("incoming"."id"), replaced_ts, replaced_node);
        END IF;
    END IF;
    IF present AND (wins OR NOT lives)
       AND (here.modified_ts, here.modified_node) IS DISTINCT FROM (replaced_ts, replaced_node)
       AND NOT (deleted AND (here.modified_ts, here.modified_node) IS NOT DISTINCT FROM (buried.unison_replaced_ts, buried.unison_replaced_node)) THEN
        PERFORM unison.note_lost('public', 'table1', jsonb_build_array("incoming"."id"), here.modified_ts, here.modified_node, here,
                                 CASE WHEN wins THEN incoming.modified_ts ELSE buried.modified_ts END,
                                 CASE WHEN wins THEN incoming.modified_node ELSE buried.modified_node END);
    END IF;
    IF wins AND deleted AND NOT lives
       AND (buried.modified_ts, buried.modified_node) IS DISTINCT FROM (replaced_ts, replaced_node) THEN
        PERFORM unison.note_lost('public', 'table1', jsonb_build_array("incoming"."id"), buried.modified_ts, buried.modified_node,
                                 NULL::"public"."table1", incoming.modified_ts, incoming.modified_node);
    END IF;
    IF NOT wins AND lives AND (incoming.modified_ts, incoming.modified_node) <> (here.modified_ts, here.modified_node) THEN
        PERFORM unison.note_lost('public', 'table1', jsonb_build_array("incoming"."id"), incoming.modified_ts, incoming.modified_node,
                                 incoming, here.modified_ts, here.modified_node);
    -- equal to a deletion is only what its writer is about to make later than it (revive.sql)
    ELSIF NOT wins AND NOT lives AND (incoming.modified_ts, incoming.modified_node) <> (buried.modified_ts, buried.modified_node) THEN
        PERFORM unison.note_lost('public', 'table1', jsonb_build_array("incoming"."id"), incoming.modified_ts, incoming.modified_node,
                                 incoming, buried.modified_ts, buried.modified_node);
    END IF;
END
$body$;


-- ==== services/sql/stamp_insert.sql

-- Give a new row its version. Every name is qualified: a caller's search_path must not choose the operators.
-- Never before the floor: tombstones from before it may be forgotten here, while another node still knows them (round.sql).
CREATE OR REPLACE FUNCTION "unison"."table1_aa3f7ed5_stamp_insert"() RETURNS trigger LANGUAGE plpgsql AS $body$
BEGIN
    NEW.modified_ts := greatest(pg_catalog.clock_timestamp(), pg_catalog.to_timestamp(pg_catalog.pg_sequence_last_value('unison.floor')));
    NEW.modified_node := 1;
    RETURN NEW;
END
$body$;

-- Its name sorts last among the BEFORE triggers, so that no other one changes the version after it.
CREATE OR REPLACE TRIGGER zzz_unison_stamp_insert BEFORE INSERT ON "public"."table1"
FOR EACH ROW EXECUTE FUNCTION "unison"."table1_aa3f7ed5_stamp_insert"();


-- ==== services/sql/outlive_drawn.sql

-- outlive.sql for a table whose key is drawn from a sequence: the same, but not for a fresh key
-- (know.sql), which almost every key is. What is known is read when the rows are in: behind every
-- deletion of their keys that the INSERT waited for.
--
-- A statement trigger without a WHEN, because each statement parses and plans that anew, and without
-- settings, for the same reason: it costs each INSERT less. So every name is qualified, as a caller's
-- search_path must not choose the operators, and enable_seqscan is set where it is needed (bury.sql).
CREATE OR REPLACE FUNCTION "unison"."table1_aa3f7ed5_outlive"() RETURNS trigger LANGUAGE plpgsql SECURITY DEFINER AS $body$
#variable_conflict use_column
<<part>>
DECLARE
    last_known pg_catalog.int8 := pg_catalog.pg_sequence_last_value('unison."table1_aa3f7ed5_known"'::pg_catalog.regclass) OPERATOR(pg_catalog.+) 2147483648;
BEGIN
    PERFORM FROM new_rows AS n WHERE (n."id" OPERATOR(pg_catalog.>) part.last_known AND n."id" OPERATOR(pg_catalog.<) 4294967296) IS NOT TRUE;
    IF NOT FOUND THEN
        RETURN NULL;
    END IF;

    -- a block of its own: what it declares costs nothing above
    DECLARE
        planned_with pg_catalog.text := pg_catalog.current_setting('enable_seqscan');
        changed pg_catalog.text := pg_catalog.set_config('enable_seqscan', 'off', true);
        inserted "public"."table1";
    BEGIN
        -- keys from elsewhere are known now
        PERFORM FROM new_rows AS n WHERE CASE WHEN n."id" OPERATOR(pg_catalog.>) part.last_known AND n."id" OPERATOR(pg_catalog.<) 4294967296 THEN false ELSE NOT (("n"."id" OPERATOR(pg_catalog.&) 2147483647) OPERATOR(pg_catalog.<=) pg_catalog.pg_sequence_last_value('unison."table1_aa3f7ed5_known"'::pg_catalog.regclass) OR unison.know_key('unison."table1_aa3f7ed5_known"'::pg_catalog.regclass, "n"."id")) END;
        IF pg_catalog.current_setting('transaction_isolation') OPERATOR(pg_catalog.<>) 'read committed' THEN
            FOR inserted IN SELECT "n"."id", "n"."col1", "n"."col2", "n"."modified_ts", "n"."modified_node" FROM new_rows AS n WHERE (n."id" OPERATOR(pg_catalog.>) part.last_known AND n."id" OPERATOR(pg_catalog.<) 4294967296) IS NOT TRUE LOOP
                -- counted, because a look by primary key stops at the first row it finds
                IF (SELECT pg_catalog.count(*) FROM "public"."table1" AS t
                    WHERE ("t"."id") OPERATOR(pg_catalog.=) ("inserted"."id")) OPERATOR(pg_catalog.>) 1 THEN
                    RAISE EXCEPTION 'could not serialize access due to concurrent delete' USING ERRCODE = 'serialization_failure';
                END IF;
                PERFORM "unison"."table1_aa3f7ed5_revive"(ARRAY[inserted], true);
            END LOOP;
        -- OFFSET 0: see outlive.sql
        ELSIF EXISTS (SELECT FROM new_rows AS n, LATERAL (SELECT FROM "unison"."table1_aa3f7ed5_tombstone" AS d
                                                          WHERE ("d"."id") OPERATOR(pg_catalog.=) ("n"."id") OFFSET 0) AS d) THEN
            PERFORM "unison"."table1_aa3f7ed5_revive"(ARRAY(SELECT ROW ("n"."id", "n"."col1", "n"."col2", "n"."modified_ts", "n"."modified_node")::"public"."table1" FROM new_rows AS n
                                   WHERE EXISTS (SELECT FROM "unison"."table1_aa3f7ed5_tombstone" AS d
                                                 WHERE ("d"."id") OPERATOR(pg_catalog.=) ("n"."id"))), false);
        END IF;
        changed := pg_catalog.set_config('enable_seqscan', planned_with, true);
    END;
    RETURN NULL;
END
$body$;

CREATE OR REPLACE TRIGGER zzz_unison_outlive AFTER INSERT ON "public"."table1"
REFERENCING NEW TABLE AS new_rows FOR EACH STATEMENT EXECUTE FUNCTION "unison"."table1_aa3f7ed5_outlive"();


-- ==== services/sql/outlive_moved.sql

-- outlive.sql for a row that got another key: a deletion of that key that the UPDATE waited for may
-- have been stamped after it. Fires where the statement names a column of the key; a key that only
-- a trigger changes has move.sql alone.
CREATE OR REPLACE FUNCTION "unison"."table1_aa3f7ed5_outlive_moved"() RETURNS trigger LANGUAGE plpgsql SECURITY DEFINER
SET search_path = pg_catalog, pg_temp SET enable_seqscan = off AS $body$
#variable_conflict use_column
BEGIN
    IF ("old"."id" OPERATOR(pg_catalog.=) "new"."id") THEN
        RETURN NULL;
    END IF;
    -- counted, because a look by primary key stops at the first row it finds
    IF current_setting('transaction_isolation') <> 'read committed'
       AND (SELECT count(*) FROM "public"."table1" AS t WHERE ("t"."id") = ("new"."id")) > 1 THEN
        RAISE EXCEPTION 'could not serialize access due to concurrent delete' USING ERRCODE = 'serialization_failure';
    END IF;
    IF EXISTS (SELECT FROM "unison"."table1_aa3f7ed5_tombstone" AS d
               WHERE ("d"."id") = ("new"."id") AND (d.modified_ts, d.modified_node) >= (NEW.modified_ts, NEW.modified_node)) THEN
        PERFORM "unison"."table1_aa3f7ed5_revive"(ARRAY[ROW ("new"."id", "new"."col1", "new"."col2", "new"."modified_ts", "new"."modified_node")::"public"."table1"], false);
    END IF;
    RETURN NULL;
END
$body$;

CREATE OR REPLACE TRIGGER zzz_unison_outlive_moved AFTER UPDATE OF "id" ON "public"."table1"
FOR EACH ROW EXECUTE FUNCTION "unison"."table1_aa3f7ed5_outlive_moved"();


-- ==== services/sql/image.sql

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
CREATE OR REPLACE FUNCTION "unison"."table1_aa3f7ed5_image"() RETURNS trigger LANGUAGE plpgsql SECURITY DEFINER AS $body$
DECLARE
    deleted pg_catalog.record;
BEGIN
    NEW.modified_ts := greatest(
        pg_catalog.clock_timestamp(),
        OLD.modified_ts OPERATOR(pg_catalog.+) '1 microsecond'::pg_catalog.interval,
        pg_catalog.to_timestamp(pg_catalog.pg_sequence_last_value('unison.floor')));
    NEW.modified_node := 1;
    IF NOT ("old"."id" OPERATOR(pg_catalog.=) "new"."id") THEN
        SELECT m.* INTO deleted FROM "unison"."table1_aa3f7ed5_move"(OLD, NEW) AS m;
        NEW.modified_ts := greatest(NEW.modified_ts, deleted.modified_ts
            OPERATOR(pg_catalog.+) '1 microsecond'::pg_catalog.interval);
        INSERT INTO "unison"."table1_aa3f7ed5_image" ("id", "col1", "col2", "modified_ts", "modified_node", unison_replaced_ts, unison_replaced_node)
        VALUES ("new"."id", "new"."col1", "new"."col2", "new"."modified_ts", "new"."modified_node", deleted.modified_ts, deleted.modified_node);
        RETURN NEW;
    ELSIF pg_catalog.pg_trigger_depth() OPERATOR(pg_catalog.>) 1 THEN
        SELECT b.* INTO deleted FROM "unison"."table1_aa3f7ed5_latest"(NEW) AS b;
        NEW.modified_ts := greatest(NEW.modified_ts, deleted.modified_ts
            OPERATOR(pg_catalog.+) '1 microsecond'::pg_catalog.interval);
    END IF;
    INSERT INTO "unison"."table1_aa3f7ed5_image" ("id", "col1", "col2", "modified_ts", "modified_node", unison_replaced_ts, unison_replaced_node)
    VALUES ("new"."id", "new"."col1", "new"."col2", "new"."modified_ts", "new"."modified_node", OLD.modified_ts, OLD.modified_node);
    RETURN NEW;
END
$body$;

CREATE OR REPLACE TRIGGER zzz_unison_image BEFORE UPDATE ON "public"."table1"
FOR EACH ROW EXECUTE FUNCTION "unison"."table1_aa3f7ed5_image"();


-- ==== services/sql/bury.sql

-- Remember the deleted keys, with a version later than the row's; the INSERT is the message to the
-- peers. They are known then (know.sql).
--
-- The same statement, or a trigger of the user's, may have put a row of such a key back already: that
-- row is later. Its version is left alone where a tombstone fits between the two. To look for such
-- rows costs a third of all else, so it is done only where this transaction has put or changed rows of
-- the table: PostgreSQL counts that (with what it has not reported yet of transactions before; where
-- it does not count, it has counted no deletion either). A key that was deleted twice may get one
-- tombstone for both.
--
-- Every name is qualified, because a setting of the function would cost each deletion more than that:
-- a caller's search_path must not choose the operators, nor the types of the variables, whose checks
-- would run as the owner. The first INSERT names the columns in the
-- table's order and in its types: the plan has a step less then. The round (companions.sql) is read
-- once: a tombstone may bear the number of any round since its transaction began (round.sql).
CREATE OR REPLACE FUNCTION "unison"."table1_aa3f7ed5_bury"() RETURNS trigger LANGUAGE plpgsql SECURITY DEFINER AS $body$
#variable_conflict use_column
<<part>>
DECLARE
    round_number pg_catalog.int8 := coalesce(pg_catalog.pg_sequence_last_value('unison.round_number'), 0);
    planned_with pg_catalog.text;
    changed pg_catalog.text;
BEGIN
    IF (pg_catalog.pg_stat_get_xact_tuples_inserted(TG_RELID)
            OPERATOR(pg_catalog.+) pg_catalog.pg_stat_get_xact_tuples_updated(TG_RELID)) OPERATOR(pg_catalog.=) 0
       AND pg_catalog.pg_stat_get_xact_tuples_deleted(TG_RELID) OPERATOR(pg_catalog.>) 0 THEN
        INSERT INTO "unison"."table1_aa3f7ed5_tombstone" ("id", modified_ts, modified_node, unison_replaced_ts, unison_replaced_node, unison_arrived)
        SELECT "o"."id", greatest(pg_catalog.clock_timestamp(),
                                 o.modified_ts OPERATOR(pg_catalog.+) '1 microsecond'::pg_catalog.interval),
               1::pg_catalog.int2, o.modified_ts, o.modified_node, part.round_number
        FROM old_rows AS o WHERE (("o"."id" OPERATOR(pg_catalog.&) 2147483647) OPERATOR(pg_catalog.<=) pg_catalog.pg_sequence_last_value('unison."table1_aa3f7ed5_known"'::pg_catalog.regclass) OR unison.know_key('unison."table1_aa3f7ed5_known"'::pg_catalog.regclass, "o"."id"));
        RETURN NULL;
    END IF;

    -- OFFSET 0 and enable_seqscan keep the planner to one look into the index for each row: the plan is
    -- kept for the session, whatever it was made for. The setting is as it was when this returns or fails.
    planned_with := pg_catalog.current_setting('enable_seqscan');
    changed := pg_catalog.set_config('enable_seqscan', 'off', true);
    IF EXISTS (SELECT FROM old_rows AS o, LATERAL (SELECT FROM "public"."table1" AS t
                                                   WHERE ("t"."id") OPERATOR(pg_catalog.=) ("o"."id") OFFSET 0) AS t) THEN
        INSERT INTO "unison"."table1_aa3f7ed5_tombstone" ("id", modified_ts, modified_node, unison_replaced_ts, unison_replaced_node)
        SELECT "o"."id", greatest(o.modified_ts OPERATOR(pg_catalog.+) '1 microsecond'::pg_catalog.interval,
                                 least(pg_catalog.clock_timestamp(),
                                       back.modified_ts OPERATOR(pg_catalog.-) '1 microsecond'::pg_catalog.interval)),
               1, o.modified_ts, o.modified_node
        FROM old_rows AS o
        LEFT JOIN LATERAL (SELECT t.modified_ts FROM "public"."table1" AS t
                           WHERE ("t"."id") OPERATOR(pg_catalog.=) ("o"."id") OFFSET 0) AS back ON true
        WHERE (("o"."id" OPERATOR(pg_catalog.&) 2147483647) OPERATOR(pg_catalog.<=) pg_catalog.pg_sequence_last_value('unison."table1_aa3f7ed5_known"'::pg_catalog.regclass) OR unison.know_key('unison."table1_aa3f7ed5_known"'::pg_catalog.regclass, "o"."id"))
        ON CONFLICT DO NOTHING;
        PERFORM "unison"."table1_aa3f7ed5_revive"(ARRAY(
            SELECT ROW ("t"."id", "t"."col1", "t"."col2", "t"."modified_ts", "t"."modified_node")::"public"."table1"
            FROM old_rows AS o CROSS JOIN LATERAL (SELECT t.* FROM "public"."table1" AS t
                                                   WHERE ("t"."id") OPERATOR(pg_catalog.=) ("o"."id") OFFSET 0) AS t),
            false);
    ELSE
        INSERT INTO "unison"."table1_aa3f7ed5_tombstone" ("id", modified_ts, modified_node, unison_replaced_ts, unison_replaced_node, unison_arrived)
        SELECT "o"."id", greatest(pg_catalog.clock_timestamp(),
                                 o.modified_ts OPERATOR(pg_catalog.+) '1 microsecond'::pg_catalog.interval),
               1::pg_catalog.int2, o.modified_ts, o.modified_node, part.round_number
        FROM old_rows AS o WHERE (("o"."id" OPERATOR(pg_catalog.&) 2147483647) OPERATOR(pg_catalog.<=) pg_catalog.pg_sequence_last_value('unison."table1_aa3f7ed5_known"'::pg_catalog.regclass) OR unison.know_key('unison."table1_aa3f7ed5_known"'::pg_catalog.regclass, "o"."id"))
        ON CONFLICT DO NOTHING;
    END IF;
    changed := pg_catalog.set_config('enable_seqscan', planned_with, true);
    RETURN NULL;
END
$body$;

CREATE OR REPLACE TRIGGER zzz_unison_bury AFTER DELETE ON "public"."table1"
REFERENCING OLD TABLE AS old_rows FOR EACH STATEMENT EXECUTE FUNCTION "unison"."table1_aa3f7ed5_bury"();


-- ==== services/sql/truncate.sql

-- TRUNCATE deletes every row, on every node: first the tombstones, as bury.sql writes them, then what TRUNCATE does here.
-- No DELETE: it would ask for the foreign keys of one table at a time, which TRUNCATE asks for all its tables at once.
-- Its keys are known then (know.sql). With an older snapshot the tombstones would not be of all that TRUNCATE removes.
CREATE OR REPLACE FUNCTION "unison"."table1_aa3f7ed5_truncate"() RETURNS trigger LANGUAGE plpgsql SECURITY DEFINER
SET search_path = pg_catalog, pg_temp AS $body$
#variable_conflict use_column
BEGIN
    IF current_setting('transaction_isolation') <> 'read committed' THEN
        RAISE EXCEPTION 'cannot truncate replicated table "%" in a % transaction', TG_TABLE_NAME, current_setting('transaction_isolation')
        USING ERRCODE = 'feature_not_supported', DETAIL = 'Rows that this transaction does not see would stay on the other nodes.',
              HINT = 'Use READ COMMITTED, or DELETE.';
    END IF;
    INSERT INTO "unison"."table1_aa3f7ed5_tombstone" ("id", modified_ts, modified_node, unison_replaced_ts, unison_replaced_node)
    SELECT "t"."id", greatest(clock_timestamp(), t.modified_ts + '1 microsecond'::interval), 1, t.modified_ts, t.modified_node
    FROM "public"."table1" AS t WHERE (("t"."id" OPERATOR(pg_catalog.&) 2147483647) OPERATOR(pg_catalog.<=) pg_catalog.pg_sequence_last_value('unison."table1_aa3f7ed5_known"'::pg_catalog.regclass) OR unison.know_key('unison."table1_aa3f7ed5_known"'::pg_catalog.regclass, "t"."id"));
    RETURN NULL;
END
$body$;

CREATE OR REPLACE TRIGGER zzz_unison_truncate BEFORE TRUNCATE ON "public"."table1"
FOR EACH STATEMENT EXECUTE FUNCTION "unison"."table1_aa3f7ed5_truncate"();


-- ==== services/sql/merge_row.sql

-- A row arrives from a peer, as somebody inserted it, or as the peer holds it while a link is seeded: the newest version of its key stays.
-- Runs in apply workers and while a peer's rows are copied (session_replication_role = replica).
-- A plan is kept as long as the worker lives. One that was made while the table was empty would read it from end to end for each row, hence
-- enable_seqscan, which is off for the rest of the session: a function's own setting would cost more than all of the short cut. The search_path needs
-- no setting: an apply worker's is empty, and the seed sets its own.
-- Where a worker has ever failed, the first transaction of a session takes no short cut, and a seed never does: so a worker that met an unforeseen row of a
-- fresh key, and failed, merges it at its next try. unison.careful is that transaction, or 'never'; the first row of the next one finds that it has ended.
CREATE OR REPLACE FUNCTION "unison"."table1_aa3f7ed5_merge_row"() RETURNS trigger LANGUAGE plpgsql AS $body$
#variable_conflict use_column
DECLARE
    ready pg_catalog.bool;
    careful pg_catalog.text;
BEGIN
    -- A fresh key from the writer's own sequence (know.sql): nothing can be known of it here, and the native path is the cheapest.
    IF (NEW."id" >> 31) = NEW.modified_node AND (NEW."id" & 2147483647) > pg_catalog.pg_sequence_last_value('unison."table1_aa3f7ed5_known"'::pg_catalog.regclass) AND current_setting('unison.careful', true) = 'never' THEN
        RETURN NEW;
    END IF;
    -- what is inserted below comes through here again
    IF pg_trigger_depth() > 1 THEN
        RETURN NEW;
    END IF;
    ready := (("new"."id" OPERATOR(pg_catalog.&) 2147483647) OPERATOR(pg_catalog.<=) pg_catalog.pg_sequence_last_value('unison."table1_aa3f7ed5_known"'::pg_catalog.regclass) OR unison.know_key('unison."table1_aa3f7ed5_known"'::pg_catalog.regclass, "new"."id")) AND (current_setting('enable_seqscan') = 'off' OR set_config('enable_seqscan', 'off', false) IS NOT NULL);
    careful := nullif(current_setting('unison.careful', true), '');
    IF careful IS NULL THEN
        PERFORM set_config('unison.careful', CASE WHEN EXISTS (SELECT FROM pg_catalog.pg_stat_subscription_stats WHERE apply_error_count > 0)
                                             THEN pg_current_xact_id()::pg_catalog.text ELSE 'never' END, false);
    ELSIF careful NOT IN ('never', pg_current_xact_id()::pg_catalog.text) THEN
        PERFORM set_config('unison.careful', 'never', false);
    END IF;
    -- two workers, or one and a seed, may insert at once, and only this ends that without an error
    INSERT INTO "public"."table1" ("id", "col1", "col2", "modified_ts", "modified_node") OVERRIDING SYSTEM VALUE
    SELECT "new"."id", "new"."col1", "new"."col2", "new"."modified_ts", "new"."modified_node" WHERE NOT EXISTS (SELECT FROM "unison"."table1_aa3f7ed5_tombstone" AS d WHERE ("d"."id") = ("new"."id"))
    ON CONFLICT ("id") DO NOTHING;
    IF NOT FOUND THEN
        PERFORM "unison"."table1_aa3f7ed5_settle"(NEW, NULL, NULL);
    END IF;
    RETURN NULL;
END
$body$;

CREATE OR REPLACE TRIGGER zzz_unison_merge BEFORE INSERT ON "public"."table1" FOR EACH ROW EXECUTE FUNCTION "unison"."table1_aa3f7ed5_merge_row"();
ALTER TABLE "public"."table1" ENABLE REPLICA TRIGGER zzz_unison_merge;


-- ==== services/sql/merge_image.sql

-- A changed row arrives from a peer. Mostly the version that it replaced is here: then it takes its place, and there is nothing else to ask,
-- because a tombstone that is newer would have removed that row. Otherwise settle.sql decides.
-- enable_seqscan: see merge_row.sql.
CREATE OR REPLACE FUNCTION "unison"."table1_aa3f7ed5_merge_image"() RETURNS trigger LANGUAGE plpgsql AS $body$
#variable_conflict use_column
DECLARE
    ready pg_catalog.bool := (current_setting('enable_seqscan') = 'off' OR set_config('enable_seqscan', 'off', false) IS NOT NULL);
BEGIN
    UPDATE "public"."table1" AS t SET ("id", "col1", "col2", "modified_ts", "modified_node") = ROW ("new"."id", "new"."col1", "new"."col2", "new"."modified_ts", "new"."modified_node")
    WHERE ("t"."id") = ("new"."id")
      AND t.modified_ts = NEW.unison_replaced_ts AND t.modified_node = NEW.unison_replaced_node;
    IF NOT FOUND THEN
        PERFORM "unison"."table1_aa3f7ed5_settle"(ROW ("new"."id", "new"."col1", "new"."col2", "new"."modified_ts", "new"."modified_node")::"public"."table1", NEW.unison_replaced_ts, NEW.unison_replaced_node);
    END IF;
    RETURN NULL;
END
$body$;

CREATE OR REPLACE TRIGGER zzz_unison_merge BEFORE INSERT ON "unison"."table1_aa3f7ed5_image" FOR EACH ROW EXECUTE FUNCTION "unison"."table1_aa3f7ed5_merge_image"();
ALTER TABLE "unison"."table1_aa3f7ed5_image" ENABLE REPLICA TRIGGER zzz_unison_merge;


-- ==== services/sql/merge_tombstone.sql

-- A deletion arrives from a peer: it ends every older state of its key and is remembered for those still to come.
-- Arriving twice (a copy that overlaps the stream) is nothing new.
-- enable_seqscan: see merge_row.sql.
CREATE OR REPLACE FUNCTION "unison"."table1_aa3f7ed5_merge_tombstone"() RETURNS trigger LANGUAGE plpgsql AS $body$
#variable_conflict use_column
DECLARE
    -- the key is known before anything is stored of it: see know.sql
    ready pg_catalog.bool := (("new"."id" OPERATOR(pg_catalog.&) 2147483647) OPERATOR(pg_catalog.<=) pg_catalog.pg_sequence_last_value('unison."table1_aa3f7ed5_known"'::pg_catalog.regclass) OR unison.know_key('unison."table1_aa3f7ed5_known"'::pg_catalog.regclass, "new"."id")) AND (current_setting('enable_seqscan') = 'off' OR set_config('enable_seqscan', 'off', false) IS NOT NULL);
    here "public"."table1";
    ended pg_catalog.bool;
BEGIN
    -- mostly the version that was deleted is here
    DELETE FROM "public"."table1" AS t
    WHERE ("t"."id") = ("new"."id") AND t.modified_ts = NEW.unison_replaced_ts AND t.modified_node = NEW.unison_replaced_node;
    IF FOUND THEN
        RETURN NEW;
    END IF;
    DELETE FROM "public"."table1" AS t
    WHERE ("t"."id") = ("new"."id") AND (t.modified_ts, t.modified_node) <= (NEW.modified_ts, NEW.modified_node) RETURNING t.* INTO here;
    ended := FOUND;
    IF EXISTS (SELECT FROM "unison"."table1_aa3f7ed5_tombstone" AS d
               WHERE ("d"."id") = ("new"."id") AND (d.modified_ts, d.modified_node) = (NEW.modified_ts, NEW.modified_node)) THEN
        RETURN NULL;
    END IF;
    IF current_setting('unison.seeding', true) = 'on' THEN
        RETURN NEW;
    END IF;

    -- the conflict history, see conflict.sql
    IF NEW.unison_replaced_ts IS NOT NULL THEN
        PERFORM unison.note_replaced('public', 'table1', jsonb_build_array("new"."id"), NEW.unison_replaced_ts, NEW.unison_replaced_node);
    END IF;
    IF ended THEN
        PERFORM unison.note_lost('public', 'table1', jsonb_build_array("new"."id"), here.modified_ts, here.modified_node, here,
                                 NEW.modified_ts, NEW.modified_node);
    ELSE
        SELECT t.* INTO here FROM "public"."table1" AS t WHERE ("t"."id") = ("new"."id");
        IF FOUND THEN
            PERFORM unison.note_lost('public', 'table1', jsonb_build_array("new"."id"), NEW.modified_ts, NEW.modified_node,
                                     NULL::"public"."table1", here.modified_ts, here.modified_node);
        END IF;
    END IF;
    RETURN NEW;
END
$body$;

CREATE OR REPLACE TRIGGER zzz_unison_merge BEFORE INSERT ON "unison"."table1_aa3f7ed5_tombstone" FOR EACH ROW EXECUTE FUNCTION "unison"."table1_aa3f7ed5_merge_tombstone"();
ALTER TABLE "unison"."table1_aa3f7ed5_tombstone" ENABLE REPLICA TRIGGER zzz_unison_merge;


-- ==== services/sql/close.sql

-- Functions of the merge are for the triggers that call them, and for nobody else: with EXECUTE,
-- whoever may make a trigger on a table of his own could attach one that writes as the owner. Firing a
-- trigger needs no right.
DO $body$
DECLARE
    routine regprocedure;
BEGIN
    FOR routine IN SELECT oid FROM pg_proc WHERE pronamespace = 'unison'::regnamespace
                   AND proowner = current_user::regrole
                   AND has_function_privilege('public', oid, 'EXECUTE') LOOP
        EXECUTE format('REVOKE ALL ON FUNCTION %s FROM PUBLIC', routine);
    END LOOP;
END
$body$;
