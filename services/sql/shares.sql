-- The replicated tables as maintenance knows them (share.py), and of those whose share is overdue: which share, and whether it is time to try again.
-- What fails is tried for a tenth of the time at most.
SELECT r.schema_name, r.table_name, r.image_name, r.tombstone_name, r.key_columns, o.share,
       coalesce(o.tried_at + 10 * o.took_s * interval '1 second' <= clock_timestamp(), false) AS again
FROM unison.replicated_table AS r
LEFT JOIN unison.overdue AS o USING (schema_name, table_name)
ORDER BY o.tried_at, r.schema_name, r.table_name, o.share;
