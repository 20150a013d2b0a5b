-- Members that have settled a beat of this node which it has not made, as far as its data says: in no run of its server (begin_run.sql).
SELECT told.name, told.number
FROM (SELECT m.name, (m.settled ->> n.life::text)::bigint AS number FROM unison.node AS n CROSS JOIN unison.member AS m) AS told
WHERE told.number IS NOT NULL AND NOT EXISTS (
    SELECT FROM unison.run AS r
    WHERE told.number BETWEEN r.first AND coalesce(r.last, (SELECT max(d.number) FROM unison.round AS d)))
ORDER BY told.name;
