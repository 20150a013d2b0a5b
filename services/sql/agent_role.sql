-- The agent's own role, {agent}, is a member of {owner} and has two rights beside: to choose which triggers fire, and to write under a replication origin.
-- Without a password nobody gets in by TCP (pg_hba.conf rejects it, too). What the owner's code may have set while it ran as this role is undone.
ALTER ROLE {agent} LOGIN NOSUPERUSER NOCREATEDB NOCREATEROLE NOREPLICATION NOBYPASSRLS INHERIT CONNECTION LIMIT -1 PASSWORD NULL;
ALTER ROLE {agent} RESET ALL;
GRANT {owner} TO {agent};
GRANT SET ON PARAMETER session_replication_role TO {agent};
GRANT EXECUTE ON FUNCTION pg_replication_origin_oid(text), pg_replication_origin_session_setup(text), pg_replication_origin_session_reset() TO {agent};
-- a seed lets the slots of others move on (headroom.sql); a link's error is over when its origin has passed it (subscriptions.sql)
GRANT EXECUTE ON FUNCTION pg_log_standby_snapshot(), pg_show_replication_origin_status() TO {agent};
GRANT SELECT ON pg_replication_origin_status TO {agent};
