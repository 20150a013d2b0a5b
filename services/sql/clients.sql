-- The connections of writers and readers to this database: of each its process, and whether nothing is lost when it ends, because no transaction is open.
SELECT a.pid, a.state = 'idle' AS idle
FROM pg_stat_activity AS a
JOIN pg_roles AS r ON r.oid = a.usesysid
WHERE a.datname = current_database() AND a.backend_type = 'client backend' AND NOT r.rolsuper
  AND (pg_has_role(r.oid, 'unison_writers', 'MEMBER') OR pg_has_role(r.oid, 'unison_readers', 'MEMBER'));
