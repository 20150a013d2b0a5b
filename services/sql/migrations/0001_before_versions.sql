-- What came before there were numbers: any database of a version that recorded none is brought to what schema.sql makes. Whatever
-- schema.sql makes where it is missing, is left to it.

-- the rounds have taken its place
DROP TABLE IF EXISTS unison.sweep;

ALTER TABLE unison.node ADD COLUMN IF NOT EXISTS life uuid NOT NULL DEFAULT gen_random_uuid();

-- installation.py fills it in, with the function that makes it
ALTER TABLE unison.replicated_table ADD COLUMN IF NOT EXISTS signature text NOT NULL DEFAULT '';
ALTER TABLE unison.replicated_table ALTER COLUMN signature DROP DEFAULT, DROP COLUMN IF EXISTS all_columns;

-- A subscription was seeded as a whole then. That it has to be merged once more is harmless.
DO $body$
BEGIN
    IF NOT EXISTS (SELECT FROM pg_catalog.pg_attribute AS a
                   WHERE a.attrelid = 'unison.seeded'::pg_catalog.regclass AND a.attname = 'table_name' AND NOT a.attisdropped) THEN
        DROP TABLE unison.seeded;
    END IF;
END
$body$;

ALTER TABLE IF EXISTS unison.replaced DROP COLUMN IF EXISTS noticed_at,
    ADD COLUMN IF NOT EXISTS arrived bigint NOT NULL
        DEFAULT coalesce(pg_catalog.pg_sequence_last_value('unison.round_number'), 0);
