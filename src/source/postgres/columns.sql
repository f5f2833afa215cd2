-- A domain counts as the type below it, through every domain between; any of them can forbid NULL.
WITH RECURSIVE domains(domain, base, typmod, required) AS (
  SELECT t.oid, t.typbasetype, t.typtypmod, t.typnotnull FROM pg_catalog.pg_type AS t WHERE t.typtype = 'd'
  UNION ALL
  SELECT d.domain, t.typbasetype, t.typtypmod, d.required OR t.typnotnull
  FROM domains AS d JOIN pg_catalog.pg_type AS t ON t.oid = d.base
  WHERE t.typtype = 'd'
), bases AS (
  SELECT d.domain, d.typmod, d.required, b.oid, b.typname, b.typtype, b.typcategory
  FROM domains AS d JOIN pg_catalog.pg_type AS b ON b.oid = d.base
  WHERE b.typtype <> 'd'
), labels AS (
  SELECT e.enumtypid, array_agg(e.enumlabel::text ORDER BY e.enumsortorder) AS names
  FROM pg_catalog.pg_enum AS e GROUP BY e.enumtypid
)
SELECT a.attrelid AS table_oid,
       a.attnum,
       a.attname::text AS column_name,
       format_type(a.atttypid, a.atttypmod) AS declared_type,
       CASE WHEN b.oid IS NOT NULL THEN format_type(b.oid, b.typmod) END AS domain_base,
       coalesce(b.typname, t.typname)::text AS base_type,
       coalesce(b.typtype, t.typtype)::text AS type_type,
       coalesce(b.typcategory, t.typcategory)::text AS type_category,
       NOT (a.attnotnull OR coalesce(b.required, false)) AS nullable,
       CASE WHEN a.atthasdef THEN pg_get_expr(f.adbin, f.adrelid) END AS default_value,
       a.attgenerated <> '' AS generated,
       a.attidentity::text AS identity,
       CASE WHEN a.attcollation <> t.typcollation THEN c.collname::text END AS collation,
       left(d.description, 2000) AS comment,
       l.names AS labels,
       -- Servers before 15 have no provider of their own but libc.
       coalesce(
         a.atttypid IN ('text'::regtype, 'varchar'::regtype)
         AND CASE
               WHEN c.collprovider = 'd' THEN coalesce(database.settings ->> 'datlocprovider', 'c') = 'b'
                 OR coalesce(database.settings ->> 'datlocprovider', 'c') = 'c' AND database.settings ->> 'datcollate' IN ('C', 'POSIX')
               ELSE c.collprovider = 'b' OR c.collprovider = 'c' AND c.collcollate IN ('C', 'POSIX')
             END,
         false
       ) AS byte_order
FROM unnest($1::oid[]) AS chosen(oid)
CROSS JOIN (SELECT to_jsonb(d) AS settings FROM pg_catalog.pg_database AS d WHERE d.datname = current_database()) AS database
JOIN pg_catalog.pg_attribute AS a ON a.attrelid = chosen.oid
JOIN pg_catalog.pg_type AS t ON t.oid = a.atttypid
LEFT JOIN bases AS b ON b.domain = t.oid
LEFT JOIN labels AS l ON l.enumtypid = coalesce(b.oid, t.oid)
LEFT JOIN pg_catalog.pg_collation AS c ON c.oid = a.attcollation
LEFT JOIN pg_catalog.pg_attrdef AS f ON f.adrelid = a.attrelid AND f.adnum = a.attnum
LEFT JOIN pg_catalog.pg_description AS d
  ON d.objoid = a.attrelid AND d.classoid = 'pg_catalog.pg_class'::regclass AND d.objsubid = a.attnum
WHERE a.attnum > 0 AND NOT a.attisdropped
ORDER BY a.attrelid, a.attnum
