-- Up to which round may tombstones be forgotten? Answers its number, its floor, and the tables of which none may be, because a member could not sweep
-- them (as [schema, name]). A tombstone that arrived before that round, of a version before that
-- floor, has been applied by every member, and no older state of its key is on the way to this node any more:
-- every transaction of that round has ended (base is set), and each member, this node too, has settled at that base: it had applied all that, then every
-- transaction that ran there in that moment ended, and then it made the beat that arrived here, behind all that these wrote.
-- Members are all to which there is a link in either direction. One that was never heard of, or is away, holds everything.
WITH member AS (
    SELECT split_part(subname, '_', 2) AS name FROM pg_subscription WHERE subname LIKE 'unison\_%'
    UNION SELECT split_part(slot_name, '_', 4) FROM pg_replication_slots WHERE slot_name LIKE 'unison\_%'
    UNION SELECT name FROM unison.node
), known AS (
    SELECT name, m.life, m.settled FROM member LEFT JOIN unison.member AS m USING (name)
)
SELECT r.number, r.floor,
       (SELECT coalesce(jsonb_agg(t.name), jsonb_build_array()) FROM (
            SELECT jsonb_array_elements(k.settled -> 'overdue') FROM known AS k
            UNION SELECT jsonb_build_array(o.schema_name, o.table_name) FROM unison.overdue AS o WHERE o.share = 'sweep') AS t (name)) AS kept
FROM unison.round AS r
WHERE r.base IS NOT NULL
  AND NOT EXISTS (
      SELECT FROM known AS k CROSS JOIN known AS origin
      WHERE k.settled IS NULL OR origin.life IS NULL
         OR NOT coalesce((k.settled ->> origin.life::text)::bigint >= (r.base ->> origin.life::text)::bigint, false))
ORDER BY r.number DESC LIMIT 1;
