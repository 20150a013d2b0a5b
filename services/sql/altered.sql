-- What differs from one look to the next when a table may have been altered in between: the notes of the guard, whether the guard was ever off, and
-- what is recorded of the tables. By rows' versions (xmin), so that what was changed and changed back shows.
SELECT current_database()::text, (SELECT system_identifier FROM pg_control_system()), (SELECT count(*) FROM unison.altered),
       (SELECT string_agg(concat_ws(' ', e.evtname, e.evtenabled, e.xmin), ', ' ORDER BY e.evtname) FROM pg_event_trigger AS e),
       (SELECT string_agg(r.xmin::text, ' ' ORDER BY r.schema_name, r.table_name) FROM unison.replicated_table AS r),
       -- an index that fails while it is made CONCURRENTLY stays, and its command has no end that the guard could see
       (SELECT concat(count(*), ' ', sum(x.indexrelid::bigint)) FROM pg_index AS x WHERE x.indisunique OR x.indisexclusion),
       (SELECT pg_postmaster_start_time());
