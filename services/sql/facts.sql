-- What a replicated table consists of: the catalogue's rows about it, its companions, and all that its rows
-- depend on, whole but for what is known to be harmless. Each fact has a kind and a name, for people, and a value; the value
-- holds the name only where the name matters. "unison.signature" is all facts of one table as JSON, recorded when it is set up.
-- Expressions are compared as PostgreSQL keeps them, by numbers instead of names.
-- Left out, because no row can differ by it, and no link can stop: names of indexes and constraints, ordinary indexes, foreign keys (no
-- apply worker checks them), ordinary triggers of users, row level security that is not forced (apply workers and seeds pass it), statistics,
-- storage, tablespaces, grants to others, labels that an enum gets in addition.

-- One table's when both names are given, else every table's; set-based, because "status" asks for all of them again and again.
CREATE OR REPLACE FUNCTION unison.facts(of_schema text, of_table text)
RETURNS TABLE (schema_name text, table_name text, kind text, name text, value bigint) LANGUAGE plpgsql STABLE
SET search_path = pg_catalog, pg_temp AS $body$
#variable_conflict use_column
BEGIN
-- planning takes longer than one table does; plpgsql keeps the plan for the session
RETURN QUERY
WITH part AS MATERIALIZED (
    SELECT r.schema_name, r.table_name, l.place, c.oid, c.relowner
    FROM unison.replicated_table AS r
    CROSS JOIN LATERAL (VALUES ('', r.schema_name, r.table_name), ('image: ', 'unison', r.image_name),
                               ('tombstones: ', 'unison', r.tombstone_name)) AS l (place, nspname, relname)
    JOIN pg_namespace AS n ON n.nspname = l.nspname
    JOIN pg_class AS c ON c.relname = l.relname AND c.relnamespace = n.oid
    WHERE of_schema IS NULL OR (r.schema_name, r.table_name) = (of_schema, of_table)
), attribute AS MATERIALIZED (
    SELECT p.oid AS part, a.attname::text AS attname, a.atttypid, a.attnum, a.attgenerated, a.attislocal, a.attinhcount, a.attnotnull, a.attidentity,
           a.attcollation, a.atttypmod
    FROM part AS p JOIN pg_attribute AS a ON a.attrelid = p.oid WHERE a.attnum > 0 AND NOT a.attisdropped
), sequence AS MATERIALIZED (
    SELECT p.oid AS part, s.relname::text AS relname, s.relpersistence, s.relowner, d.refobjsubid,
           to_jsonb(q) - ARRAY['seqrelid', 'seqcache'] AS setting
    FROM part AS p
    JOIN pg_depend AS d ON d.refclassid = 'pg_class'::regclass AND d.refobjid = p.oid AND d.refobjsubid > 0
                       AND d.classid = 'pg_class'::regclass AND d.deptype IN ('a', 'i')
    JOIN pg_class AS s ON s.oid = d.objid AND s.relkind = 'S'
    JOIN pg_sequence AS q ON q.seqrelid = s.oid
), type (part, oid) AS MATERIALIZED (
    -- what PostgreSQL ships does not change
    WITH RECURSIVE made_of (part, oid) AS (
        SELECT a.part, a.atttypid FROM attribute AS a WHERE a.atttypid >= 16384
        UNION
        SELECT m.part, i.oid FROM made_of AS m JOIN pg_type AS t ON t.oid = m.oid CROSS JOIN LATERAL (
            SELECT t.typelem UNION ALL SELECT t.typbasetype
            UNION ALL SELECT a.atttypid FROM pg_attribute AS a WHERE a.attrelid = t.typrelid AND a.attnum > 0 AND NOT a.attisdropped
            UNION ALL SELECT r.rngsubtype FROM pg_range AS r WHERE t.oid IN (r.rngtypid, r.rngmultitypid)
        ) AS i (oid) WHERE i.oid >= 16384
    ) SELECT made_of.part, made_of.oid FROM made_of
), constraints AS MATERIALIZED (
    SELECT p.oid AS part, k.oid, k.conname::text AS conname, k.contype, k.conkey, k.condeferrable, k.condeferred, k.connoinherit, k.conbin, k.conrelid,
           to_jsonb(k) ->> 'conenforced' AS enforced
    FROM part AS p JOIN pg_constraint AS k ON k.conrelid = p.oid AND k.contype NOT IN ('f', 't', 'n')
    UNION ALL
    SELECT t.part, k.oid, k.conname, k.contype, k.conkey, k.condeferrable, k.condeferred, k.connoinherit, k.conbin, k.conrelid, NULL
    FROM type AS t JOIN pg_constraint AS k ON k.contypid = t.oid
), index AS MATERIALIZED (
    SELECT p.oid AS part, x.* FROM part AS p JOIN pg_index AS x ON x.indrelid = p.oid
), called (part, oid) AS (
    SELECT u.part, d.refobjid
    FROM (SELECT k.part, 'pg_constraint'::regclass AS classid, k.oid FROM constraints AS k
          UNION ALL SELECT x.part, 'pg_class'::regclass, x.indexrelid FROM index AS x
          UNION ALL SELECT a.part, 'pg_attrdef'::regclass, e.oid FROM attribute AS a
                    JOIN pg_attrdef AS e ON (e.adrelid, e.adnum) = (a.part, a.attnum) AND a.attgenerated <> '') AS u
    JOIN pg_depend AS d ON d.classid = u.classid AND d.objid = u.oid AND d.refclassid = 'pg_proc'::regclass
), fact (part, kind, name, value) AS (
    SELECT p.oid, 'property', s.name, s.value
    FROM part AS p JOIN pg_class AS c ON c.oid = p.oid CROSS JOIN LATERAL (VALUES
        ('persistence', c.relpersistence::text), ('kind', c.relkind::text), ('forced row level security', c.relforcerowsecurity::text),
        ('replica identity', c.relreplident::text), ('owner', c.relowner::text), ('access method', c.relam::text), ('type', c.reloftype::text),
        ('partition', concat(c.relispartition, c.relpartbound))) AS s (name, value)
    UNION ALL
    -- functions of the merge make rows of all columns
    SELECT a.part, 'property', 'order of columns', string_agg(a.attname, ' ' ORDER BY a.attnum) FROM attribute AS a GROUP BY a.part
    UNION ALL
    SELECT a.part, 'column', a.attname,
           concat_ws(' ', a.attname, a.atttypid, a.atttypmod, a.attnotnull, a.attgenerated, a.attidentity, a.attcollation, a.attislocal, a.attinhcount)
    FROM attribute AS a
    UNION ALL
    SELECT a.part, 'default of column', a.attname, concat_ws(' ', a.attname, e.adbin)
    FROM attribute AS a JOIN pg_attrdef AS e ON (e.adrelid, e.adnum) = (a.part, a.attnum)
    UNION ALL
    SELECT k.part, CASE k.conname WHEN 'unison_key_fits' THEN 'merge constraint' ELSE 'constraint' END, k.conname,
           concat_ws(' ', k.contype, k.conkey::text, k.condeferrable, k.condeferred, k.connoinherit, k.enforced, k.conbin)
    FROM constraints AS k
    UNION ALL
    SELECT x.part, 'unique index', i.relname,
           concat_ws(' ', x.indnatts, x.indnkeyatts, x.indisexclusion, x.indimmediate, to_jsonb(x) ->> 'indnullsnotdistinct', x.indkey, x.indclass,
                     x.indcollation, x.indoption, x.indexprs, x.indpred)
    FROM index AS x JOIN pg_class AS i ON i.oid = x.indexrelid WHERE x.indisunique OR x.indisexclusion
    UNION ALL
    SELECT p.oid, CASE WHEN starts_with(t.tgname, 'zzz_unison_') THEN 'merge trigger'
                       WHEN t.tgenabled IN ('A', 'R') THEN 'trigger that fires on arrival'
                       ELSE 'trigger that fires behind those of the merge' END, t.tgname,
           concat_ws(' ', t.tgname, t.tgenabled, t.tgtype, t.tgfoid, t.tgattr, t.tgqual, t.tgoldtable, t.tgnewtable, t.tgdeferrable)
    FROM part AS p JOIN pg_trigger AS t ON t.tgrelid = p.oid
    WHERE t.tgenabled IN ('A', 'R') OR (starts_with(t.tgname, 'zzz_unison_') AND NOT t.tgisinternal)
       -- a BEFORE ROW trigger for INSERT or UPDATE: behind the last of ours it may change a row that was sent already
       OR (t.tgtype & 3 = 3 AND t.tgtype & 20 <> 0 AND t.tgname > 'zzz_unison_' AND NOT t.tgisinternal)
    UNION ALL
    SELECT p.oid, 'rule', w.rulename, concat_ws(' ', w.rulename, w.ev_type, w.is_instead, w.ev_enabled) FROM part AS p JOIN pg_rewrite AS w ON w.ev_class = p.oid
    UNION ALL
    SELECT p.oid, 'child or parent table', (CASE p.oid WHEN i.inhparent THEN i.inhrelid ELSE i.inhparent END)::regclass::text, i.inhparent::text
    FROM part AS p JOIN pg_inherits AS i ON p.oid IN (i.inhrelid, i.inhparent)
    UNION ALL
    -- with a part of the columns or rows, no UPDATE may change what is not of the replica identity
    SELECT p.oid, 'publication of a part', b.pubname, concat_ws(' ', b.pubupdate, b.pubdelete, l.prattrs, l.prqual)
    FROM part AS p JOIN pg_publication_rel AS l ON l.prrelid = p.oid JOIN pg_publication AS b ON b.oid = l.prpubid
    WHERE (b.pubupdate OR b.pubdelete) AND (l.prqual IS NOT NULL OR l.prattrs IS NOT NULL)
    UNION ALL
    SELECT s.part, 'sequence', s.relname, concat_ws(' ', s.setting, s.relpersistence, s.relowner, s.refobjsubid) FROM sequence AS s
    UNION ALL
    SELECT y.part, 'type', t.typname,
           concat_ws(' ', t.oid, t.typlen, t.typtype, t.typcategory, t.typdelim, t.typelem, t.typinput, t.typoutput, t.typreceive, t.typsend, t.typnotnull,
                     t.typbasetype, t.typtypmod, t.typcollation, t.typdefault)
    FROM type AS y JOIN pg_type AS t ON t.oid = y.oid
    UNION ALL
    SELECT y.part, 'label', e.enumlabel, concat_ws(' ', e.enumtypid, e.enumlabel) FROM type AS y JOIN pg_enum AS e ON e.enumtypid = y.oid
    UNION ALL
    SELECT y.part, 'attribute', a.attname, concat_ws(' ', t.oid, a.attnum, a.atttypid, a.atttypmod, a.attcollation)
    FROM type AS y JOIN pg_type AS t ON t.oid = y.oid JOIN pg_attribute AS a ON a.attrelid = t.typrelid AND a.attnum > 0 AND NOT a.attisdropped
    UNION ALL
    SELECT f.part, 'function', p.proname,
           concat_ws(' ', p.oid, p.prosrc, p.prosqlbody, p.proconfig::text, p.prosecdef, p.provolatile, p.proisstrict, p.prolang,
                     has_function_privilege(t.relowner, p.oid, 'EXECUTE'))
    FROM called AS f JOIN part AS t ON t.oid = f.part JOIN pg_proc AS p ON p.oid = f.oid
    UNION ALL
    SELECT c.oid, 'privilege', v.privilege, has_table_privilege(c.relowner, c.oid, v.privilege)::text
    FROM part AS p JOIN pg_class AS c ON c.oid = p.oid CROSS JOIN (VALUES ('SELECT'), ('INSERT'), ('UPDATE'), ('DELETE')) AS v (privilege)
    -- without privileges of its own it has those of its owner
    WHERE c.relacl IS NOT NULL
), merge_function AS (
    SELECT r.schema_name, r.table_name, p.proname, concat_ws(' ', p.proname, p.proowner, p.prosrc, p.proconfig::text, p.prosecdef, p.provolatile, p.prolang) AS value
    FROM pg_proc AS p
    -- all functions of a table have its mark before the part's name (shape.py)
    JOIN unison.replicated_table AS r ON left(r.image_name, -5)
        = substring(p.proname FROM '^(.*_[0-9a-f][0-9a-f][0-9a-f][0-9a-f][0-9a-f][0-9a-f][0-9a-f][0-9a-f]_)')
    WHERE p.pronamespace = 'unison'::regnamespace AND (of_schema IS NULL OR (r.schema_name, r.table_name) = (of_schema, of_table))
)
SELECT p.schema_name, p.table_name, CASE WHEN p.place = '' OR starts_with(f.kind, 'merge ') THEN f.kind ELSE 'merge ' || f.kind END, p.place || f.name,
       hashtextextended(concat_ws(' ', p.place, f.kind, f.value), 0)
FROM fact AS f JOIN part AS p ON p.oid = f.part
WHERE NOT (f.kind = 'privilege' AND f.value = 'true')
UNION ALL
SELECT m.schema_name, m.table_name, 'merge function', m.proname, hashtextextended(concat_ws(' ', 'merge function', m.value), 0) FROM merge_function AS m;
END
$body$;

-- Everything of one table as one text, null when there is no such table.
CREATE OR REPLACE FUNCTION unison.signature(of_schema text, of_table text) RETURNS text LANGUAGE sql STABLE
SET search_path = pg_catalog, pg_temp AS $body$
    SELECT jsonb_agg(jsonb_build_array(f.kind, f.name, f.value::text) ORDER BY f.kind COLLATE "C", f.name COLLATE "C", f.value)::text
    FROM unison.facts(of_schema, of_table) AS f
$body$;

-- What of a table is not as recorded, in words; no row for a table that is unchanged. All tables when no name is given.
-- A label may come, a value that is there twice is there once: REINDEX CONCURRENTLY makes a second index for a while.
CREATE OR REPLACE FUNCTION unison.changes(of_schema text, of_table text)
RETURNS TABLE (schema_name text, table_name text, changes text[]) LANGUAGE sql STABLE
SET search_path = pg_catalog, pg_temp AS $body$
WITH recorded AS MATERIALIZED (
    SELECT r.schema_name, r.table_name, f.fact ->> 0 AS kind, f.fact ->> 1 AS name, (f.fact ->> 2)::bigint AS value
    FROM unison.replicated_table AS r
    CROSS JOIN LATERAL jsonb_array_elements(CASE WHEN starts_with(r.signature, '[') THEN r.signature::jsonb ELSE jsonb_build_array() END) AS f (fact)
    WHERE of_schema IS NULL OR (r.schema_name, r.table_name) = (of_schema, of_table)
), found AS MATERIALIZED (
    SELECT * FROM unison.facts(of_schema, of_table)
), gone AS (
    SELECT r.* FROM recorded AS r
    WHERE NOT EXISTS (SELECT FROM found AS f WHERE (f.schema_name, f.table_name, f.value) = (r.schema_name, r.table_name, r.value))
), come AS (
    SELECT f.* FROM found AS f
    WHERE f.kind NOT IN ('label', 'merge label') AND starts_with((SELECT t.signature FROM unison.replicated_table AS t
                                             WHERE (t.schema_name, t.table_name) = (f.schema_name, f.table_name)), '[')
      AND NOT EXISTS (SELECT FROM recorded AS r WHERE (r.schema_name, r.table_name, r.value) = (f.schema_name, f.table_name, f.value))
), said AS (
    SELECT coalesce(g.schema_name, c.schema_name) AS schema_name, coalesce(g.table_name, c.table_name) AS table_name,
           concat_ws(' ', CASE WHEN g.kind = 'property' THEN 'its' ELSE coalesce(g.kind, c.kind) END, coalesce(g.name, c.name),
                     CASE WHEN g.kind IS NULL THEN 'is new' WHEN c.kind IS NULL THEN 'is missing' ELSE 'was changed' END) AS words
    FROM gone AS g FULL JOIN come AS c USING (schema_name, table_name, kind, name)
)
SELECT r.schema_name, r.table_name, ARRAY['it was changed under an older version'] FROM unison.replicated_table AS r
WHERE NOT starts_with(r.signature, '[') AND (of_schema IS NULL OR (r.schema_name, r.table_name) = (of_schema, of_table))
UNION ALL
SELECT s.schema_name, s.table_name,
       CASE WHEN EXISTS (SELECT FROM found AS f WHERE (f.schema_name, f.table_name, f.kind) = (s.schema_name, s.table_name, 'property'))
       THEN array_agg(DISTINCT s.words ORDER BY s.words) ELSE ARRAY['the table is missing'] END
FROM said AS s GROUP BY s.schema_name, s.table_name
$body$;
