-- The connections of writers and readers to this database: how many lose nothing when they end, because no transaction is open, how many are running, and
-- how many were ended of those that %(end)s names. One statement, so that a client has no time to begin a transaction in between.
-- The agent and the owner are no clients, whatever groups somebody has put the owner into: the agent would end itself, and the work of an administrator.
WITH client AS MATERIALIZED (
    SELECT a.pid, a.state = 'idle' AS idle
    FROM pg_stat_activity AS a
    JOIN pg_roles AS r ON r.oid = a.usesysid
    WHERE a.datname = current_database() AND a.backend_type = 'client backend' AND NOT r.rolsuper
      AND r.rolname NOT IN (current_user, session_user, %(owner)s)
      AND (pg_has_role(r.oid, 'unison_writers', 'MEMBER') OR pg_has_role(r.oid, 'unison_readers', 'MEMBER'))
)
SELECT count(*) FILTER (WHERE idle), count(*) FILTER (WHERE idle IS NOT TRUE),
       count(*) FILTER (WHERE CASE WHEN %(end)s = 'all' OR %(end)s = 'idle' AND idle THEN pg_terminate_backend(pid) END)
FROM client;
