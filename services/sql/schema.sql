-- What pgunison keeps on a node beside the user's tables. Owned by the owner role; {owner} is that role.

-- All of it in one schema, so that DROP SCHEMA removes it and no name meets a user's.
CREATE SCHEMA IF NOT EXISTS unison AUTHORIZATION {owner};

-- Which member of which cluster this server is; one row. "serving" turns true when the node has joined.
CREATE TABLE IF NOT EXISTS unison.node (
    only_row boolean PRIMARY KEY DEFAULT true CHECK (only_row),
    cluster text NOT NULL,
    name text NOT NULL,
    index smallint NOT NULL,
    serving boolean NOT NULL DEFAULT false
);

-- The tables that are replicated. "description" is what the service call asked for; "signature" (guard.sql) is what the table consisted of when
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

-- When the node swept, when the oldest transaction of that moment had begun, and from when on tombstones were looked at: the next sweep
-- knows from these how far back it must look.
CREATE TABLE IF NOT EXISTS unison.sweep (
    swept_at timestamptz PRIMARY KEY,
    oldest_transaction timestamptz NOT NULL,
    since timestamptz NOT NULL
);

ALTER TABLE unison.node OWNER TO {owner};
ALTER TABLE unison.replicated_table OWNER TO {owner};
ALTER TABLE unison.seeded OWNER TO {owner};
ALTER TABLE unison.sweep OWNER TO {owner};
