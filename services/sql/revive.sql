-- Keys that were deleted have rows again: each row must be later than its tombstone, or every other node drops it, and the peers are told that
-- its writer knew of the deletion, which an INSERT alone does not say. "rows" are those rows as their statement made them, because an old snapshot may
-- show another one under the same key; "vacated" are rows whose keys may have new ones that are not known yet.
-- They are no fresh keys (know.sql), for the keys of changed rows were not drawn here.
-- With nested loops, which image.sql forbids: each key is looked up in an index.
CREATE OR REPLACE FUNCTION {function}(rows {table}[], vacated {table}[]) RETURNS void LANGUAGE plpgsql SECURITY DEFINER
SET search_path = pg_catalog, pg_temp SET enable_nestloop = on SET enable_seqscan = off AS $body$
#variable_conflict use_column
BEGIN
    rows := $1 || ARRAY(SELECT ROW ({t_all})::{table} FROM unnest($2) AS o JOIN {table} AS t ON ({t_key}) = ({o_key}));
    INSERT INTO {image} ({columns}, unison_replaced_ts, unison_replaced_node)
    SELECT {n_columns}, d.modified_ts, d.modified_node
    FROM unnest($1) AS n
    LEFT JOIN LATERAL (SELECT d.modified_ts, d.modified_node FROM {tombstone} AS d WHERE ({d_key}) = ({n_key})
                       ORDER BY d.modified_ts DESC, d.modified_node DESC LIMIT 1) AS d ON true
    WHERE {n_known};
    UPDATE {table} AS t SET modified_node = t.modified_node FROM unnest($1) AS n
    WHERE ({t_key}) = ({n_key})
      AND EXISTS (SELECT FROM {tombstone} AS d
                  WHERE ({d_key}) = ({t_key})
                    AND (d.modified_ts, d.modified_node) >= (t.modified_ts, t.modified_node));
END
$body$;
