-- The vector column of the table, and its HNSW index for the cosine distance.
SELECT t.typname::text,
       a.atttypmod,
       (SELECT i.relname::text
        FROM pg_index x
        JOIN pg_class i ON i.oid = x.indexrelid
        JOIN pg_am m ON m.oid = i.relam
        JOIN pg_opclass o ON o.oid = x.indclass[0]
        WHERE x.indrelid = c.oid
          AND x.indisvalid
          AND x.indpred IS NULL
          AND m.amname = 'hnsw'
          AND x.indkey[0] = a.attnum
          AND o.opcname IN ('vector_cosine_ops', 'halfvec_cosine_ops')
        ORDER BY i.relname
        LIMIT 1)
FROM pg_class c
JOIN pg_namespace n ON n.oid = c.relnamespace
JOIN pg_attribute a ON a.attrelid = c.oid
JOIN pg_type t ON t.oid = a.atttypid
WHERE n.nspname = $1
  AND c.relname = $2
  AND a.attname = 'embedding'
  AND NOT a.attisdropped
  AND c.relkind IN ('r', 'p')
