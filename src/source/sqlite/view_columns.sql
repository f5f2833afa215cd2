SELECT ?1 AS table_name, x.name, x.type, x."notnull", x.dflt_value, x.pk, x.hidden
FROM pragma_table_xinfo(?1) AS x
ORDER BY x.cid
