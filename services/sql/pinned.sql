-- The roles that send and apply changes in this database, the owner %(owner)s and the replicators: is it the owner, which of the settings %(names)s
-- this version of PostgreSQL has, which of them are set for the database or for the role, and its settings in the database by name.
SELECT r.rolname, r.rolname = %(owner)s,
       ARRAY(SELECT lower(s.name) FROM pg_settings AS s WHERE lower(s.name) = ANY (%(names)s)),
       ARRAY(SELECT DISTINCT lower(split_part(c.line, '=', 1)) FROM pg_db_role_setting AS s, unnest(s.setconfig) AS c (line)
             WHERE (s.setdatabase, s.setrole) IN ((d.oid, 0), (0, r.oid), (0, 0))),
       (SELECT coalesce(jsonb_object_agg(lower(split_part(c.line, '=', 1)), substr(c.line, strpos(c.line, '=') + 1)), jsonb_build_object())
        FROM pg_db_role_setting AS s, unnest(s.setconfig) AS c (line) WHERE (s.setdatabase, s.setrole) = (d.oid, r.oid))
FROM pg_roles AS r, pg_database AS d
WHERE d.datname = current_database()
  AND (r.rolname = %(owner)s OR r.rolreplication AND EXISTS (SELECT FROM pg_auth_members AS m
                                                            WHERE m.member = r.oid AND m.roleid = 'unison_replicators'::regrole));
