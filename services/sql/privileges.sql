-- Take from PUBLIC what PostgreSQL gives it in every database; {database} is ours. What the kinds of roles need, they get by name.
REVOKE ALL ON DATABASE {database} FROM PUBLIC;
GRANT CONNECT ON DATABASE {database} TO unison_writers, unison_readers, unison_replicators;
-- stamp_update.sql calls a function of the schema as the writer; a joining node reads tombstones
GRANT USAGE ON SCHEMA unison TO unison_writers, unison_replicators;
-- a reader could write with these: large objects are not even replicated
DO $body$
DECLARE
    routine regprocedure;
BEGIN
    FOR routine IN SELECT oid FROM pg_proc WHERE pronamespace = 'pg_catalog'::regnamespace
                   AND proname IN ('lo_creat', 'lo_create', 'lo_from_bytea', 'lo_put', 'lo_truncate', 'lo_truncate64', 'lo_unlink', 'lowrite',
                                   'pg_logical_emit_message') LOOP
        EXECUTE format('REVOKE EXECUTE ON FUNCTION %s FROM PUBLIC', routine);
    END LOOP;
END
$body$;
