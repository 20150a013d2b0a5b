-- The subscriptions of this node. "seeded": what the source held before is merged, of every table; "complete": it carries every table and what stands
-- beside it; "connecting": the worker waits for the source's answer to its connection; "heard": it has connected; "applied": up to which
-- position of the source's WAL it has applied.
SELECT s.subname AS name, s.subenabled AS enabled,
       NOT EXISTS (SELECT FROM unison.replicated_table AS r WHERE NOT EXISTS (
           SELECT FROM unison.seeded AS d WHERE (d.subscription, d.schema_name, d.table_name) = (s.oid, r.schema_name, r.table_name))) AS seeded,
       w.pid IS NOT NULL AS worker,
       -- when it last received a message is set before it has connected
       w.last_msg_receipt_time IS NOT NULL AND c.connecting IS NOT TRUE AS heard, c.connecting IS TRUE AS connecting,
       coalesce(e.apply_error_count, 0) AS errors,
       o.remote_lsn::text AS applied,
       NOT EXISTS (SELECT FROM unison.replicated_table AS r CROSS JOIN LATERAL (
               VALUES (r.schema_name, r.table_name), ('unison', r.image_name), ('unison', r.tombstone_name)) AS t (schema_name, table_name)
           WHERE NOT EXISTS (SELECT FROM pg_subscription_rel AS l
                             WHERE l.srsubid = s.oid AND l.srrelid = to_regclass(format('%I.%I', t.schema_name, t.table_name)))) AS complete
FROM pg_subscription AS s
LEFT JOIN pg_stat_subscription AS w ON w.subid = s.oid AND w.relid IS NULL AND w.pid IS NOT NULL
LEFT JOIN LATERAL (SELECT w.received_lsn IS NULL AND a.wait_event = 'LibpqwalreceiverConnect' AS connecting
                   FROM pg_stat_activity AS a WHERE a.pid = w.pid) AS c ON true
LEFT JOIN pg_stat_subscription_stats AS e ON e.subid = s.oid
LEFT JOIN pg_replication_origin_status AS o ON o.external_id = format('pg_%s', s.oid)
WHERE s.subdbid = (SELECT oid FROM pg_database WHERE datname = current_database()) AND s.subname LIKE 'unison\_%'
ORDER BY s.subname;
