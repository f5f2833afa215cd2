-- A domain counts as the type below it.
SELECT n.nspname::text AS schema_name,
       c.relname::text AS table_name,
       a.attname::text AS column_name,
       format_type(a.atttypid, a.atttypmod) AS declared_type,
       coalesce(b.typname, t.typname)::text AS base_type,
       coalesce(b.typtype, t.typtype)::text AS type_type,
       coalesce(b.typcategory, t.typcategory)::text AS type_category,
       NOT (a.attnotnull OR t.typnotnull) AS nullable,
       pg_get_expr(d.adbin, d.adrelid) AS default_value,
       a.attgenerated <> '' AS generated,
       col_description(c.oid, a.attnum) AS comment,
       coalesce(
         (SELECT array_agg(e.enumlabel::text ORDER BY e.enumsortorder)
          FROM pg_catalog.pg_enum AS e WHERE e.enumtypid = coalesce(b.oid, t.oid)),
         ARRAY[]::text[]) AS labels
FROM pg_catalog.pg_attribute AS a
JOIN pg_catalog.pg_class AS c ON c.oid = a.attrelid
JOIN pg_catalog.pg_namespace AS n ON n.oid = c.relnamespace
JOIN pg_catalog.pg_type AS t ON t.oid = a.atttypid
LEFT JOIN pg_catalog.pg_type AS b ON t.typtype = 'd' AND b.oid = t.typbasetype
LEFT JOIN pg_catalog.pg_attrdef AS d ON d.adrelid = c.oid AND d.adnum = a.attnum
WHERE a.attnum > 0 AND NOT a.attisdropped
  AND c.relkind IN ('r', 'p', 'v', 'm', 'f')
  AND n.nspname NOT IN ('pg_catalog', 'information_schema')
  AND n.nspname !~ '^pg_(toast|temp)'
ORDER BY 1, 2, a.attnum
