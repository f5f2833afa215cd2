-- "to" is NULL where the key refers to the parent's primary key without naming it.
SELECT m.name AS table_name, f.id, f."table" AS parent, f."from" AS from_column, f."to" AS to_column
FROM pragma_table_list AS m
JOIN pragma_foreign_key_list(m.name) AS f
WHERE m.schema = 'main' AND m.type = 'table'
ORDER BY m.name, f.id, f.seq
