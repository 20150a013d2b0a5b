-- A key that was deleted is used again: the new row must be later than its tombstone, or every other node drops it.
-- The stamp of the INSERT alone cannot promise that: the clock may be slow, and a DELETE of the same key that this INSERT
-- waited for may have been stamped after it. Here, after the row is in, the tombstone it outlived is visible.
CREATE OR REPLACE FUNCTION {function}() RETURNS trigger LANGUAGE plpgsql SECURITY DEFINER
SET search_path = pg_catalog, pg_temp AS $body$
BEGIN
    -- asked first, because even an UPDATE of no row would fire the statement triggers of UPDATE
    IF EXISTS (SELECT FROM new_rows AS n JOIN {tombstone} AS d ON ({d_key}) = ({n_key})
               WHERE (d.modified_ts, d.modified_node) >= (n.modified_ts, n.modified_node)) THEN
        UPDATE {table} AS t SET modified_node = t.modified_node
        FROM new_rows AS n
        WHERE ({t_key}) = ({n_key})
          AND EXISTS (SELECT FROM {tombstone} AS d
                      WHERE ({d_key}) = ({n_key})
                        AND (d.modified_ts, d.modified_node) >= (n.modified_ts, n.modified_node));
    END IF;
    RETURN NULL;
END
$body$;

CREATE OR REPLACE TRIGGER zzz_unison_outlive AFTER INSERT ON {table}
REFERENCING NEW TABLE AS new_rows FOR EACH STATEMENT EXECUTE FUNCTION {function}();
