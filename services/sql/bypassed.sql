-- Settings with which sessions of this database pass the merge or the guard by: what was set, to what, and the command that takes it back. What the owner
-- and the replicators get is ours (pinned.sql).
WITH found AS (
    SELECT split_part(c.setting, '=', 1) AS name, substr(c.setting, strpos(c.setting, '=') + 1) AS value,
           concat_ws(' ', 'ALTER', CASE WHEN s.setrole <> 0 THEN format('ROLE %%I', r.rolname) WHEN s.setdatabase = 0 THEN 'ROLE ALL' END,
                     CASE WHEN s.setrole <> 0 AND s.setdatabase <> 0 THEN 'IN' END,
                     CASE WHEN s.setdatabase <> 0 THEN format('DATABASE %%I', d.datname) END) AS where_it_is
    FROM pg_db_role_setting AS s CROSS JOIN LATERAL unnest(s.setconfig) AS c (setting)
    LEFT JOIN pg_roles AS r ON r.oid = s.setrole LEFT JOIN pg_database AS d ON d.oid = s.setdatabase
    WHERE s.setdatabase IN (0, (SELECT oid FROM pg_database WHERE datname = current_database()))
    UNION ALL
    SELECT f.name, f.setting, CASE WHEN f.sourcefile LIKE '%%/postgresql.auto.conf' THEN 'ALTER SYSTEM' ELSE f.sourcefile END
    FROM pg_file_settings AS f
)
SELECT name, value, CASE WHEN starts_with(where_it_is, 'ALTER') THEN format('%%s RESET %%s', where_it_is, name) ELSE 'take it out of ' || where_it_is END
FROM found
WHERE (lower(name) = 'session_replication_role' AND lower(value) <> 'origin') OR (lower(name) = 'event_triggers' AND lower(value) IN ('off', 'false', 'no', '0'))
ORDER BY where_it_is, name;
