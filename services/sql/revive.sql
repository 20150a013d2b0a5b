-- Keys that were deleted have rows again. The peers are told that the writer knew of the deletion,
-- which an INSERT alone does not say; and a row that is not later than its tombstone, which every
-- other node would drop, gets a later version. "rows" are as their statement made them, because an
-- old snapshot may show another one under the same key. With "stale" every row gets a later version:
-- tombstones may be there that the snapshot does not show.
--
-- The UPDATE carries the new version itself: one that changes nothing may be left out by a trigger of
-- the user's (suppress_redundant_updates_trigger). image.sql sends it. Where a trigger of the user's
-- keeps it from being done, the writer gets an error: an acknowledged row would be lost.
-- With nested loops: each key is looked up in an index.
CREATE OR REPLACE FUNCTION {function}(rows {table}[], stale boolean) RETURNS void LANGUAGE plpgsql SECURITY DEFINER
SET search_path = pg_catalog, pg_temp SET enable_nestloop = on SET enable_seqscan = off AS $body$
#variable_conflict use_column
DECLARE
    refused text := 'it left the row as it was';
BEGIN
    INSERT INTO {image} ({columns}, unison_replaced_ts, unison_replaced_node)
    SELECT {n_columns}, d.modified_ts, d.modified_node
    FROM unnest($1) AS n CROSS JOIN LATERAL {latest}(ROW ({n_all})::{table}) AS d;

    BEGIN
        UPDATE {table} AS t
        SET modified_ts = greatest(clock_timestamp(), t.modified_ts + '1 microsecond'::interval,
                                   d.modified_ts + '1 microsecond'::interval)
        FROM unnest($1) AS n LEFT JOIN LATERAL {latest}(ROW ({n_all})::{table}) AS d ON true
        WHERE ({t_key}) = ({n_key})
          AND ($2 OR (d.modified_ts, d.modified_node) >= (t.modified_ts, t.modified_node));
    EXCEPTION
        WHEN transaction_rollback THEN
            RAISE;
        WHEN OTHERS THEN
            refused := sqlerrm;
    END;

    IF EXISTS (SELECT FROM unnest($1) AS n JOIN {table} AS t ON ({t_key}) = ({n_key})
               WHERE $2 AND (t.modified_ts, t.modified_node) = (n.modified_ts, n.modified_node)
                  OR EXISTS (SELECT FROM {tombstone} AS d
                             WHERE ({d_key}) = ({t_key})
                               AND (d.modified_ts, d.modified_node) >= (t.modified_ts, t.modified_node))) THEN
        RAISE EXCEPTION 'could not serialize access due to concurrent delete'
        USING ERRCODE = 'serialization_failure',
              DETAIL = format('A row of %s needs a version later than the deletion of its key, and a trigger refused that: %s.',
                              {table_text}, refused),
              HINT = CASE WHEN $2 THEN 'Use READ COMMITTED, or let the trigger pass updates that change modified_ts only.'
                          ELSE 'Try again, or let the trigger pass updates that change modified_ts only.' END;
    END IF;
END
$body$;
