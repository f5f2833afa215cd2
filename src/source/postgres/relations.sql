-- Partitions are read through their parent, which has what they have together; what an extension owns is not the user's data.
-- Rows and pages are what VACUUM and ANALYZE last saw: without pages where they saw nothing yet.
WITH RECURSIVE tree(root, part) AS (
  SELECT p.oid, p.oid FROM pg_catalog.pg_class AS p WHERE p.relkind = 'p' AND NOT p.relispartition
  UNION ALL
  SELECT t.root, i.inhrelid FROM tree AS t JOIN pg_catalog.pg_inherits AS i ON i.inhparent = t.part
), indexes AS (
  SELECT i.indrelid AS table_oid, sum(x.relpages::int8) AS pages
  FROM pg_catalog.pg_index AS i JOIN pg_catalog.pg_class AS x ON x.oid = i.indexrelid
  GROUP BY i.indrelid
), stored AS (
  SELECT coalesce(t.root, c.oid) AS table_oid,
         sum(greatest(c.reltuples, 0)::float8) AS row_count,
         bool_or(c.reltuples >= 0 AND c.relpages > 0) AS analyzed,
         sum(c.relpages::int8 + coalesce(o.relpages, 0) + coalesce(x.pages, 0)) AS pages
  FROM pg_catalog.pg_class AS c
  LEFT JOIN tree AS t ON t.part = c.oid
  LEFT JOIN pg_catalog.pg_class AS o ON o.oid = c.reltoastrelid
  LEFT JOIN indexes AS x ON x.table_oid = c.oid
  WHERE c.relkind IN ('r', 'm', 'f')
  GROUP BY 1
)
SELECT c.oid AS table_oid,
       n.nspname::text AS schema_name,
       c.relname::text AS table_name,
       c.relkind::text AS kind,
       left(d.description, 2000) AS comment,
       has_schema_privilege(n.oid, 'USAGE') AND has_table_privilege(c.oid, 'SELECT') AS readable,
       CASE WHEN s.analyzed THEN s.row_count END AS row_count,
       CASE WHEN s.analyzed AND c.relkind <> 'f' THEN (s.pages * current_setting('block_size')::int8)::int8 END AS size_bytes
FROM pg_catalog.pg_class AS c
JOIN pg_catalog.pg_namespace AS n ON n.oid = c.relnamespace
LEFT JOIN stored AS s ON s.table_oid = c.oid
LEFT JOIN pg_catalog.pg_description AS d
  ON d.objoid = c.oid AND d.classoid = 'pg_catalog.pg_class'::regclass AND d.objsubid = 0
WHERE c.relkind IN ('r', 'p', 'v', 'm', 'f')
  AND NOT c.relispartition
  AND n.nspname NOT IN ('pg_catalog', 'information_schema')
  AND n.nspname !~ '^pg_(toast|temp)'
  AND NOT EXISTS (
    SELECT 1 FROM pg_catalog.pg_depend AS e
    WHERE e.classid = 'pg_catalog.pg_class'::regclass AND e.objid = c.oid AND e.deptype = 'e')
