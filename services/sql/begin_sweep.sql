-- Record a sweep that begins now and answer from when on it must look at tombstones; see services/maintenance.py for why.
-- %(everything)s asks for all of them; so does a quarter of an hour without a look at all.
WITH last AS (
    SELECT oldest_transaction FROM unison.sweep ORDER BY swept_at DESC LIMIT 1
), bound AS (
    SELECT s.oldest_transaction AS since FROM unison.sweep AS s, last
    WHERE s.swept_at <= last.oldest_transaction ORDER BY s.swept_at DESC LIMIT 1
), whole AS (
    SELECT %(everything)s OR NOT EXISTS (
        SELECT FROM unison.sweep
        WHERE since = '-infinity' AND swept_at BETWEEN clock_timestamp() - interval '15 minutes' AND clock_timestamp()) AS wanted
), old AS (
    DELETE FROM unison.sweep WHERE swept_at < (SELECT oldest_transaction FROM last) - interval '1 day'
)
INSERT INTO unison.sweep (swept_at, oldest_transaction, since)
SELECT clock_timestamp(),
       (SELECT coalesce(min(xact_start), clock_timestamp()) FROM pg_stat_activity WHERE datname = current_database()),
       CASE WHEN (SELECT wanted FROM whole) THEN '-infinity' ELSE coalesce((SELECT since FROM bound), '-infinity') END
RETURNING since::text;
