-- Close the one gap between the locks: a tombstone was stored for a key whose row was absent while another transaction, local or
-- applied, was inserting that row; neither saw the other, and the row stands although it is older than its tombstone.
-- Run in replica role, so that it is no new deletion. {since} bounds the tombstones looked at; -infinity looks at all.
DELETE FROM {table} AS t
USING {tombstone} AS d
WHERE d.arrived_at >= {since}::timestamptz
  AND ({t_key}) = ({d_key})
  AND (t.modified_ts, t.modified_node) < (d.modified_ts, d.modified_node);
