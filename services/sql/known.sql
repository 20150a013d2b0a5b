-- The sequence of know.sql for one table. Its triggers read it as whoever writes.
CREATE SEQUENCE IF NOT EXISTS {known} MINVALUE 0 START 0;
GRANT SELECT ON SEQUENCE {known} TO PUBLIC;
-- What is here already is known; nothing comes meanwhile.
LOCK TABLE {table}, {tombstone} IN SHARE ROW EXCLUSIVE MODE;
SELECT setval({known_text}, greatest(pg_sequence_last_value({known_text}), 0,
                                     (SELECT max({t_place}) FROM {table} AS t WHERE {t_node} BETWEEN 1 AND 32767),
                                     (SELECT max({d_place}) FROM {tombstone} AS d WHERE {d_node} BETWEEN 1 AND 32767)));
-- older versions began below
ALTER SEQUENCE {known} MINVALUE 0 START 0;
