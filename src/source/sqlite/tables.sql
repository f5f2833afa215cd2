-- One row a table, with lists as JSON: columns, indexes and foreign keys are a statement each to SQLite, and rows are what costs
-- on the way out. Of an index's parts, -2 is an expression and -1 the row id. "to" is NULL where a key refers to the parent's
-- primary key without naming it.
SELECT m.name,
       (SELECT json_group_array(json_array(x.cid, x.name, x.type, x."notnull", x.dflt_value, x.pk, x.hidden))
        FROM pragma_table_xinfo(m.name) AS x),
       (SELECT json_group_array(json_array(i.name, i."unique", i.origin, i.partial,
          (SELECT json_group_array(json_array(c.seqno, c.cid, c.name)) FROM pragma_index_info(i.name) AS c)))
        FROM pragma_index_list(m.name) AS i),
       (SELECT json_group_array(json_array(f.id, f.seq, f."table", f."from", f."to", f.on_update, f.on_delete))
        FROM pragma_foreign_key_list(m.name) AS f)
FROM sqlite_schema AS m
WHERE m.type = 'table' AND m.name NOT LIKE 'sqlite\_%' ESCAPE '\' AND m.sql NOT LIKE 'CREATE VIRTUAL%'
