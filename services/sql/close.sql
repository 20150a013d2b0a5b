-- Functions of the merge are for the triggers that call them, and for nobody else: with EXECUTE,
-- whoever may make a trigger on a table of his own could attach one that writes as the owner. Firing a
-- trigger needs no right. A function that has no list of rights yet may be executed by PUBLIC.
DO $body$
DECLARE
    routine regprocedure;
BEGIN
    FOR routine IN SELECT oid FROM pg_proc WHERE pronamespace = 'unison'::regnamespace
                   AND proowner = current_user::regrole AND proacl IS NULL LOOP
        EXECUTE format('REVOKE ALL ON FUNCTION %s FROM PUBLIC', routine);
    END LOOP;
END
$body$;
