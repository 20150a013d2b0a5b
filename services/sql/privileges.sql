-- Take from PUBLIC what PostgreSQL gives it in every database; {database} is ours. What the kinds of roles need, they get by name.
REVOKE ALL ON DATABASE {database} FROM PUBLIC;
GRANT CONNECT ON DATABASE {database} TO unison_writers, unison_readers, unison_replicators;
-- a writer reads the floor, for its stamps; a joining node reads tombstones; writers and readers make tokens and wait for them (token.sql)
GRANT USAGE ON SCHEMA unison TO unison_writers, unison_readers, unison_replicators;
-- lets slots move on while a node is seeded from here (headroom.py)
GRANT EXECUTE ON FUNCTION pg_log_standby_snapshot() TO unison_replicators;
-- images, tombstones and the functions of the merge are the owner's, and so are the apply workers, which write the rest
GRANT USAGE, CREATE ON SCHEMA unison TO {owner};
-- Functions: those that were just replaced may have been the owner's, who could replace them again. With EXECUTE, who may make a trigger could attach them.
DO $body$
DECLARE
    routine record;
    relation record;
BEGIN
    FOR routine IN SELECT oid::regprocedure AS name FROM pg_proc
                   WHERE pronamespace = 'unison'::regnamespace AND xmin = pg_current_xact_id()::xid LOOP
        EXECUTE format('ALTER FUNCTION %s OWNER TO CURRENT_USER', routine.name);
        EXECUTE format('REVOKE ALL ON FUNCTION %s FROM PUBLIC', routine.name);
        EXECUTE format('GRANT EXECUTE ON FUNCTION %s TO %I', routine.name, {owner_text});
    END LOOP;
    FOR relation IN SELECT oid::regclass AS name, relkind FROM pg_class
                    WHERE relnamespace = 'unison'::regnamespace AND relowner = current_user::regrole AND relkind IN ('r', 'S') LOOP
        IF relation.relkind = 'S' THEN
            EXECUTE format('GRANT USAGE, SELECT, UPDATE ON SEQUENCE %s TO %I', relation.name, {owner_text});
        ELSE
            EXECUTE format('GRANT SELECT, INSERT, UPDATE, DELETE ON TABLE %s TO %I', relation.name, {owner_text});
        END IF;
    END LOOP;
    -- a reader could write with these: large objects are not even replicated
    FOR routine IN SELECT oid::regprocedure AS name FROM pg_proc WHERE pronamespace = 'pg_catalog'::regnamespace
                   AND proname IN ('lo_creat', 'lo_create', 'lo_from_bytea', 'lo_put', 'lo_truncate', 'lo_truncate64', 'lo_unlink', 'lowrite',
                                   'pg_logical_emit_message') LOOP
        EXECUTE format('REVOKE EXECUTE ON FUNCTION %s FROM PUBLIC', routine.name);
    END LOOP;
END
$body$;
-- the only functions here that are for clients
GRANT EXECUTE ON FUNCTION unison.token(), unison.behind(text, double precision), unison.wait_for(text, double precision)
    TO unison_writers, unison_readers;
