-- The transactions that run, by their virtual ids, but for this one. Prepared ones have none: round.sql adds them.
SELECT coalesce(array_agg(l.virtualxid), ARRAY[]::text[])
FROM pg_locks AS l
WHERE l.locktype = 'virtualxid' AND l.mode = 'ExclusiveLock' AND l.granted AND l.pid <> pg_backend_pid()
  -- autovacuum writes no rows, and runs for long
  AND NOT EXISTS (SELECT FROM pg_stat_activity AS a
                  WHERE a.pid = l.pid AND (a.backend_type LIKE 'autovacuum%' OR a.datname <> current_database()));
