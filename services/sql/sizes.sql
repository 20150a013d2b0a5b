-- Which of these tables can have anything to do? %(tables)s and its fellows are their schemas and names, and the names of their images and tombstones. Answers
-- for each, in order, whether images, and whether tombstones, take any room; also where one of the three is missing, whose share then says so. It costs
-- one look into the file system a relation: what nobody writes to costs next to nothing.
SELECT to_regclass(format('%%I.%%I', t.schema, t.name)) IS NULL OR coalesce(pg_relation_size(to_regclass(format('unison.%%I', t.image))), 1) > 0,
       to_regclass(format('%%I.%%I', t.schema, t.name)) IS NULL OR coalesce(pg_relation_size(to_regclass(format('unison.%%I', t.tombstone))), 1) > 0
FROM unnest(%(schemas)s::text[], %(tables)s::text[], %(images)s::text[], %(tombstones)s::text[]) WITH ORDINALITY AS t (schema, name, image, tombstone, place)
ORDER BY t.place;
