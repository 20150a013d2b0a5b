-- DDL is not replicated. A replicated table that changes under the merge would diverge without a word: a new column would travel with an
-- INSERT and not with an UPDATE; with a rule the merge cannot write. So a change of columns, keys, uniqueness or rules is refused, and so is dropping the table.
-- A superuser gets past this; then "status" says so.

-- What a replicated table consists of, as one text; null when it does not exist.
CREATE OR REPLACE FUNCTION unison.signature(of_schema text, of_table text) RETURNS text LANGUAGE sql STABLE
SET search_path = pg_catalog, pg_temp AS $body$
    SELECT c.relpersistence::text || E'\n' || string_agg(line, E'\n' ORDER BY line)
    FROM pg_class AS c
    JOIN pg_namespace AS n ON n.oid = c.relnamespace
    CROSS JOIN LATERAL (
        SELECT 'column ' || a.attname || ' ' || format_type(a.atttypid, a.atttypmod) || ' ' || a.attgenerated::text || a.attidentity::text
        FROM pg_attribute AS a WHERE a.attrelid = c.oid AND a.attnum > 0 AND NOT a.attisdropped
        UNION ALL
        SELECT 'unique ' || pg_get_indexdef(x.indexrelid)
        FROM pg_index AS x WHERE x.indrelid = c.oid AND (x.indisunique OR x.indisexclusion)
        UNION ALL
        SELECT 'rule ' || r.rulename FROM pg_rewrite AS r WHERE r.ev_class = c.oid
    ) AS l (line)
    WHERE n.nspname = of_schema AND c.relname = of_table
    GROUP BY c.oid, c.relpersistence
$body$;

CREATE OR REPLACE FUNCTION unison.guard() RETURNS event_trigger LANGUAGE plpgsql SECURITY DEFINER
SET search_path = pg_catalog, pg_temp AS $body$
DECLARE
    r record;
BEGIN
    -- the agent itself, and what only a superuser does
    IF session_user = {agent_text} OR (SELECT rolsuper FROM pg_roles WHERE rolname = session_user) THEN
        RETURN;
    END IF;
    FOR r IN SELECT schema_name, table_name FROM unison.replicated_table
             WHERE signature IS DISTINCT FROM unison.signature(schema_name, table_name) LOOP
        RAISE EXCEPTION 'cannot change replicated table %.%', quote_ident(r.schema_name), quote_ident(r.table_name)
        USING ERRCODE = 'feature_not_supported',
              DETAIL = 'Its columns and keys must be the same on every node, and DDL is not replicated.',
              HINT = 'Make a new table, describe it in sysconfig.json and run: python3 orchestrator.py up';
    END LOOP;
END
$body$;

DROP EVENT TRIGGER IF EXISTS unison_guard;
CREATE EVENT TRIGGER unison_guard ON ddl_command_end
WHEN TAG IN ('ALTER TABLE', 'CREATE INDEX', 'CREATE RULE', 'DROP INDEX', 'DROP TABLE', 'DROP SCHEMA', 'DROP TYPE', 'DROP OWNED', 'ALTER SCHEMA')
EXECUTE FUNCTION unison.guard();
