-- The canonical text forms of src/model/plan.rs.
SET NAMES utf8mb4;
SET SESSION sql_mode = '', time_zone = '+00:00', max_sort_length = 8192, lock_wait_timeout = 10
  -- MySQL keeps its statistics of tables for a day; MariaDB passes such a comment over.
  /*!80000 , information_schema_stats_expiry = 0 */;
SET SESSION TRANSACTION ISOLATION LEVEL REPEATABLE READ;
