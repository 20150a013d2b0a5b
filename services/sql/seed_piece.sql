-- A piece of a table is merged: its part (rows, or tombstones) up to a key, as texts.
INSERT INTO unison.seed_piece AS p (subscription, schema_name, table_name, part, last_key)
SELECT s.oid, %(schema)s, %(table)s, %(part)s, %(last_key)s FROM pg_subscription AS s WHERE s.subname = %(subscription)s
ON CONFLICT (subscription, schema_name, table_name) DO UPDATE SET part = excluded.part, last_key = excluded.last_key;
