-- What load balancers ask every moment, so it reads one row here, and for each peer a row and some of shared memory:
-- who the node is, since when its server runs ("started" is another one after each start), its phase, since when and by whom, the
-- position of its WAL, and for each peer up to which position of the peer's WAL this node has applied it, and how old what it has of it is. That is 0 when
-- nothing waits: the apply worker is idle, or there is no link and nobody else has a later beat of the peer. Else it is since when the last beat of the
-- peer has been here.
SELECT n.name, left(n.life::text, 8) AS life, (SELECT a.reached::text FROM unison.applied() AS a WHERE a.name = n.name) AS position,
       extract(epoch FROM pg_postmaster_start_time())::float8 AS started,
       n.phase, n.phase_by, to_jsonb(n.phase_since) #>> ARRAY[]::text[] AS phase_since,
       coalesce((
           SELECT jsonb_agg(jsonb_build_object('origin', m.name, 'life', a.life, 'applied', a.reached, 'seconds', CASE
                      WHEN w.received_lsn IS NOT NULL AND t.wait_event = 'LogicalApplyMain' THEN 0
                      WHEN w.received_lsn IS NOT NULL OR EXISTS (
                          SELECT FROM unison.member AS o WHERE (o.settled ->> m.life::text)::bigint > m.number)
                      THEN round(extract(epoch FROM clock_timestamp() - m.heard_at), 3)
                      ELSE 0 END) ORDER BY m.name)
           FROM pg_subscription AS s
           JOIN unison.member AS m ON m.name = split_part(s.subname, '_', 2)
           LEFT JOIN unison.applied() AS a ON a.name = m.name
           LEFT JOIN pg_stat_subscription AS w ON w.subid = s.oid AND w.relid IS NULL AND w.pid IS NOT NULL
           LEFT JOIN pg_stat_activity AS t ON t.pid = w.pid
           WHERE s.subdbid = (SELECT d.oid FROM pg_database AS d WHERE d.datname = current_database()) AND s.subname LIKE 'unison\_%'
       ), jsonb_build_array()) AS lag
FROM unison.node AS n;
