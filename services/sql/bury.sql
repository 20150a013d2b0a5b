-- Remember the deleted keys, with a version later than the row's; the INSERT is the message to the
-- peers. They are known then (know.sql).
--
-- The same statement, or a trigger of the user's, may have put a row of such a key back already: that
-- row is later. Its version is left alone where a tombstone fits between the two. To look for such
-- rows costs as much as all else does, so it is done only where this transaction has put or changed
-- rows of the table: PostgreSQL counts that (with what it has not reported yet of transactions before;
-- where it does not count, it has counted no deletion either).
CREATE OR REPLACE FUNCTION {function}() RETURNS trigger LANGUAGE plpgsql SECURITY DEFINER
SET search_path = pg_catalog, pg_temp SET enable_seqscan = off AS $body$
#variable_conflict use_column
BEGIN
    IF pg_stat_get_xact_tuples_inserted(TG_RELID) + pg_stat_get_xact_tuples_updated(TG_RELID) = 0
       AND pg_stat_get_xact_tuples_deleted(TG_RELID) > 0 THEN
        INSERT INTO {tombstone} ({key}, modified_ts, modified_node, unison_replaced_ts, unison_replaced_node)
        SELECT {o_key}, greatest(clock_timestamp(), o.modified_ts + '1 microsecond'::interval), {node},
               o.modified_ts, o.modified_node
        FROM old_rows AS o WHERE {o_known};
        RETURN NULL;
    END IF;

    -- One statement looks and tells by a setting. OFFSET 0 and enable_seqscan keep the planner to one
    -- look into the index for each row: the plan is kept for the session, whatever it was made for.
    -- A key that was deleted twice may get one tombstone for both.
    PERFORM set_config('unison.back', 'no', true);
    INSERT INTO {tombstone} ({key}, modified_ts, modified_node, unison_replaced_ts, unison_replaced_node)
    SELECT {o_key}, greatest(o.modified_ts + '1 microsecond'::interval,
                             least(clock_timestamp(), back.modified_ts - '1 microsecond'::interval)), {node},
           o.modified_ts, o.modified_node
    FROM old_rows AS o
    LEFT JOIN LATERAL (SELECT t.modified_ts FROM {table} AS t WHERE ({t_key}) = ({o_key}) OFFSET 0) AS back ON true
    WHERE {o_known} AND (back.modified_ts IS NULL OR set_config('unison.back', 'yes', true) IS NOT NULL)
    ON CONFLICT DO NOTHING;
    IF current_setting('unison.back') = 'yes' THEN
        PERFORM {revive}(ARRAY(
            SELECT ROW ({t_all})::{table}
            FROM old_rows AS o CROSS JOIN LATERAL (SELECT t.* FROM {table} AS t WHERE ({t_key}) = ({o_key}) OFFSET 0) AS t),
            false);
    END IF;
    RETURN NULL;
END
$body$;

CREATE OR REPLACE TRIGGER zzz_unison_bury AFTER DELETE ON {table}
REFERENCING OLD TABLE AS old_rows FOR EACH STATEMENT EXECUTE FUNCTION {function}();
