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
CREATE UNIQUE INDEX IF NOT EXISTS {tombstone_index} ON {tombstone} ({key}, modified_ts, modified_node);
-- The sweep asks only for what arrived lately; the table is written in that order, so the cheapest index there is serves it.
CREATE INDEX IF NOT EXISTS {tombstone_arrival} ON {tombstone} USING brin (unison_arrived) WITH (pages_per_range = 8);
