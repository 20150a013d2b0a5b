-- Slots that somebody streams from and that have less than half of max_slot_wal_keep_size left before they are lost, and how
-- many bytes they have. One that nobody streams from will not come nearer while we wait.
SELECT s.slot_name, s.safe_wal_size
FROM pg_replication_slots AS s
WHERE s.active AND s.safe_wal_size < pg_size_bytes(current_setting('max_slot_wal_keep_size')) / 2
ORDER BY s.slot_name;
