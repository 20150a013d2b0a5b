-- A node that is about to be removed takes no write any more, of nobody: what its peers have confirmed by then is all that it ever acknowledged. The trigger
-- that calls this stands on each replicated table (services/closing.py); making it waits for every transaction that has written there. It fires for whoever
-- writes, the owner and superusers too, and not for apply workers.
CREATE OR REPLACE FUNCTION unison.refuse_write() RETURNS trigger LANGUAGE plpgsql
SET search_path = pg_catalog, pg_temp AS $body$
BEGIN
    RAISE EXCEPTION 'table "%" is closed: % is being removed from the cluster', TG_TABLE_NAME, (SELECT n.name FROM unison.node AS n)
    USING ERRCODE = 'read_only_sql_transaction', HINT = 'Write on another node.';
END
$body$;
