-- A key that refers to a partitioned table has a copy for each partition, which has a parent. Columns of a parent that is not
-- read come by name, because nobody else knows them. A key of a period, which PostgreSQL has from 18 on, says that it is within the
-- parent's: no join of equal values.
SELECT k.conrelid AS table_oid,
       k.conname::text AS constraint_name,
       k.conkey AS columns,
       k.confrelid AS parent_oid,
       k.confkey AS parent_columns,
       k.confdeltype::text AS on_delete,
       k.confupdtype::text AS on_update,
       k.condeferrable AS deferrable,
       k.condeferred AS deferred,
       n.nspname::text AS parent_schema,
       p.relname::text AS parent_name,
       CASE WHEN known.oid IS NULL THEN
         (SELECT array_agg(a.attname::text ORDER BY u.place)
          FROM unnest(k.confkey) WITH ORDINALITY AS u(attnum, place)
          JOIN pg_catalog.pg_attribute AS a ON a.attrelid = k.confrelid AND a.attnum = u.attnum)
       END AS parent_names
FROM unnest($1::oid[]) AS chosen(oid)
JOIN pg_catalog.pg_constraint AS k ON k.conrelid = chosen.oid
JOIN pg_catalog.pg_class AS p ON p.oid = k.confrelid
JOIN pg_catalog.pg_namespace AS n ON n.oid = p.relnamespace
LEFT JOIN unnest($1::oid[]) AS known(oid) ON known.oid = k.confrelid
WHERE k.contype = 'f' AND k.conparentid = 0
  AND (to_jsonb(k) ->> 'conperiod')::boolean IS NOT TRUE
ORDER BY k.conrelid, k.conname
