-- Send the changed rows, whole, to the peers; one statement however many rows.
-- A changed primary key is a deletion and an insertion. Which row went to which key cannot be told from here, so when an old key
-- is gone, all old keys of the statement are buried, and what stands under an old or a new key is stamped anew, later than that.
CREATE OR REPLACE FUNCTION {function}() RETURNS trigger LANGUAGE plpgsql SECURITY DEFINER
SET search_path = pg_catalog, pg_temp AS $body$
#variable_conflict use_column
BEGIN
    INSERT INTO {image} ({columns}) SELECT {n_columns} FROM new_rows AS n;
    IF EXISTS (SELECT FROM old_rows AS o WHERE NOT EXISTS (SELECT FROM new_rows AS n WHERE ({n_key}) = ({o_key}))) THEN
        INSERT INTO {tombstone} ({key}, modified_ts, modified_node)
        SELECT {o_key}, greatest(clock_timestamp(), o.modified_ts + '1 microsecond'::interval), {node} FROM old_rows AS o;
        UPDATE {table} AS t SET modified_node = t.modified_node
        WHERE (({t_key}) IN (SELECT {n_key} FROM new_rows AS n) OR ({t_key}) IN (SELECT {o_key} FROM old_rows AS o))
          AND EXISTS (SELECT FROM {tombstone} AS d
                      WHERE ({d_key}) = ({t_key})
                        AND (d.modified_ts, d.modified_node) >= (t.modified_ts, t.modified_node));
    END IF;
    RETURN NULL;
END
$body$;

CREATE OR REPLACE TRIGGER zzz_unison_image AFTER UPDATE ON {table}
REFERENCING OLD TABLE AS old_rows NEW TABLE AS new_rows FOR EACH STATEMENT EXECUTE FUNCTION {function}();
