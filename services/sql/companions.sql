-- The two tables that stand beside a replicated table. {key} is the list of its primary key's columns.
-- Both say which version a change replaced: what was current for its writer. A peer that holds another one has met a conflict.

-- Images of updated rows: a message to the peers, of no use once it is in the WAL; trimmed again and again.
-- Names, types and collations only: what an image holds was checked where it was made, and generated columns are computed where it arrives.
CREATE TABLE IF NOT EXISTS {image} AS SELECT {columns} FROM {table} WITH NO DATA;
ALTER TABLE {image} ADD COLUMN IF NOT EXISTS unison_replaced_ts timestamptz,
                    ADD COLUMN IF NOT EXISTS unison_replaced_node smallint;
ALTER TABLE {image} SET (autovacuum_vacuum_scale_factor = 0, autovacuum_vacuum_threshold = 20000,
                         toast.autovacuum_vacuum_scale_factor = 0, toast.autovacuum_vacuum_threshold = 20000);

-- Tombstones: every deletion of every key that is still remembered. A key may have several: only the newest counts, and a
-- writer never has to touch an older one. That makes each deletion one plain INSERT, which is its message to the peers.
-- unison_arrived is the number of the node's latest round of maintenance when the tombstone was stored here; it is not sent.
CREATE TABLE IF NOT EXISTS {tombstone} AS SELECT {key}, modified_ts, modified_node FROM {table} WITH NO DATA;
ALTER TABLE {tombstone} ADD COLUMN IF NOT EXISTS unison_replaced_ts timestamptz,
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
             WHERE (t.schema_name, t.table_name) = ({schema_text}, {table_text}) AND a.attnum > 0 AND a.attnotnull LOOP
        EXECUTE pg_catalog.format('ALTER TABLE unison.%I ALTER COLUMN %I DROP NOT NULL', r.image_name, r.attname);
    END LOOP;
    FOR r IN SELECT t.tombstone_name FROM unison.replicated_table AS t
             WHERE (t.schema_name, t.table_name) = ({schema_text}, {table_text}) AND 'arrived_at' <> ALL (t.key_columns) LOOP
        EXECUTE pg_catalog.format('ALTER TABLE unison.%I DROP COLUMN IF EXISTS arrived_at', r.tombstone_name);
    END LOOP;
END
$body$;
ALTER TABLE {tombstone} ALTER COLUMN unison_arrived
    SET DEFAULT coalesce(pg_catalog.pg_sequence_last_value('unison.round_number'), 0);

CREATE UNIQUE INDEX IF NOT EXISTS {tombstone_index} ON {tombstone} ({key}, modified_ts, modified_node);
-- The sweep asks only for what arrived lately; the table is written in that order, so the cheapest index there is serves it.
CREATE INDEX IF NOT EXISTS {tombstone_arrival} ON {tombstone} USING brin (unison_arrived) WITH (pages_per_range = 8);
