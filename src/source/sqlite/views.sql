-- All views where no name is given. One that cannot be computed ends the whole query.
SELECT m.name,
       (SELECT json_group_array(json_array(x.cid, x.name, x.type, x."notnull", x.dflt_value, x.pk, x.hidden))
        FROM pragma_table_xinfo(m.name) AS x)
FROM sqlite_schema AS m
WHERE m.type = 'view' AND (?1 IS NULL OR m.name = ?1)
