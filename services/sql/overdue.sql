-- What fails: the table, for how many seconds, why. And the transactions that are prepared, of every database, the oldest first: the slot of a new link
-- waits for all of them, and those of this database hold its tombstones.
SELECT 'table' AS kind, format('%I.%I', o.schema_name, o.table_name) AS name, current_database()::text AS database,
       extract(epoch FROM clock_timestamp() - o.failed_since)::bigint AS age_s, o.reason
FROM unison.overdue AS o JOIN unison.replicated_table AS r USING (schema_name, table_name)
UNION ALL
(SELECT 'prepared', x.gid, x.database::text, extract(epoch FROM clock_timestamp() - x.prepared)::bigint, NULL
 FROM pg_prepared_xacts AS x ORDER BY x.prepared LIMIT 20)
ORDER BY kind DESC, age_s DESC, name;
