-- The users' tables that the node publishes together with their images and tombstones, those with the columns that peers
-- take: their key and %(columns)s. From the catalogue itself: the view pg_publication_tables asks a function for each row.
SELECT r.schema_name, r.table_name
FROM unison.replicated_table AS r
CROSS JOIN LATERAL (VALUES (r.schema_name, r.table_name), ('unison', r.image_name), ('unison', r.tombstone_name))
    AS t (schema_name, table_name)
JOIN pg_publication_rel AS p ON p.prrelid = to_regclass(format('%%I.%%I', t.schema_name, t.table_name))
JOIN pg_publication AS u ON u.oid = p.prpubid AND u.pubname = %(publication)s
WHERE t.table_name <> r.tombstone_name
   OR ARRAY(SELECT a.attname::text FROM pg_attribute AS a
            WHERE a.attrelid = p.prrelid AND a.attnum = ANY (p.prattrs::smallint[]) ORDER BY 1)
      = ARRAY(SELECT DISTINCT c.name FROM unnest(r.key_columns || %(columns)s::text[]) AS c (name) ORDER BY 1)
GROUP BY r.schema_name, r.table_name
HAVING count(*) = 3;
