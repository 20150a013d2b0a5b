-- Keep the conflict history within its limits of age and size. The size is looked at first, because it costs nothing.
WITH size AS MATERIALIZED (
    SELECT pg_table_size('unison.conflict') > %(bytes)s AS too_large
), surplus AS MATERIALIZED (
    SELECT max(id) AS id FROM (
        SELECT c.id, sum(pg_column_size(c.lost_row) + 150) OVER (ORDER BY c.id DESC) AS total FROM unison.conflict AS c WHERE (SELECT too_large FROM size)
    ) AS newest WHERE total > %(bytes)s
)
DELETE FROM unison.conflict
WHERE noticed_at < clock_timestamp() - %(retention_s)s * interval '1 second' OR id <= (SELECT id FROM surplus);
