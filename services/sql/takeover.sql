-- The schema unison and what this program makes there once belong to the superuser: {relations} and {functions} are the names. An earlier version made them the
-- owner's, or the owner made one of a name first. What would run as whoever touches it, the superuser too, must not be the owner's: so nothing here reads a
-- row or calls a function of that schema, and whatever somebody hung at a table is removed or refused. The apply workers' own tables stay the owner's.
DO $body$
DECLARE
    other record;
    statement text;
BEGIN
    IF to_regnamespace('unison') IS NULL THEN
        RETURN;
    END IF;
    ALTER SCHEMA unison OWNER TO CURRENT_USER;
    FOR other IN SELECT oid::regclass AS name, relkind FROM pg_class
                 WHERE relnamespace = 'unison'::regnamespace AND relname = ANY ({relations}) AND relkind <> 'c' LOOP
        IF other.relkind NOT IN ('r', 'S') THEN
            RAISE EXCEPTION '% is not a table', other.name USING HINT = format('Drop or rename what has that name: %s', other.name);
        END IF;
        EXECUTE format('ALTER TABLE %s OWNER TO CURRENT_USER', other.name);
    END LOOP;
    FOR statement IN
        WITH ours AS (
            SELECT oid, oid::regclass AS name, relrowsecurity FROM pg_class
            WHERE relnamespace = 'unison'::regnamespace AND relname = ANY ({relations}) AND relkind = 'r'
        )
        SELECT format('DROP TRIGGER %I ON %s', t.tgname, o.name) FROM ours AS o JOIN pg_trigger AS t ON t.tgrelid = o.oid AND NOT t.tgisinternal
        UNION ALL SELECT format('DROP RULE %I ON %s', r.rulename, o.name) FROM ours AS o JOIN pg_rewrite AS r ON r.ev_class = o.oid
        UNION ALL SELECT format('DROP POLICY %I ON %s', p.polname, o.name) FROM ours AS o JOIN pg_policy AS p ON p.polrelid = o.oid
        UNION ALL SELECT format('ALTER TABLE %s DISABLE ROW LEVEL SECURITY', o.name) FROM ours AS o WHERE o.relrowsecurity
        UNION ALL SELECT format('ALTER TABLE %s NO INHERIT %s', i.inhrelid::regclass, o.name) FROM ours AS o JOIN pg_inherits AS i ON i.inhparent = o.oid
        UNION ALL SELECT format('ALTER TABLE %s DROP CONSTRAINT %I', o.name, c.conname) FROM ours AS o JOIN pg_constraint AS c ON c.conrelid = o.oid
                  WHERE c.contype = 'f' OR (c.contype = 'c' AND (o.name, c.conname) IS DISTINCT FROM ('unison.node'::regclass, 'node_only_row_check'))
        UNION ALL SELECT format('DROP INDEX %s', x.indexrelid::regclass) FROM ours AS o JOIN pg_index AS x ON x.indrelid = o.oid
                  WHERE x.indexprs IS NOT NULL OR x.indpred IS NOT NULL
        -- CASCADE: what calls it is made again
        UNION ALL SELECT format('DROP ROUTINE %s CASCADE', p.oid::regprocedure) FROM pg_proc AS p JOIN pg_roles AS r ON r.oid = p.proowner
                  WHERE p.pronamespace = 'unison'::regnamespace AND p.proname = ANY ({functions}) AND NOT r.rolsuper
    LOOP
        EXECUTE statement;
    END LOOP;
    -- what PostgreSQL itself brings is not in pg_depend
    FOR other IN SELECT c.oid::regclass AS name, a.attname FROM pg_class AS c JOIN pg_attribute AS a ON a.attrelid = c.oid AND a.attnum > 0
                 WHERE c.relnamespace = 'unison'::regnamespace AND c.relname = ANY ({relations}) AND c.relkind = 'r' AND NOT a.attisdropped
                   AND (a.attgenerated <> '' OR a.atttypid >= 16384
                        OR EXISTS (SELECT FROM pg_attrdef AS d JOIN pg_depend AS p ON p.classid = 'pg_attrdef'::regclass AND p.objid = d.oid
                                   WHERE d.adrelid = c.oid AND d.adnum = a.attnum AND p.refclassid IN ('pg_proc'::regclass, 'pg_operator'::regclass,
                                                                                                     'pg_type'::regclass))) LOOP
        RAISE EXCEPTION 'column % of % is not as it was made', other.attname, other.name USING HINT = 'Drop that column, or its default.';
    END LOOP;
END
$body$;
