-- The two tables that stand beside a replicated table. {key} is the list of its primary key's columns.

-- Images of updated rows: a message to the peers, of no use once it is in the WAL; trimmed again and again.
-- Names, types and collations only: what an image holds was checked where it was made, and generated columns are computed where it arrives.
CREATE TABLE IF NOT EXISTS {image} AS SELECT {columns} FROM {table} WITH NO DATA;
ALTER TABLE {image} SET (autovacuum_vacuum_scale_factor = 0, autovacuum_vacuum_threshold = 20000,
                         toast.autovacuum_vacuum_scale_factor = 0, toast.autovacuum_vacuum_threshold = 20000);

-- Tombstones: every deletion of every key that is still remembered. A key may have several: only the newest counts, and a
-- writer never has to touch an older one. That makes each deletion one plain INSERT, which is its message to the peers.
CREATE TABLE IF NOT EXISTS {tombstone} AS SELECT {key}, modified_ts, modified_node FROM {table} WITH NO DATA;
ALTER TABLE {tombstone} ADD COLUMN IF NOT EXISTS arrived_at timestamptz NOT NULL DEFAULT clock_timestamp();
CREATE UNIQUE INDEX IF NOT EXISTS {tombstone_index} ON {tombstone} ({key}, modified_ts, modified_node);
-- The sweep asks only for what arrived lately; the table is written in that order, so the cheapest index there is serves it.
CREATE INDEX IF NOT EXISTS {tombstone_arrival} ON {tombstone} USING brin (arrived_at) WITH (pages_per_range = 8);
