-- Up to which position of this node's WAL each peer has applied it, as the peer says: also beyond its end, when this is an
-- old copy of the node. A peer that connects says it at once.
SELECT split_part(s.slot_name, '_', 4) AS peer, greatest(s.confirmed_flush_lsn, r.replay_lsn)::text AS position
FROM pg_replication_slots AS s LEFT JOIN pg_stat_replication AS r ON r.pid = s.active_pid
WHERE s.slot_name LIKE 'unison\_%' AND greatest(s.confirmed_flush_lsn, r.replay_lsn) IS NOT NULL
ORDER BY s.slot_name;
