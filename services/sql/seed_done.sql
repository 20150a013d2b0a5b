-- All rows and tombstones of a table are merged: the subscription has its past.
WITH past AS (
    DELETE FROM unison.seed_piece AS p USING pg_subscription AS s
    WHERE s.subname = %(subscription)s
      AND (p.subscription, p.schema_name, p.table_name) = (s.oid, %(schema)s, %(table)s)
)
INSERT INTO unison.seeded (subscription, schema_name, table_name)
SELECT s.oid, %(schema)s, %(table)s FROM pg_subscription AS s WHERE s.subname = %(subscription)s;
