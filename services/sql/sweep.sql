-- Close the one gap between the locks: a tombstone was stored for a key whose row was absent while another transaction, local or
-- applied, was inserting that row; neither saw the other, and the row stands although it is older than its tombstone.
-- Run in replica role, so that it is no new deletion. {chosen} says which tombstones d are looked at. Answers how many rows there were.
WITH swept AS (
    DELETE FROM ONLY {table} AS t
    USING {tombstone} AS d
    WHERE ({chosen})
      AND ({t_key}) = ({d_key})
      AND (t.modified_ts, t.modified_node) <= (d.modified_ts, d.modified_node)
    RETURNING t.*
), judged AS (
    -- a deletion that had seen the row has not made it a conflict
    SELECT CASE WHEN NOT EXISTS (SELECT FROM {tombstone} AS d WHERE ({d_key}) = ({t_key})
                                 AND (d.unison_replaced_ts, d.unison_replaced_node) = (t.modified_ts, t.modified_node))
           THEN unison.note_lost({schema_text}, {table_text}, jsonb_build_array({t_key}), t.modified_ts, t.modified_node, ROW(t.*)::{table},
                                 newest.modified_ts, newest.modified_node) IS NULL END AS noted
    FROM swept AS t CROSS JOIN LATERAL (SELECT d.modified_ts, d.modified_node FROM {tombstone} AS d WHERE ({d_key}) = ({t_key})
                                        ORDER BY d.modified_ts DESC, d.modified_node DESC LIMIT 1) AS newest
)
SELECT count(*), bool_or(noted) FROM judged;
