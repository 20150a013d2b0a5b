-- Sequences that a default of the table (its oid is %(table)s) draws from and that no column of it owns, each with the column of the default.
SELECT a.attname, format('%%I.%%I', n.nspname, s.relname)
FROM pg_attrdef AS d
JOIN pg_attribute AS a ON (a.attrelid, a.attnum) = (d.adrelid, d.adnum)
JOIN pg_depend AS p ON p.classid = 'pg_attrdef'::regclass AND p.objid = d.oid AND p.refclassid = 'pg_class'::regclass
JOIN pg_class AS s ON s.oid = p.refobjid AND s.relkind = 'S'
JOIN pg_namespace AS n ON n.oid = s.relnamespace
WHERE d.adrelid = %(table)s
  AND NOT EXISTS (SELECT FROM pg_depend AS o
                  WHERE o.classid = 'pg_class'::regclass AND o.objid = s.oid AND o.deptype IN ('a', 'i') AND o.refobjid = d.adrelid)
ORDER BY d.adnum;
