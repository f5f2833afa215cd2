

class Source:
    """A PostgreSQL database in one REPEATABLE READ, READ ONLY transaction."""

    SETTINGS = (
        "SET datestyle = 'ISO, YMD'",
        "SET timezone = 'UTC'",
        "SET intervalstyle = 'iso_8601'",
        "SET extra_float_digits = 1",
        "SET bytea_output = 'hex'",
        "SET cursor_tuple_fraction = 1",  # a page is read to its end
        "SET statement_timeout = 0",
        # From PostgreSQL 17 on.
        "SELECT set_config('transaction_timeout', '0', false) WHERE current_setting('transaction_timeout', true) IS NOT NULL",
        # The reader waits for the embedding API between two fetches.
        "SET idle_in_transaction_session_timeout = 0",
    )
    def __init__(self, url: str, snapshot: str | None = None) -> None:
        self.connection = connect(url, "source", autocommit=False)
        self.connection.isolation_level = psycopg.IsolationLevel.REPEATABLE_READ
        self.connection.read_only = True
        self.cursors = itertools.count()
        if snapshot and re.fullmatch("[0-9A-F-]+", snapshot):
            try:
                self.connection.execute(f"SET TRANSACTION SNAPSHOT '{snapshot}'".encode())
            except psycopg.Error as error:
                if error.sqlstate not in ("22023", "42704", "55000"):
                    raise
                self.connection.rollback()  # the shard that had it is through: this one reads at its own instant
        for setting in self.SETTINGS:
            self.connection.execute(setting.encode())

    def rows(self, sql: str, values: Values) -> Iterator[Row]:
        """Streams the rows of a query through a cursor of the server."""
        with self.connection.cursor(name=f"relvec_{next(self.cursors)}") as cursor:
            cursor.execute(sql.encode(), values)
            count = FIRST_FETCH
            while batch := cursor.fetchmany(count):
                yield from batch
                count = min(FETCH, 4 * count)

    def roots(self, sql: str, values: Values, width: int) -> Generator[tuple[Row, Row], None, None]:
        """Streams root rows: the key to bind again, and the key's texts with the values. Here both keys are texts."""
        return ((row[:width], row) for row in self.rows(sql, values))

    def children(self, sql: str, values: Values, _width: int) -> Iterator[Row]:
        """Streams the key of each root row that has children, and these."""
        return ((*row[:-1], json.loads(row[-1])) for row in self.rows(sql, values))

    def first(self, sql: str, values: Values | None = None) -> Row:
        """Gives the first row of a query."""
        return self.connection.execute(sql.encode(), values).fetchone() or ()

    def snapshot_at(self) -> str:
        """Gives the server's time at which the transaction began."""
        moment = "transaction_timestamp() AT TIME ZONE 'UTC'"
        return str(self.first(f"""SELECT to_char({moment}, 'YYYY-MM-DD"T"HH24:MI:SS.US"Z"')""")[0])  # nosec B608: constants

    def export_snapshot(self) -> str | None:
        """Gives a name by which other shards can read at the same instant, while this connection lives."""
        return str(self.first("SELECT pg_export_snapshot()")[0])


DATABASE_ERRORS = (psycopg.Error,)
