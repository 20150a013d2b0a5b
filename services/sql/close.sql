-- Functions of the merge are for the triggers that call them, and for nobody else: with EXECUTE,
-- whoever may make a trigger on a table of his own could attach one that writes as the owner. Firing a
-- trigger needs no right.
DO $body$
DECLARE
    routine regprocedure;
BEGIN
    FOR routine IN SELECT oid FROM pg_proc WHERE pronamespace = 'unison'::regnamespace
                   AND proowner = current_user::regrole
                   AND has_function_privilege('public', oid, 'EXECUTE') LOOP
        EXECUTE format('REVOKE ALL ON FUNCTION %s FROM PUBLIC', routine);
    END LOOP;
END
$body$;
