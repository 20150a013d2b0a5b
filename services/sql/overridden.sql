-- The settings of postgresql.conf, which the agent writes, that have another value in postgresql.auto.conf, which is read after it: name, ours, the other.
SELECT DISTINCT ON (o.name) o.name, o.setting, a.setting
FROM pg_file_settings AS o JOIN pg_file_settings AS a ON lower(a.name) = lower(o.name)
WHERE o.sourcefile LIKE '%/postgresql.conf' AND a.sourcefile LIKE '%/postgresql.auto.conf' AND a.setting IS DISTINCT FROM o.setting
ORDER BY o.name, o.seqno DESC;
