-- Hidden: 1 is a virtual table's, 2 and 3 are computed columns.
SELECT m.name AS table_name, x.name, x.type, x."notnull", x.dflt_value, x.pk, x.hidden
FROM pragma_table_list AS m
JOIN pragma_table_xinfo(m.name) AS x
WHERE m.schema = 'main' AND m.type = 'table' AND x.hidden <> 1
ORDER BY m.name, x.cid
