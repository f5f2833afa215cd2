-- An expression has no name, so an index with one is told by its NULL.
SELECT m.name AS table_name, i.name AS index_name, c.name AS column_name
FROM pragma_table_list AS m
JOIN pragma_index_list(m.name) AS i
JOIN pragma_index_info(i.name) AS c
WHERE m.schema = 'main' AND m.type = 'table' AND i."unique" = 1 AND i.partial = 0 AND i.origin <> 'pk'
ORDER BY m.name, i.name, c.seqno
