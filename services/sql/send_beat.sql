-- Tell the peers what this node has settled, see round.sql, and remember it here as theirs are remembered. A node that has not joined has settled nothing.
-- Rows of a table that is overdue here may still be older than a tombstone of theirs: "overdue" beside the lives lets the peers keep that table's tombstones.
WITH told AS MATERIALIZED (
    SELECT n.name, n.life, latest.number, CASE WHEN n.phase <> 'joining' THEN coalesce((
        SELECT r.seen FROM unison.round AS r WHERE r.number < latest.oldest ORDER BY r.number DESC LIMIT 1), jsonb_build_object())
           || coalesce((SELECT jsonb_build_object('overdue', jsonb_agg(jsonb_build_array(o.schema_name, o.table_name)))
                        FROM unison.overdue AS o WHERE o.share = 'sweep' HAVING count(*) > 0), jsonb_build_object())
           ELSE jsonb_build_object() END
           || (SELECT jsonb_build_object('runs', jsonb_agg(jsonb_build_array(r.first, r.last) ORDER BY r.first))
               FROM (SELECT first, last FROM unison.run ORDER BY first DESC LIMIT 100) AS r) AS settled
    FROM unison.node AS n, (SELECT number, oldest FROM unison.round ORDER BY number DESC LIMIT 1) AS latest
), sent AS (
    INSERT INTO unison.beat (name, life, number, settled) SELECT name, life, number, settled FROM told
), past AS (
    DELETE FROM unison.beat
)
INSERT INTO unison.member AS m (name, life, number, settled) SELECT name, life, number, settled FROM told
ON CONFLICT (name) DO UPDATE SET life = excluded.life, number = excluded.number, settled = excluded.settled, heard_at = clock_timestamp();
