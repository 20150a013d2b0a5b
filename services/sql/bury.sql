-- Remember the deleted keys, with a version later than the row's; the INSERT is the message to the
-- peers. They are known then (know.sql).
--
-- The same statement, or a trigger of the user's, may have put a row of such a key back already: that
-- row is later. Its version is left alone where a tombstone fits between the two. To look for such
-- rows costs a third of all else, so it is done only where this transaction has put or changed rows of
-- the table: PostgreSQL counts that (with what it has not reported yet of transactions before; where
-- it does not count, it has counted no deletion either). A key that was deleted twice may get one
-- tombstone for both.
--
-- Every name is qualified, because a setting of the function would cost each deletion more than that:
-- a caller's search_path must not choose the operators, nor the types of the variables, whose checks
-- would run as the owner. The first INSERT names the columns in the
-- table's order and in its types: the plan has a step less then. The round (companions.sql) is read
-- once: a tombstone may bear the number of any round since its transaction began (round.sql).
CREATE OR REPLACE FUNCTION {function}() RETURNS trigger LANGUAGE plpgsql SECURITY DEFINER AS $body$
#variable_conflict use_column
<<part>>
DECLARE
    round_number pg_catalog.int8 := coalesce(pg_catalog.pg_sequence_last_value('unison.round_number'), 0);
    planned_with pg_catalog.text;
    changed pg_catalog.text;
BEGIN
    IF (pg_catalog.pg_stat_get_xact_tuples_inserted(TG_RELID)
            OPERATOR(pg_catalog.+) pg_catalog.pg_stat_get_xact_tuples_updated(TG_RELID)) OPERATOR(pg_catalog.=) 0
       AND pg_catalog.pg_stat_get_xact_tuples_deleted(TG_RELID) OPERATOR(pg_catalog.>) 0 THEN
        INSERT INTO {tombstone} ({key}, modified_ts, modified_node, unison_replaced_ts, unison_replaced_node, unison_arrived)
        SELECT {o_key}, greatest(pg_catalog.clock_timestamp(),
                                 o.modified_ts OPERATOR(pg_catalog.+) '1 microsecond'::pg_catalog.interval),
               {node}::pg_catalog.int2, o.modified_ts, o.modified_node, part.round_number
        FROM old_rows AS o WHERE {o_known};
        RETURN NULL;
    END IF;

    -- OFFSET 0 and enable_seqscan keep the planner to one look into the index for each row: the plan is
    -- kept for the session, whatever it was made for. The setting is as it was when this returns or fails.
    planned_with := pg_catalog.current_setting('enable_seqscan');
    changed := pg_catalog.set_config('enable_seqscan', 'off', true);
    IF EXISTS (SELECT FROM old_rows AS o, LATERAL (SELECT FROM {table} AS t
                                                   WHERE ({t_key}) OPERATOR(pg_catalog.=) ({o_key}) OFFSET 0) AS t) THEN
        INSERT INTO {tombstone} ({key}, modified_ts, modified_node, unison_replaced_ts, unison_replaced_node)
        SELECT {o_key}, greatest(o.modified_ts OPERATOR(pg_catalog.+) '1 microsecond'::pg_catalog.interval,
                                 least(pg_catalog.clock_timestamp(),
                                       back.modified_ts OPERATOR(pg_catalog.-) '1 microsecond'::pg_catalog.interval)),
               {node}, o.modified_ts, o.modified_node
        FROM old_rows AS o
        LEFT JOIN LATERAL (SELECT t.modified_ts FROM {table} AS t
                           WHERE ({t_key}) OPERATOR(pg_catalog.=) ({o_key}) OFFSET 0) AS back ON true
        WHERE {o_known}
        ON CONFLICT DO NOTHING;
        PERFORM {revive}(ARRAY(
            SELECT ROW ({t_all})::{table}
            FROM old_rows AS o CROSS JOIN LATERAL (SELECT t.* FROM {table} AS t
                                                   WHERE ({t_key}) OPERATOR(pg_catalog.=) ({o_key}) OFFSET 0) AS t),
            false);
    ELSE
        INSERT INTO {tombstone} ({key}, modified_ts, modified_node, unison_replaced_ts, unison_replaced_node, unison_arrived)
        SELECT {o_key}, greatest(pg_catalog.clock_timestamp(),
                                 o.modified_ts OPERATOR(pg_catalog.+) '1 microsecond'::pg_catalog.interval),
               {node}::pg_catalog.int2, o.modified_ts, o.modified_node, part.round_number
        FROM old_rows AS o WHERE {o_known}
        ON CONFLICT DO NOTHING;
    END IF;
    changed := pg_catalog.set_config('enable_seqscan', planned_with, true);
    RETURN NULL;
END
$body$;

CREATE OR REPLACE TRIGGER zzz_unison_bury AFTER DELETE ON {table}
REFERENCING OLD TABLE AS old_rows FOR EACH STATEMENT EXECUTE FUNCTION {function}();
