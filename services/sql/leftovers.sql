-- List the functions in our schema that nothing of this version makes, with the triggers that call them: what an older version made under
-- another name, or with other arguments. "whose" says which functions p are looked at.
SELECT p.oid::regprocedure::text,
       ARRAY(SELECT format('DROP TRIGGER %I ON %s', t.tgname, t.tgrelid::regclass) FROM pg_trigger AS t
             WHERE t.tgfoid = p.oid AND NOT t.tgisinternal
             UNION ALL SELECT format('DROP EVENT TRIGGER %I', e.evtname) FROM pg_event_trigger AS e WHERE e.evtfoid = p.oid)
FROM pg_proc AS p
WHERE p.pronamespace = 'unison'::regnamespace AND {whose};
