-- Functions of the merge are for the triggers that call them, and for nobody else: with EXECUTE, whoever may make a trigger on a table of his own could
-- attach one that writes as the owner. Firing a trigger needs no right. {writers} are those that a trigger calls as whoever writes.
DO $body$
DECLARE
    routine regprocedure;
BEGIN
    FOR routine IN SELECT oid FROM pg_proc WHERE pronamespace = 'unison'::regnamespace AND proowner = current_user::regrole LOOP
        EXECUTE format('REVOKE ALL ON FUNCTION %s FROM PUBLIC', routine);
    END LOOP;
    FOR routine IN SELECT oid FROM pg_proc WHERE pronamespace = 'unison'::regnamespace AND proowner = current_user::regrole
                   AND proname = ANY ({writers}) LOOP
        EXECUTE format('GRANT EXECUTE ON FUNCTION %s TO unison_writers', routine);
    END LOOP;
END
$body$;
