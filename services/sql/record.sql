-- Record what a table consists of: all of it the first time, later only what was installed again (its kinds are like %(renewed)s).
UPDATE unison.replicated_table AS r
SET signature = CASE WHEN NOT starts_with(r.signature, '[') THEN unison.signature(r.schema_name, r.table_name) ELSE (
    SELECT jsonb_agg(f.fact)::text
    FROM (SELECT e.fact FROM jsonb_array_elements(r.signature::jsonb) AS e (fact) WHERE e.fact ->> 0 NOT SIMILAR TO %(renewed)s
          UNION ALL
          SELECT e.fact FROM jsonb_array_elements(unison.signature(r.schema_name, r.table_name)::jsonb) AS e (fact)
          WHERE e.fact ->> 0 SIMILAR TO %(renewed)s) AS f
    ) END
WHERE (r.schema_name, r.table_name) = (%(schema)s, %(table)s);
