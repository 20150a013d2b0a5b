-- A peer's beat arrives: remember the latest. Its life may be a new one, whose numbers begin again.
CREATE OR REPLACE FUNCTION unison.hear() RETURNS trigger LANGUAGE plpgsql
SET search_path = pg_catalog, pg_temp AS $body$
BEGIN
    INSERT INTO unison.member AS m (name, life, number, settled) VALUES (NEW.name, NEW.life, NEW.number, NEW.settled)
    ON CONFLICT (name) DO UPDATE SET life = excluded.life, number = excluded.number, settled = excluded.settled, heard_at = clock_timestamp();
    RETURN NULL;
END
$body$;

CREATE OR REPLACE TRIGGER zzz_unison_hear BEFORE INSERT ON unison.beat FOR EACH ROW EXECUTE FUNCTION unison.hear();
ALTER TABLE unison.beat ENABLE REPLICA TRIGGER zzz_unison_hear;
