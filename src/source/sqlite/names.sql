-- Shadow tables, which hold what a virtual table is made of, have a type of their own.
SELECT name, type, wr
FROM pragma_table_list
WHERE schema = 'main'
  AND type IN ('table', 'view', 'virtual')
  AND name NOT LIKE 'sqlite\_%' ESCAPE '\'
