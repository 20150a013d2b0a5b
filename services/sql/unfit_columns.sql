-- Columns of a table (its oid is %(table)s) that cannot be carried, each as name, type and what is wrong with it, as fitness.py words it.
-- A column is of each type that its own is made of, too: element of an array, base of a domain, attribute of a composite type, bound of a range.
WITH RECURSIVE part (number, name, type, generated) AS (
    SELECT a.attnum, a.attname, a.atttypid, a.attgenerated <> '' FROM pg_attribute AS a WHERE a.attrelid = %(table)s AND a.attnum > 0 AND NOT a.attisdropped
    UNION
    SELECT p.number, p.name, i.type, false
    FROM part AS p JOIN pg_type AS t ON t.oid = p.type CROSS JOIN LATERAL (
        SELECT t.typelem WHERE t.typelem <> 0
        UNION ALL SELECT t.typbasetype WHERE t.typbasetype <> 0
        UNION ALL SELECT a.atttypid FROM pg_attribute AS a WHERE a.attrelid = t.typrelid AND a.attnum > 0 AND NOT a.attisdropped
        UNION ALL SELECT r.rngsubtype FROM pg_range AS r WHERE t.oid IN (r.rngtypid, r.rngmultitypid)
    ) AS i (type)
), judged AS (
    SELECT p.number, p.name, format_type(t.oid, NULL) AS type,
           CASE WHEN t.typtype = 'd' AND p.generated THEN 'generated domain'
                WHEN t.typnamespace <> 'pg_catalog'::regnamespace THEN NULL
                -- a number that stands for something else on each node
                WHEN t.typname LIKE 'reg%%' OR t.typname = 'aclitem' THEN 'local name'
                -- their input functions refuse everything
                WHEN t.typname IN ('pg_node_tree', 'pg_ndistinct', 'pg_dependencies', 'pg_mcv_list', 'pg_brin_bloom_summary',
                                   'pg_brin_minmax_multi_summary', 'gtsvector') THEN 'no input' END AS fault
    FROM part AS p JOIN pg_type AS t ON t.oid = p.type
)
SELECT name, type, fault FROM judged WHERE fault IS NOT NULL ORDER BY number, type;
