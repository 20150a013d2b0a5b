-- Read your own writes, on whichever node: a token says up to where of each node's WAL a client has written or seen, and any node can tell whether it has
-- applied that. It is text of letters, digits, dots and hyphens, so that it fits into a cookie or a header:
--
--     1.node1-3fa29c01-16b3748.node2-0b7e4d55-1a2b3c0
--
-- the version of the format, then for each node its name, the beginning of its life (another one when it was made anew) and a position, in hexadecimal.
-- The functions belong to the superuser and run with its rights, because neither writers nor readers may look at the tables here. They are the only ones
-- of the schema that writers and readers may call (privileges.sql), and tell nothing but positions.

-- Up to which position of each node's WAL this node has everything. Its own: what is committed and flushed, or with synchronous_commit off what is
-- committed. A peer's: the last transaction of it that was applied, or the last position that the peer's walsender named in between, when it had sent
-- everything before; a subscription without streaming applies in that order and one at a time, so all before was applied ("latest_end_lsn").
CREATE OR REPLACE FUNCTION unison.applied() RETURNS TABLE (name text, life text, reached pg_lsn) LANGUAGE sql VOLATILE SECURITY DEFINER
SET search_path = pg_catalog, pg_temp AS $body$
SELECT n.name, left(n.life::text, 8),
       CASE WHEN current_setting('synchronous_commit') = 'off' THEN pg_current_wal_insert_lsn() ELSE pg_current_wal_flush_lsn() END
FROM unison.node AS n
UNION ALL
SELECT m.name, left(m.life::text, 8), greatest(o.remote_lsn, w.latest_end_lsn)
FROM pg_subscription AS s
JOIN unison.member AS m ON m.name = split_part(s.subname, '_', 2)
LEFT JOIN pg_stat_subscription AS w ON w.subid = s.oid AND w.relid IS NULL AND w.pid IS NOT NULL
LEFT JOIN pg_replication_origin_status AS o ON o.external_id = format('pg_%s', s.oid)
WHERE s.subdbid = (SELECT d.oid FROM pg_database AS d WHERE d.datname = current_database()) AND s.subname LIKE 'unison\_%'
  AND greatest(o.remote_lsn, w.latest_end_lsn) IS NOT NULL
$body$;

-- The token of now: all that this session has committed, and all that it may have seen here.
CREATE OR REPLACE FUNCTION unison.token() RETURNS text LANGUAGE sql VOLATILE SECURITY DEFINER
SET search_path = pg_catalog, pg_temp AS $body$
SELECT '1.' || string_agg(format('%s-%s-%s', a.name, a.life, to_hex((a.reached - '0/0')::bigint)), '.' ORDER BY a.name)
FROM unison.applied() AS a
$body$;

-- What of a token this node has not applied yet, in words; null when it has all of it. Waits for so long at the most.
-- A former life of a node that was heard of lately brings nothing any more; a life that was not heard of may be newer than the one that is known. A node that
-- was removed brings nothing, either: everybody had all of it before.
CREATE OR REPLACE FUNCTION unison.behind(token text, wait_s double precision DEFAULT 0) RETURNS text LANGUAGE plpgsql VOLATILE SECURITY DEFINER
SET search_path = pg_catalog, pg_temp AS $body$
DECLARE
    deadline timestamptz := clock_timestamp() + make_interval(secs => least(greatest(wait_s, 0), 3600));
    pause_s double precision := 0.001;
    missing text;
BEGIN
    IF token IS NULL OR token !~ '^1(\.[a-z][a-z0-9]*-[0-9a-f]+-[0-9a-f]+)+$' OR length(token) > 16384
       OR EXISTS (SELECT FROM regexp_split_to_table(token, '[.-]') AS p (part) WHERE length(p.part) > 16) THEN
        RAISE EXCEPTION 'this is no token of pgunison' USING ERRCODE = 'invalid_parameter_value', HINT = 'It is made by unison.token().';
    END IF;
    LOOP
        SELECT string_agg(coalesce(CASE WHEN a.life = t.life THEN format('%s bytes of %s', t.wanted - a.reached, t.name) END,
                                   format('what %s has written', t.name)), ', ' ORDER BY t.name)
        INTO missing
        FROM (SELECT split_part(e.entry, '-', 1) AS name, split_part(e.entry, '-', 2) AS life,
                     '0/0'::pg_lsn + ('x' || lpad(split_part(e.entry, '-', 3), 16, '0'))::bit(64)::bigint AS wanted
              FROM regexp_split_to_table(substr(token, 3), '\.') AS e (entry)) AS t
        LEFT JOIN unison.applied() AS a ON a.name = t.name
        WHERE (a.life = t.life AND a.reached >= t.wanted) IS NOT TRUE
          AND NOT EXISTS (SELECT FROM unison.member AS m WHERE m.name = t.name AND m.gone)
          AND NOT (a.life <> t.life AND (t.name = (SELECT n.name FROM unison.node AS n)
                                         OR (SELECT m.heard_at FROM unison.member AS m WHERE m.name = t.name) > clock_timestamp() - interval '4s')) IS TRUE;
        IF missing IS NULL OR clock_timestamp() >= deadline THEN
            RETURN missing;
        END IF;
        PERFORM pg_sleep(least(pause_s, greatest(extract(epoch FROM deadline - clock_timestamp()), 0)));
        pause_s := least(pause_s * 2, 0.02);
    END LOOP;
END
$body$;

-- Wait until this node has applied what a token asks for; an error that says how far behind it is when that takes too long.
CREATE OR REPLACE FUNCTION unison.wait_for(token text, timeout_s double precision DEFAULT 10) RETURNS void LANGUAGE plpgsql VOLATILE SECURITY DEFINER
SET search_path = pg_catalog, pg_temp AS $body$
DECLARE
    missing text := unison.behind(token, timeout_s);
BEGIN
    IF missing IS NOT NULL THEN
        RAISE EXCEPTION '% has not applied everything within % s', (SELECT n.name FROM unison.node AS n), timeout_s
            USING ERRCODE = 'query_canceled', DETAIL = format('Missing: %s.', missing), HINT = 'Ask another node, or wait longer.';
    END IF;
END
$body$;
