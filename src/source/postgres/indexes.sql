-- INCLUDE columns do not belong to a key. A part that is 0 among the columns is an expression, in order.
SELECT i.indrelid AS table_oid,
       x.relname::text AS index_name,
       i.indisunique AS is_unique,
       i.indisprimary AS is_primary,
       i.indisvalid AS is_valid,
       i.indnkeyatts AS parts,
       string_to_array(i.indkey::text, ' ')::int2[] AS columns,
       CASE WHEN i.indexprs IS NOT NULL THEN
         (SELECT array_agg(pg_get_indexdef(i.indexrelid, k.place::int4, true) ORDER BY k.place)
          FROM unnest(i.indkey::int2[]) WITH ORDINALITY AS k(attnum, place)
          WHERE k.attnum = 0 AND k.place <= i.indnkeyatts)
       END AS expressions,
       pg_get_expr(i.indpred, i.indrelid) AS predicate
FROM unnest($1::oid[]) AS chosen(oid)
JOIN pg_catalog.pg_index AS i ON i.indrelid = chosen.oid
JOIN pg_catalog.pg_class AS x ON x.oid = i.indexrelid
ORDER BY i.indrelid, x.relname
