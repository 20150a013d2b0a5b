-- Whether values of a type hold a date or a time: what domains, arrays, ranges and rows are made of is looked at, too.
WITH RECURSIVE part(oid) AS (
    SELECT %(type)s::regtype::oid
    UNION
    SELECT below.oid
      FROM part JOIN pg_type AS t ON t.oid = part.oid
     CROSS JOIN LATERAL (
        VALUES (t.typbasetype), (t.typelem),
               ((SELECT rngsubtype FROM pg_range WHERE rngtypid = t.oid)),
               ((SELECT rngsubtype FROM pg_range WHERE rngmultitypid = t.oid))
        UNION ALL SELECT atttypid FROM pg_attribute WHERE attrelid = t.typrelid AND attnum > 0 AND NOT attisdropped) AS below(oid)
     WHERE below.oid <> 0
)
SELECT coalesce(bool_or(t.typcategory = 'D'), false) FROM part JOIN pg_type AS t ON t.oid = part.oid;
