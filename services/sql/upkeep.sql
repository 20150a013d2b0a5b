-- What the node remembers beside the users' rows, in bytes and numbers, and which members hold it: not heard of for a minute, or never.
-- %(round)s is the last round up to which tombstones may be forgotten (collect.sql).
SELECT (SELECT coalesce(sum(pg_total_relation_size(format('unison.%%I', r.image_name))), 0)::bigint FROM unison.replicated_table AS r) AS image_bytes,
       (SELECT coalesce(sum(pg_total_relation_size(format('unison.%%I', r.tombstone_name))), 0)::bigint FROM unison.replicated_table AS r) AS tombstone_bytes,
       (SELECT count(*) FROM unison.conflict) AS conflicts,
       (pg_total_relation_size('unison.conflict') + pg_total_relation_size('unison.replaced'))::bigint AS conflict_bytes,
       (SELECT extract(epoch FROM clock_timestamp() - r.made_at)::bigint FROM unison.round AS r WHERE r.number = %(round)s) AS confirmed_s_ago,
       ARRAY(SELECT peer.name FROM (
                 SELECT split_part(subname, '_', 2) AS name FROM pg_subscription WHERE subname LIKE 'unison\_%%'
                 UNION SELECT split_part(slot_name, '_', 4) FROM pg_replication_slots WHERE slot_name LIKE 'unison\_%%') AS peer
             WHERE NOT EXISTS (SELECT FROM unison.member AS m WHERE m.name = peer.name AND m.heard_at > clock_timestamp() - interval '1 minute')
             ORDER BY 1) AS silent;
