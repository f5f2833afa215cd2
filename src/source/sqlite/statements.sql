SELECT type, name, tbl_name, sql FROM sqlite_schema WHERE sql IS NOT NULL
