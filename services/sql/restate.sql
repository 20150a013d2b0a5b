-- Send again what the peer lacks (restate.py says what). The row changes in replica role, so that no trigger stamps it; the image is inserted as
-- a writer's trigger does, so that it is sent. As the owner, because expressions of the table may call its functions. Answers how many rows there were.
ANALYZE pg_temp.unison_peer_rows;
SET LOCAL ROLE NONE;
SET LOCAL session_replication_role = replica;
SET LOCAL ROLE {owner};
UPDATE {table} AS t SET modified_ts = t.modified_ts + '1 microsecond'::interval, modified_node = {node}
FROM pg_temp.unison_peer_rows AS p
WHERE ({t_key}) = ({p_key}) AND (t.modified_ts, t.modified_node) = (p.modified_ts, p.modified_node)
  AND hashtextextended(ROW({t_stored})::text, 0) <> p.mark;
SET LOCAL ROLE NONE;
SET LOCAL session_replication_role = origin;
SET LOCAL ROLE {owner};
WITH sent AS (
    INSERT INTO {image} ({stored}, unison_replaced_ts, unison_replaced_node)
    SELECT {t_stored}, p.modified_ts, p.modified_node
    FROM {table} AS t LEFT JOIN pg_temp.unison_peer_rows AS p ON ({t_key}) = ({p_key})
    WHERE p.modified_ts IS NULL OR (p.modified_ts, p.modified_node) < (t.modified_ts, t.modified_node)
    RETURNING 1
)
SELECT count(*) FROM sent;
