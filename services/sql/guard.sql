-- DDL is not replicated. A replicated table that changes under the merge would diverge without a word, or stop its links: a new column would
-- travel with an INSERT and not with an UPDATE, a CHECK would refuse what another node has accepted. So whatever changes
-- a fact (facts.sql) of a replicated table is refused before it takes effect, and so is all DDL on what is pgunison's own.
-- Only tables that the command touches are judged. A superuser gets past this; then "status" says what was changed.

-- The replicated tables that an object is of, or that are made of it. "is_missing": there is no such table by the recorded name any more.
-- Upwards from the object along what depends on it (pg_depend), then from a trigger, a constraint and so on to its table.
CREATE OR REPLACE FUNCTION unison.touched(of_class oid, of_object oid) RETURNS TABLE (schema_name text, table_name text, is_missing boolean)
LANGUAGE plpgsql STABLE SET search_path = pg_catalog, pg_temp AS $body$
#variable_conflict use_column
BEGIN
-- plpgsql keeps the plan for the session
RETURN QUERY
WITH RECURSIVE reached (classid, objid) AS (
    SELECT of_class, of_object
    UNION
    SELECT n.classid, n.objid FROM reached AS r CROSS JOIN LATERAL (
        SELECT d.classid, d.objid FROM pg_depend AS d
        WHERE d.refclassid = r.classid AND d.refobjid = r.objid
          -- everything in a schema depends on it, and what stands on another table says nothing of this one
          AND r.classid <> 'pg_namespace'::regclass
          AND (r.objid = of_object OR r.classid <> 'pg_class'::regclass OR (SELECT c.relkind FROM pg_class AS c WHERE c.oid = r.objid) IN ('c', 'S', 'i'))
        UNION ALL SELECT 'pg_type'::regclass, c.reltype FROM pg_class AS c
                  WHERE r.classid = 'pg_class'::regclass AND c.oid = r.objid AND c.relkind = 'c'
        UNION ALL SELECT 'pg_type'::regclass, k.contypid FROM pg_constraint AS k
                  WHERE r.classid = 'pg_constraint'::regclass AND k.oid = r.objid AND k.contypid <> 0
    ) AS n
), relation (oid) AS (
    SELECT r.objid FROM reached AS r WHERE r.classid = 'pg_class'::regclass
    UNION SELECT x.indrelid FROM reached AS r JOIN pg_index AS x ON x.indexrelid = r.objid WHERE r.classid = 'pg_class'::regclass
    UNION SELECT i.inhparent FROM pg_inherits AS i WHERE of_class = 'pg_class'::regclass AND i.inhrelid = of_object
    UNION SELECT d.refobjid FROM reached AS r JOIN pg_depend AS d ON d.classid = r.classid AND d.objid = r.objid
          WHERE r.classid = 'pg_class'::regclass AND d.refclassid = 'pg_class'::regclass AND d.deptype IN ('a', 'i')
    UNION SELECT k.conrelid FROM reached AS r JOIN pg_constraint AS k ON k.oid = r.objid WHERE r.classid = 'pg_constraint'::regclass
    UNION SELECT t.tgrelid FROM reached AS r JOIN pg_trigger AS t ON t.oid = r.objid WHERE r.classid = 'pg_trigger'::regclass
    UNION SELECT w.ev_class FROM reached AS r JOIN pg_rewrite AS w ON w.oid = r.objid WHERE r.classid = 'pg_rewrite'::regclass
    UNION SELECT e.adrelid FROM reached AS r JOIN pg_attrdef AS e ON e.oid = r.objid WHERE r.classid = 'pg_attrdef'::regclass
    UNION SELECT p.polrelid FROM reached AS r JOIN pg_policy AS p ON p.oid = r.objid WHERE r.classid = 'pg_policy'::regclass
    UNION SELECT l.prrelid FROM pg_publication_rel AS l
          WHERE (of_class = 'pg_publication'::regclass AND l.prpubid = of_object) OR (of_class = 'pg_publication_rel'::regclass AND l.oid = of_object)
    -- a renamed schema takes its tables with it
    UNION SELECT c.oid FROM pg_class AS c WHERE of_class = 'pg_namespace'::regclass AND c.relnamespace = of_object
)
SELECT n.nspname::text, c.relname::text, t.table_name IS NULL
FROM relation AS r
JOIN pg_class AS c ON c.oid = r.oid
JOIN pg_namespace AS n ON n.oid = c.relnamespace
LEFT JOIN unison.replicated_table AS t ON t.schema_name = n.nspname AND t.table_name = c.relname
-- what carries a part of the merge is a replicated table, whatever its name is now
WHERE t.table_name IS NOT NULL
   OR (n.nspname <> 'unison' AND EXISTS (SELECT FROM pg_trigger AS g WHERE g.tgrelid = c.oid AND g.tgname = 'zzz_unison_merge'));
END
$body$;

-- What is said of a refused change of a replicated table, as message, detail and hint. Raised where it is found: each function in
-- between would be some lines of context below the error.
CREATE OR REPLACE FUNCTION unison.refusal(of_schema text, of_table text, why text, OUT message text, OUT detail text, OUT hint text)
LANGUAGE plpgsql IMMUTABLE SET search_path = pg_catalog, pg_temp AS $body$
BEGIN
    message := format('cannot change replicated table %I.%I', of_schema, of_table);
    detail := format('%s. It must be the same on every node, and DDL is not replicated.', why);
    hint := CASE WHEN why ~ '(^|, )merge trigger' THEN 'Leave the triggers of pgunison as they are, and name those of your own one by one.'
            ELSE 'Make a new table, describe it in sysconfig.json and run: python3 orchestrator.py up' END;
END
$body$;

-- At the end of a command, when the catalogue shows what it would be: an exception undoes it.
CREATE OR REPLACE FUNCTION unison.guard() RETURNS event_trigger LANGUAGE plpgsql SECURITY DEFINER
SET search_path = pg_catalog, pg_temp AS $body$
DECLARE
    own CONSTANT text := 'It is a part of pgunison, and the same on every node.';
    done record;
    found record;
    refused record;
BEGIN
    IF session_user = {agent_text} THEN
        -- what it changes of a table it records, and that is a note, too (altered.sql)
        RETURN;
    END IF;
    IF (SELECT r.rolsuper FROM pg_roles AS r WHERE r.rolname = session_user) THEN
        -- somebody who knows what he does leaves a note for the next look (faults.py)
        IF to_regclass('unison.altered') IS NOT NULL AND EXISTS (
               SELECT FROM pg_event_trigger_ddl_commands() AS d
               WHERE d.classid IS NULL OR d.schema_name = 'unison' OR EXISTS (SELECT FROM unison.touched(d.classid, d.objid))
                  OR (d.classid = 'pg_trigger'::regclass AND d.object_identity LIKE '% on unison.%')) THEN
            INSERT INTO unison.altered DEFAULT VALUES;
        END IF;
        RETURN;
    END IF;
    IF to_regclass('unison.replicated_table') IS NULL THEN
        RAISE EXCEPTION 'cannot change schema unison' USING ERRCODE = 'feature_not_supported', DETAIL = own, HINT = 'Leave it to: python3 orchestrator.py up';
    END IF;
    FOR done IN SELECT * FROM pg_event_trigger_ddl_commands() LOOP
        CONTINUE WHEN done.classid IS NULL;
        IF EXISTS (SELECT FROM pg_publication AS p LEFT JOIN pg_publication_rel AS l ON l.prpubid = p.oid
                   LEFT JOIN pg_publication_namespace AS m ON m.pnpubid = p.oid
                   WHERE CASE done.classid WHEN 'pg_publication'::regclass THEN p.oid = done.objid
                                           WHEN 'pg_publication_rel'::regclass THEN l.oid = done.objid
                                           WHEN 'pg_publication_namespace'::regclass THEN m.oid = done.objid ELSE false END
                     -- nothing could be deleted any more from a table of ours that somebody publishes
                     AND (p.pubname = 'unison' OR EXISTS (SELECT FROM pg_class AS c WHERE c.oid = l.prrelid AND c.relnamespace = 'unison'::regnamespace))) THEN
            RAISE EXCEPTION 'cannot change publication unison, nor publish what it does'
            USING ERRCODE = 'feature_not_supported', DETAIL = own, HINT = 'Make a publication of your own tables.';
        END IF;
        CONTINUE WHEN done.command_tag IN ('COMMENT', 'REINDEX', 'REFRESH MATERIALIZED VIEW', 'SECURITY LABEL');
        IF done.schema_name = 'unison' OR (done.classid = 'pg_namespace'::regclass AND done.objid = 'unison'::regnamespace)
           OR (done.classid = 'pg_trigger'::regclass AND EXISTS (
               SELECT FROM pg_trigger AS t JOIN pg_class AS c ON c.oid = t.tgrelid
               WHERE t.oid = done.objid AND c.relnamespace = 'unison'::regnamespace))
           -- moved to another schema
           OR (done.classid = 'pg_proc'::regclass AND EXISTS (
               SELECT FROM pg_proc AS p JOIN unison.replicated_table AS r ON starts_with(p.proname, left(r.image_name, -5)) WHERE p.oid = done.objid))
           OR (done.classid = 'pg_class'::regclass AND EXISTS (
               SELECT FROM unnest(ARRAY['node', 'seeded', 'round', 'round_number', 'floor', 'beat', 'member', 'hearsay', 'conflict', 'replaced', 'overdue', 'doubtful', 'altered']) AS n (name)
               WHERE to_regclass('unison.' || n.name) IS NULL)) THEN
            RAISE EXCEPTION 'cannot change % %', done.object_type, done.object_identity
            USING ERRCODE = 'feature_not_supported', DETAIL = own, HINT = 'Leave it to: python3 orchestrator.py up';
        END IF;
        FOR found IN SELECT * FROM unison.touched(done.classid, done.objid) LOOP
            INSERT INTO unison.altered DEFAULT VALUES;
            SELECT x.* INTO refused FROM unison.changes(found.schema_name, found.table_name) AS c
            CROSS JOIN LATERAL unison.refusal(c.schema_name, c.table_name, array_to_string(c.changes[1:5], ', ')) AS x;
            IF found.is_missing THEN
                refused := unison.refusal(found.schema_name, found.table_name, 'Its name or schema was changed');
            END IF;
            IF refused.message IS NOT NULL THEN
                RAISE EXCEPTION '%', refused.message USING ERRCODE = 'feature_not_supported', DETAIL = refused.detail, HINT = refused.hint;
            END IF;
        END LOOP;
    END LOOP;
    -- these change objects without naming them
    IF tg_tag IN ('REASSIGN OWNED', 'REVOKE', 'DROP OWNED') THEN
        FOR found IN SELECT r.schema_name, r.table_name, c.oid, c.relowner, o.relowner AS other FROM unison.replicated_table AS r
                     JOIN pg_namespace AS n ON n.nspname = r.schema_name JOIN pg_class AS c ON (c.relnamespace, c.relname) = (n.oid, r.table_name)
                     JOIN pg_class AS o ON o.oid IN (to_regclass(format('unison.%I', r.image_name)), to_regclass(format('unison.%I', r.tombstone_name)))
                     WHERE c.relowner <> {owner_text}::regrole OR o.relowner <> c.relowner
                        OR EXISTS (SELECT FROM (VALUES ('SELECT'), ('INSERT'), ('UPDATE'), ('DELETE')) AS v (privilege)
                                   WHERE NOT has_table_privilege(c.relowner, c.oid, v.privilege) OR NOT has_table_privilege(c.relowner, o.oid, v.privilege)) LOOP
            refused := unison.refusal(found.schema_name, found.table_name, 'Its owner, or a privilege of its owner, was changed');
            RAISE EXCEPTION '%', refused.message USING ERRCODE = 'feature_not_supported', DETAIL = refused.detail, HINT = refused.hint;
        END LOOP;
    END IF;
END
$body$;

-- What is dropped is not among the commands, and is no longer in the catalogue.
CREATE OR REPLACE FUNCTION unison.guard_drop() RETURNS event_trigger LANGUAGE plpgsql SECURITY DEFINER
SET search_path = pg_catalog, pg_temp AS $body$
DECLARE
    superuser CONSTANT boolean := (SELECT r.rolsuper FROM pg_roles AS r WHERE r.rolname = session_user);
    gone record;
    found record;
    refused record;
BEGIN
    -- as in guard()
    IF session_user = {agent_text} OR superuser AND to_regclass('unison.replicated_table') IS NULL THEN
        RETURN;
    END IF;
    -- the table first: what stands beside it goes with it, and says less
    FOR found IN
        SELECT r.schema_name, r.table_name, bool_or(d.object_type = 'table' AND d.object_name = r.table_name) AS whole
        FROM pg_event_trigger_dropped_objects() AS d
        -- of a part of a table that is its table's name
        JOIN unison.replicated_table AS r ON r.schema_name = coalesce(d.address_names[1], d.schema_name)
                                         AND r.table_name = CASE d.object_type WHEN 'table' THEN d.object_name ELSE d.address_names[2] END
        WHERE NOT d.is_temporary
        GROUP BY r.schema_name, r.table_name LOOP
        INSERT INTO unison.altered DEFAULT VALUES;
        CONTINUE WHEN superuser;
        IF found.whole THEN
            RAISE EXCEPTION 'cannot drop replicated table %.%', quote_ident(found.schema_name), quote_ident(found.table_name)
            USING ERRCODE = 'feature_not_supported', DETAIL = 'The other nodes keep it, and DDL is not replicated.', HINT = 'Delete its rows, and leave it empty.';
        END IF;
        SELECT x.* INTO refused FROM unison.changes(found.schema_name, found.table_name) AS c
        CROSS JOIN LATERAL unison.refusal(c.schema_name, c.table_name, array_to_string(c.changes[1:5], ', ')) AS x;
        IF refused.message IS NOT NULL THEN
            RAISE EXCEPTION '%', refused.message USING ERRCODE = 'feature_not_supported', DETAIL = refused.detail, HINT = refused.hint;
        END IF;
    END LOOP;
    FOR gone IN SELECT * FROM pg_event_trigger_dropped_objects() AS d
                WHERE NOT d.is_temporary AND (d.schema_name = 'unison' OR (d.object_type = 'schema' AND d.object_name = 'unison') OR d.address_names[1] = 'unison'
                    OR (d.object_type LIKE 'publication%' AND (d.object_identity = 'unison' OR d.object_identity LIKE '%in publication unison'))
                    OR (d.object_type = 'subscription' AND starts_with(d.object_identity, 'unison_'))) LOOP
        IF superuser THEN
            INSERT INTO unison.altered DEFAULT VALUES;
            EXIT;
        END IF;
        RAISE EXCEPTION 'cannot drop % %', gone.object_type, gone.object_identity
        USING ERRCODE = 'feature_not_supported', DETAIL = 'It is a part of pgunison, and the same on every node.',
              HINT = 'Leave it to: python3 orchestrator.py up';
    END LOOP;
END
$body$;

-- What would be too late at the end of a command. DROP SUBSCRIPTION has dropped the peer's slot by then.
-- CREATE UNIQUE INDEX CONCURRENTLY has committed an index that is enforced before its end is reached. It runs alone, never from a function,
-- so what the client sent is this command; its table is read from the text. When in doubt it is refused.
CREATE OR REPLACE FUNCTION unison.guard_start() RETURNS event_trigger LANGUAGE plpgsql SECURITY DEFINER
SET search_path = pg_catalog, pg_temp AS $body$
DECLARE
    hint CONSTANT text := 'Make an ordinary index, or name the table plainly, without comments, if it is not a replicated one.';
    -- comments become blanks, unless one may stand in quotes
    command text := CASE WHEN position('"' IN current_query()) = 0
                    THEN regexp_replace(regexp_replace(current_query(), '/\*([^*]|\*+[^*/])*\*+/', ' ', 'g'), '--[^\n\r]*', ' ', 'g')
                    ELSE current_query() END;
    target text;
    names text[];
BEGIN
    IF session_user = {agent_text} OR (SELECT r.rolsuper FROM pg_roles AS r WHERE r.rolname = session_user) THEN
        RETURN;
    END IF;
    IF tg_tag IN ('DROP SUBSCRIPTION', 'ALTER SUBSCRIPTION') THEN
        IF current_query() ~* 'unison_|u&"' AND (tg_tag = 'DROP SUBSCRIPTION' OR regexp_replace(
               command, '\malter\s+subscription\s+\S+\s+(enable|disable)\s*(;|$)', '', 'gi') ~* '\msubscription\M') THEN
            RAISE EXCEPTION 'cannot change or drop a subscription of pgunison'
            USING ERRCODE = 'feature_not_supported', DETAIL = 'Without it, or with others of its settings, changes would be lost.',
                  HINT = 'ALTER SUBSCRIPTION ... DISABLE and ENABLE pause it.';
        END IF;
        RETURN;
    END IF;
    IF current_query() !~* '\mconcurrently\M' OR current_query() !~* '\munique\M' THEN
        RETURN;
    END IF;
    IF command !~ '--|/\*|\*/|[Uu]&"' THEN
        IF command ~* '^\s*create\s+(unique\s+)?index\M' AND command !~* '^\s*create\s+unique\s+index\s+concurrently\M' THEN
            RETURN;
        END IF;
        target := (regexp_match(command, '^\s*create\s+unique\s+index\s+concurrently\s*(?:if\s+not\s+exists\s*)?(?:(?:"(?:[^"]|"")+"|[^\s".(]+)\s*)?'
                                         '\mon\s*(?:only\M\s*)?((?:"(?:[^"]|"")+"|[^\s".(]+)(?:\s*\.\s*(?:"(?:[^"]|"")+"|[^\s".(]+))?'
                                         '(?:\s*\.\s*(?:"(?:[^"]|"")+"|[^\s".(]+))?)', 'i'))[1];
        names := parse_ident(target);
    END IF;
    IF names IS NULL OR EXISTS (SELECT FROM unison.replicated_table AS r
                                WHERE r.table_name = names[cardinality(names)]
                                  AND (cardinality(names) = 1 OR r.schema_name = names[cardinality(names) - 1])) THEN
        RAISE EXCEPTION '%', coalesce('cannot change replicated table ' || target, 'cannot create a unique index concurrently')
        USING ERRCODE = 'feature_not_supported', HINT = hint,
              DETAIL = 'A second unique key has no resolution: two nodes can each take a value that is free for them.';
    END IF;
END
$body$;

DROP EVENT TRIGGER IF EXISTS unison_guard;
DROP EVENT TRIGGER IF EXISTS unison_guard_drop;
DROP EVENT TRIGGER IF EXISTS unison_guard_start;
CREATE EVENT TRIGGER unison_guard ON ddl_command_end EXECUTE FUNCTION unison.guard();
CREATE EVENT TRIGGER unison_guard_drop ON sql_drop EXECUTE FUNCTION unison.guard_drop();
CREATE EVENT TRIGGER unison_guard_start ON ddl_command_start WHEN TAG IN ('CREATE INDEX', 'ALTER SUBSCRIPTION', 'DROP SUBSCRIPTION')
EXECUTE FUNCTION unison.guard_start();
-- in a session in replica role, too
ALTER EVENT TRIGGER unison_guard ENABLE ALWAYS;
ALTER EVENT TRIGGER unison_guard_drop ENABLE ALWAYS;
ALTER EVENT TRIGGER unison_guard_start ENABLE ALWAYS;
