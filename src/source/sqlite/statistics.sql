-- The first number is that of the table's rows when ANALYZE last ran.
SELECT tbl, max(CAST(stat AS INTEGER)) FROM sqlite_stat1 GROUP BY tbl
