-- The replication slots of this node's peers, and their walsenders. "invalidated" is null before PostgreSQL 17, which tells only that a slot is lost.
SELECT s.slot_name AS name, coalesce(r.state, 'not connected') AS state, r.replay_lsn IS NOT NULL AS told, s.wal_status,
       pg_wal_lsn_diff(pg_current_wal_lsn(), coalesce(r.replay_lsn, s.confirmed_flush_lsn))::bigint AS lag_bytes,
       s.safe_wal_size AS safe_bytes, current_setting('max_slot_wal_keep_size') AS keep_size, to_jsonb(s) ->> 'invalidation_reason' AS invalidated
FROM pg_replication_slots AS s LEFT JOIN pg_stat_replication AS r ON r.pid = s.active_pid
WHERE s.slot_name LIKE 'unison\_%'
ORDER BY s.slot_name;
