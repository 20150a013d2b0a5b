-- How often apply workers have failed, and how many enabled subscriptions have no worker that receives anything.
SELECT coalesce(sum(e.apply_error_count), 0)::bigint AS apply_errors,
       count(*) FILTER (WHERE s.subenabled AND w.last_msg_receipt_time IS NULL) AS unconnected
FROM pg_subscription AS s
LEFT JOIN pg_stat_subscription AS w ON w.subid = s.oid AND w.relid IS NULL AND w.pid IS NOT NULL
LEFT JOIN pg_stat_subscription_stats AS e ON e.subid = s.oid
WHERE s.subdbid = (SELECT oid FROM pg_database WHERE datname = current_database()) AND s.subname LIKE 'unison\_%';
