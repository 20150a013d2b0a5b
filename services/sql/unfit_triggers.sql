-- Of a table (its oid is %(table)s): is its row level security forced; the first of its triggers that fire
-- for what arrives, too; and the first BEFORE ROW trigger for INSERT or UPDATE that sorts behind ours.
SELECT c.relforcerowsecurity,
       (SELECT min(t.tgname::text) FROM pg_trigger AS t
        WHERE t.tgrelid = c.oid AND t.tgenabled IN ('A', 'R') AND NOT starts_with(t.tgname, 'zzz_unison_')),
       (SELECT min(t.tgname::text) FROM pg_trigger AS t
        WHERE t.tgrelid = c.oid AND t.tgtype & 3 = 3 AND t.tgtype & 20 <> 0 AND t.tgname > 'zzz_unison_'
          AND NOT starts_with(t.tgname, 'zzz_unison_') AND NOT t.tgisinternal)
FROM pg_class AS c WHERE c.oid = %(table)s;
