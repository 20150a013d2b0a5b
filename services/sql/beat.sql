-- A peer's beat arrives: remember the latest. Its life may be a new one, whose numbers begin again.
--
-- A peer that was heard under a number of none of its runs is an old copy of itself (stale.py), which knows no better. Its beats are not taken: what was heard
-- before is what this node has settled of it, and hearing that is how it learns what it is. Nor does what it says of itself count.
CREATE OR REPLACE FUNCTION unison.hear() RETURNS trigger LANGUAGE plpgsql
SET search_path = pg_catalog, pg_temp AS $body$
DECLARE
    heard bigint := (SELECT m.number FROM unison.member AS m WHERE m.name = NEW.name AND m.life = NEW.life);
    runs jsonb := NEW.settled -> 'runs';
BEGIN
    -- it tells its latest runs only (send_beat.sql), and an older version none
    IF heard >= (runs -> 0 ->> 0)::bigint AND NOT EXISTS (
        SELECT FROM jsonb_array_elements(runs) AS r (run)
        WHERE heard BETWEEN (r.run ->> 0)::bigint AND coalesce((r.run ->> 1)::bigint, NEW.number)) THEN
        RETURN NULL;
    END IF;
    INSERT INTO unison.member AS m (name, life, number, settled) VALUES (NEW.name, NEW.life, NEW.number, NEW.settled)
    ON CONFLICT (name) DO UPDATE SET life = excluded.life, number = excluded.number, settled = excluded.settled, heard_at = clock_timestamp();
    RETURN NULL;
END
$body$;

CREATE OR REPLACE TRIGGER zzz_unison_hear BEFORE INSERT ON unison.beat FOR EACH ROW EXECUTE FUNCTION unison.hear();
ALTER TABLE unison.beat ENABLE REPLICA TRIGGER zzz_unison_hear;
