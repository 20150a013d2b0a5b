-- The server has started: end its former run at the last round that was recorded, and let the numbers of this one begin
-- %(step)s further on. That is drawn at random, so a copy of the data that goes on, too, makes none of the same numbers: whoever has
-- heard a number that is in none of the runs recorded here has heard it of another copy.
WITH past AS (
    SELECT coalesce((SELECT max(number) FROM unison.round), 0) AS last
), ended AS (
    UPDATE unison.run AS r SET last = greatest(r.first, past.last) FROM past WHERE r.last IS NULL
), before AS (
    -- what was before there were runs
    INSERT INTO unison.run (first, last, started_at) SELECT 0, past.last, '-infinity' FROM past WHERE NOT EXISTS (SELECT FROM unison.run)
), begun AS (
    SELECT setval('unison.round_number', greatest(past.last, pg_sequence_last_value('unison.round_number'), 0) + %(step)s) AS first FROM past
)
INSERT INTO unison.run (first, started_at) SELECT first, pg_postmaster_start_time() FROM begun;
