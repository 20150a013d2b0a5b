-- Record a round of maintenance. %(number)s was drawn from unison.round_number, and then %(running)s was read (running.sql), each in a statement before this one;
-- %(retention_s)s is how long a tombstone is kept at least. Answers from which round on tombstones must be swept.
--
-- Nothing here relies on a clock. A round knows the transactions that run (their virtual ids) and since which round each has been seen;
-- "oldest" is the first round of the oldest one, or the round itself. So every transaction that ran in round r has ended when oldest > r.
-- A prepared transaction runs until it is finished, and has no virtual id any more. One that is seen for the first time may be any of those of the round
-- before, so it is as old as the oldest of them. PREPARE shows it here before it gives up the virtual id, and %(running)s was read before: none is missed.
--
-- The sweep: a row that escaped the last sweep was written by a transaction B that still ran then, or began later: after the round before
-- oldest(last). The tombstone's transaction T overlapped B, so it ran in that round, or began after it: after the round before oldest(that round).
-- What T stored bears at least the number of that one.
--
-- Collecting, see collect.sql: "seen" are the beats of each member that are applied here; "base", set once every transaction of the round has ended, is what a
-- node must have applied to have all that this node holds now: one beat more than seen, because what came since the last one is covered by the next.
WITH last AS MATERIALIZED (
    SELECT number, running, oldest, floor FROM unison.round ORDER BY number DESC LIMIT 1
), running AS MATERIALIZED (
    SELECT v.transaction, coalesce((SELECT (last.running ->> v.transaction)::bigint FROM last), %(number)s) AS since
    FROM unnest(%(running)s::text[]) AS v (transaction)
    UNION ALL
    SELECT p.transaction, coalesce((SELECT (last.running ->> p.transaction)::bigint FROM last), (SELECT oldest FROM last), %(number)s)
    FROM (SELECT format('prepared %%s %%s', x.transaction, x.gid) FROM pg_prepared_xacts AS x WHERE x.database = current_database()) AS p (transaction)
), seen AS MATERIALIZED (
    SELECT coalesce(jsonb_object_agg(m.life, m.number), jsonb_build_object()) AS vector FROM unison.member AS m
    WHERE m.name = (SELECT name FROM unison.node)
       OR EXISTS (SELECT FROM pg_subscription AS s WHERE s.subname = format('unison_%%s_to_%%s', m.name, (SELECT name FROM unison.node))
                  AND NOT EXISTS (SELECT FROM unison.replicated_table AS r WHERE NOT EXISTS (
                      SELECT FROM unison.seeded AS d WHERE (d.subscription, d.schema_name, d.table_name) = (s.oid, r.schema_name, r.table_name))))
), recorded AS (
    INSERT INTO unison.round (number, running, oldest, floor, seen)
    SELECT %(number)s, (SELECT coalesce(jsonb_object_agg(transaction, since), jsonb_build_object()) FROM running),
           (SELECT coalesce(min(since), %(number)s) FROM running),
           setval('unison.floor', greatest((SELECT floor FROM last), 0, extract(epoch FROM clock_timestamp())::bigint - %(retention_s)s)),
           vector
    FROM seen
    RETURNING oldest
), settled AS (
    UPDATE unison.round AS r
    SET base = (SELECT jsonb_object_agg(v.life, greatest(v.number::bigint, (SELECT h.number FROM unison.hearsay AS h WHERE h.life = v.life::uuid)) + 1)
                FROM seen, jsonb_each_text(seen.vector) AS v (life, number))
    WHERE r.base IS NULL AND r.number < (SELECT oldest FROM recorded)
), before AS (
    SELECT r.oldest FROM unison.round AS r, last WHERE r.number < last.oldest ORDER BY r.number DESC LIMIT 1
), bound AS (
    SELECT coalesce((SELECT r.number FROM unison.round AS r, before WHERE r.number < before.oldest ORDER BY r.number DESC LIMIT 1), 0) AS since
), old AS (
    DELETE FROM unison.round AS r WHERE r.number < %(number)s - 2000 AND r.number < (SELECT since FROM bound)
)
SELECT since FROM bound;
