-- The expressions of a table, %(table)s by oid, that call something which is not PostgreSQL's own: where each stands, and the expression. An apply worker
-- computes them for each row that arrives. A domain's check is computed with the value itself.
WITH part AS (
    SELECT 'index ' || x.indexrelid::regclass AS stands, 'pg_class'::regclass AS class, x.indexrelid AS object,
           concat_ws(', ', pg_get_expr(x.indexprs, x.indrelid), pg_get_expr(x.indpred, x.indrelid)) AS expression
    FROM pg_index AS x WHERE x.indrelid = %(table)s AND (x.indexprs IS NOT NULL OR x.indpred IS NOT NULL)
    UNION ALL
    SELECT 'constraint ' || quote_ident(k.conname), 'pg_constraint'::regclass, k.oid, pg_get_expr(k.conbin, k.conrelid)
    FROM pg_constraint AS k WHERE k.conrelid = %(table)s AND k.contype = 'c'
    UNION ALL
    SELECT 'column ' || quote_ident(a.attname), 'pg_attrdef'::regclass, d.oid, pg_get_expr(d.adbin, d.adrelid)
    FROM pg_attrdef AS d JOIN pg_attribute AS a ON (a.attrelid, a.attnum) = (d.adrelid, d.adnum)
    WHERE d.adrelid = %(table)s AND a.attgenerated <> ''
    UNION ALL
    SELECT 'domain ' || k.contypid::regtype, 'pg_constraint'::regclass, k.oid, quote_ident(a.attname)
    FROM pg_attribute AS a JOIN pg_constraint AS k ON k.contypid = a.atttypid
    WHERE a.attrelid = %(table)s AND a.attnum > 0 AND NOT a.attisdropped
)
SELECT stands, expression FROM part AS p
WHERE EXISTS (SELECT FROM pg_depend AS d WHERE (d.classid, d.objid) = (p.class, p.object)
              AND d.refclassid IN ('pg_proc'::regclass, 'pg_operator'::regclass))
ORDER BY 1;
