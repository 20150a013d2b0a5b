-- The foreign keys of a table: name, schema and name of the table they refer to, the columns on either side, and the operators, the referred side first.
SELECT k.conname, n.nspname, p.relname, c.columns, c.referred, c.operators
FROM pg_constraint AS k
JOIN pg_class AS p ON p.oid = k.confrelid
JOIN pg_namespace AS n ON n.oid = p.relnamespace
CROSS JOIN LATERAL (
    SELECT array_agg(a.attname::text ORDER BY u.place) AS columns, array_agg(r.attname::text ORDER BY u.place) AS referred,
           array_agg(format('%%I.%%s', s.nspname, o.oprname) ORDER BY u.place) AS operators
    FROM unnest(k.conkey, k.confkey, k.conpfeqop) WITH ORDINALITY AS u (number, referred, operator, place)
    JOIN pg_attribute AS a ON (a.attrelid, a.attnum) = (k.conrelid, u.number)
    JOIN pg_attribute AS r ON (r.attrelid, r.attnum) = (k.confrelid, u.referred)
    JOIN pg_operator AS o ON o.oid = u.operator
    JOIN pg_namespace AS s ON s.oid = o.oprnamespace
) AS c
WHERE k.contype = 'f' AND k.conrelid = to_regclass(format('%%I.%%I', %(schema)s::text, %(table)s::text))
ORDER BY k.conname;
