-- The rows of a table may differ from the peers': each link is to compare them, and to merge all that its peer holds. Every table when none is named.
WITH chosen AS (
    SELECT s.oid AS subscription, r.schema_name, r.table_name
    FROM unison.replicated_table AS r CROSS JOIN pg_subscription AS s
    WHERE s.subname LIKE 'unison\_%%' AND s.subdbid = (SELECT oid FROM pg_database WHERE datname = current_database())
      AND (%(schema)s::text IS NULL OR (r.schema_name, r.table_name) = (%(schema)s, %(table)s))
), unseeded AS (
    DELETE FROM unison.seeded AS d USING chosen AS c
    WHERE (d.subscription, d.schema_name, d.table_name) = (c.subscription, c.schema_name, c.table_name)
), unfinished AS (
    DELETE FROM unison.seed_piece AS d USING chosen AS c
    WHERE (d.subscription, d.schema_name, d.table_name) = (c.subscription, c.schema_name, c.table_name)
)
INSERT INTO unison.doubtful (subscription, schema_name, table_name) SELECT * FROM chosen ON CONFLICT DO NOTHING;
