-- What pgunison keeps on a node beside the user's tables. The superuser's, so that nobody hangs anything at it; {owner}, whose rights the apply workers and
-- the agent have, reads and writes it (privileges.sql).

-- All of it in one schema, so that DROP SCHEMA removes it and no name meets a user's.
CREATE SCHEMA IF NOT EXISTS unison;

-- Which member of which cluster this server is; one row. "phase" is what it is to the cluster: "joining" until it
-- has all that its peers have, then "serving", or "drained" while an operator keeps it out of service.
CREATE TABLE IF NOT EXISTS unison.node (
    only_row boolean PRIMARY KEY DEFAULT true CHECK (only_row),
    cluster text NOT NULL,
    name text NOT NULL,
    index smallint NOT NULL,
    -- another one when the server is made anew under the same name: what was known of the former says nothing of this one
    life uuid NOT NULL DEFAULT gen_random_uuid(),
    phase text NOT NULL DEFAULT 'joining'
);

-- Which version of all this is installed, see services/installation.py. Added here, so that older databases get these columns too.
ALTER TABLE unison.node ADD COLUMN IF NOT EXISTS digest text NOT NULL DEFAULT '',
                        ADD COLUMN IF NOT EXISTS migration integer NOT NULL DEFAULT 0,
                        ADD COLUMN IF NOT EXISTS functions text[] NOT NULL DEFAULT ARRAY[]::text[];

-- Since when it is in its phase, and who brought it there; null where nobody asked for it.
ALTER TABLE unison.node ADD COLUMN IF NOT EXISTS phase_since timestamptz NOT NULL DEFAULT clock_timestamp(), ADD COLUMN IF NOT EXISTS phase_by text;
-- each time: takeover.sql removes the checks of tables that were the owner's
ALTER TABLE unison.node DROP CONSTRAINT IF EXISTS node_phase_check,
                        ADD CONSTRAINT node_phase_check CHECK (phase IN ('joining', 'serving', 'drained'));

-- Why the data here is older than what the peers have of this node, once that was noticed (services/stale.py); null when nothing says so.
ALTER TABLE unison.node ADD COLUMN IF NOT EXISTS stale text;

-- The numbers of rounds that this node has drawn, by the starts of its server; "last" is null for the one that runs. See begin_run.sql.
CREATE TABLE IF NOT EXISTS unison.run (first bigint PRIMARY KEY, last bigint, started_at timestamptz NOT NULL);

-- The tables that are replicated. "description" is what the service call asked for; "signature" (facts.sql) is what the table consisted of when
-- it was set up; "digest" is that of the installed functions and triggers: another digest means that they are of another version.
CREATE TABLE IF NOT EXISTS unison.replicated_table (
    schema_name text NOT NULL,
    table_name text NOT NULL,
    image_name text NOT NULL,
    tombstone_name text NOT NULL,
    key_columns text[] NOT NULL,
    signature text NOT NULL,
    description jsonb NOT NULL,
    digest text NOT NULL,
    is_open boolean NOT NULL DEFAULT false,
    PRIMARY KEY (schema_name, table_name)
);

-- The tables of a subscription whose rows and tombstones were merged once it carried their changes: nothing of before is missing. By oid: a
-- subscription of the same name that is made again has another slot, and between the two slots changes were lost.
CREATE TABLE IF NOT EXISTS unison.seeded (
    subscription oid NOT NULL,
    schema_name text NOT NULL,
    table_name text NOT NULL,
    seeded_at timestamptz NOT NULL DEFAULT clock_timestamp(),
    PRIMARY KEY (subscription, schema_name, table_name)
);

-- How far the seed of a table that is not in "seeded" yet has come: which part of it (rows, then tombstones), up to which key, as texts.
CREATE TABLE IF NOT EXISTS unison.seed_piece (
    subscription oid NOT NULL,
    schema_name text NOT NULL,
    table_name text NOT NULL,
    part text NOT NULL,
    last_key text[] NOT NULL,
    PRIMARY KEY (subscription, schema_name, table_name)
);

-- The tables that were set up again because their merge was off: until the subscription has compared its peer's rows with those here (restate.py).
CREATE TABLE IF NOT EXISTS unison.doubtful (
    subscription oid NOT NULL,
    schema_name text NOT NULL,
    table_name text NOT NULL,
    PRIMARY KEY (subscription, schema_name, table_name)
);

-- A row for each command that has touched a replicated table or what is ours, see guard.sql: as long as none comes, no table has changed.
CREATE TABLE IF NOT EXISTS unison.altered (at timestamptz NOT NULL DEFAULT clock_timestamp());

-- The rounds of the node's maintenance, see round.sql.
CREATE SEQUENCE IF NOT EXISTS unison.round_number;
CREATE TABLE IF NOT EXISTS unison.round (
    number bigint PRIMARY KEY,
    made_at timestamptz NOT NULL DEFAULT clock_timestamp(),
    running jsonb NOT NULL,
    oldest bigint NOT NULL,
    floor bigint NOT NULL,
    seen jsonb NOT NULL,
    base jsonb
);

-- The tables whose share of the maintenance fails (share.py): what of it ("sweep" with "trim", or "collect"), since when, and for what reason. "since" is
-- the round from which on tombstones must be looked at when it succeeds again. While a table stands here its tombstones are kept, everywhere.
CREATE TABLE IF NOT EXISTS unison.overdue (
    schema_name text NOT NULL,
    table_name text NOT NULL,
    share text NOT NULL,
    since bigint NOT NULL,
    failed_since timestamptz NOT NULL DEFAULT clock_timestamp(),
    tried_at timestamptz NOT NULL DEFAULT clock_timestamp(),
    took_s double precision NOT NULL,
    reason text NOT NULL,
    PRIMARY KEY (schema_name, table_name, share)
);
-- each time: takeover.sql removes the checks of tables that were the owner's
ALTER TABLE unison.overdue DROP CONSTRAINT IF EXISTS overdue_share_check,
                           ADD CONSTRAINT overdue_share_check CHECK (share IN ('sweep', 'collect'));

-- No row gets a version of before this moment (in seconds since 1970); tombstones of before it may be forgotten. A sequence, because every session sees it
-- at once, and because it costs the least to read.
CREATE SEQUENCE IF NOT EXISTS unison.floor MINVALUE 0 START 0;

-- What the node tells its peers from time to time: up to which beat of each life it has applied, "settled" without any older transaction that still
-- runs. Beside the lives "settled" has "overdue" and "runs", see send_beat.sql. A message like the images: only the INSERT counts.
CREATE TABLE IF NOT EXISTS unison.beat (name text NOT NULL, life uuid NOT NULL, number bigint NOT NULL, settled jsonb NOT NULL);

-- The last beat of each member, the node itself too.
CREATE TABLE IF NOT EXISTS unison.member (
    name text PRIMARY KEY,
    life uuid NOT NULL,
    number bigint NOT NULL,
    settled jsonb NOT NULL,
    heard_at timestamptz NOT NULL DEFAULT clock_timestamp()
);
-- It was removed for good, with all that it had written confirmed by everybody. No name is used again.
ALTER TABLE unison.member ADD COLUMN IF NOT EXISTS gone boolean NOT NULL DEFAULT false;

-- Up to which beat of a life a seed may have brought changes that did not come from that life itself.
CREATE TABLE IF NOT EXISTS unison.hearsay (life uuid PRIMARY KEY, number bigint NOT NULL);

-- Who did what with the cluster, the newest of it, see services/entry.py. The same on every node but for what one of them missed.
CREATE TABLE IF NOT EXISTS unison.history (
    id uuid PRIMARY KEY,
    command text NOT NULL,
    who text NOT NULL,
    began timestamptz NOT NULL,
    ended timestamptz,
    outcome text NOT NULL,
    detail text
);

-- The conflict history, see conflict.sql. A deletion that lost has no row.
CREATE TABLE IF NOT EXISTS unison.conflict (
    id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    noticed_at timestamptz NOT NULL DEFAULT clock_timestamp(),
    schema_name text NOT NULL,
    table_name text NOT NULL,
    key jsonb NOT NULL,
    key_hash bigint NOT NULL,
    lost_ts timestamptz NOT NULL,
    lost_node smallint NOT NULL,
    lost_row jsonb,
    won_ts timestamptz NOT NULL,
    won_node smallint NOT NULL,
    UNIQUE (lost_ts, lost_node, key_hash, schema_name, table_name)
);
CREATE TABLE IF NOT EXISTS unison.replaced (
    version_ts timestamptz NOT NULL,
    version_node smallint NOT NULL,
    key_hash bigint NOT NULL,
    schema_name text NOT NULL,
    table_name text NOT NULL,
    arrived bigint NOT NULL DEFAULT coalesce(pg_sequence_last_value('unison.round_number'), 0),
    PRIMARY KEY (version_ts, version_node, key_hash, schema_name, table_name)
);

-- Never a row: what know.sql locks.
CREATE TABLE IF NOT EXISTS unison.knowing ();

-- An apply worker writes to a table as its owner, so this one is not the superuser's
ALTER TABLE unison.beat OWNER TO {owner};
-- stamp_insert.sql and image.sql read it as whoever writes
GRANT SELECT ON SEQUENCE unison.floor TO PUBLIC;
-- a seed reads them
GRANT SELECT ON unison.member TO unison_replicators;
