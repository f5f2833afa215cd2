

# ---- The source is PostgreSQL ---------------------------------------------------------------------------------------


class PostgresSource:
    """A PostgreSQL database in one REPEATABLE READ, READ ONLY transaction."""

    SETTINGS = (
        "SET datestyle = 'ISO, YMD'",
        "SET timezone = 'UTC'",
        "SET intervalstyle = 'iso_8601'",
        "SET extra_float_digits = 1",
        "SET bytea_output = 'hex'",
        "SET statement_timeout = 0",
        # The reader waits for the embedding API between two fetches.
        "SET idle_in_transaction_session_timeout = 0",
    )

    def __init__(self, url: str) -> None:
        self.connection = connect(url, "source", autocommit=False)
        self.connection.isolation_level = psycopg.IsolationLevel.REPEATABLE_READ
        self.connection.read_only = True
        self.connection.cursor_factory = psycopg.RawCursor  # numbered parameters; % in a name is only a character
        self.connection.server_cursor_factory = psycopg.RawServerCursor
        self.cursors = itertools.count()
        for setting in self.SETTINGS:
            self.connection.execute(setting.encode())

    def rows(self, sql: str, values: Sequence[Any] = ()) -> Generator[Row, None, None]:
        """Streams the rows of a query through a cursor of the server."""
        with self.connection.cursor(name=f"relvec_{next(self.cursors)}") as cursor:
            cursor.itersize = 512
            cursor.execute(sql.encode(), values or None)
            yield from cursor

    def children(self, sql: str, values: Sequence[Any], _width: int) -> Iterator[Row]:
        """Streams the key of each root row that has children, and these."""
        return ((*row[:-1], json.loads(row[-1])) for row in self.rows(sql, values))

    def value(self, sql: str, values: Sequence[Any] = ()) -> Any:
        """Gives the first value of a query."""
        row = self.connection.execute(sql.encode(), values or None).fetchone()
        return row[0] if row else None

    def is_bytewise(self, table: dict[str, Any], column: str) -> bool:
        """Asks the catalogue for the column's collation; older servers have no other providers than libc."""
        return bool(self.value(
            """SELECT CASE WHEN k.collname = 'default' THEN coalesce(to_jsonb(d) ->> 'datlocprovider', 'c') = 'b'
                     OR coalesce(to_jsonb(d) ->> 'datlocprovider', 'c') = 'c' AND d.datcollate IN ('C', 'POSIX')
                   ELSE k.collprovider = 'b' OR k.collprovider = 'c' AND k.collcollate IN ('C', 'POSIX') END
               FROM pg_attribute a JOIN pg_collation k ON k.oid = a.attcollation, pg_database d
               WHERE d.datname = current_database() AND a.attrelid = $1::regclass AND a.attname = $2
                 AND a.atttypid IN ('text'::regtype, 'varchar'::regtype)""",
            [table_name(table), column],
        ))  # fmt: skip

    def snapshot_at(self) -> str:
        """Gives the server's time at which the transaction began."""
        moment = "transaction_timestamp() AT TIME ZONE 'UTC'"
        return str(self.value(f"""SELECT to_char({moment}, 'YYYY-MM-DD"T"HH24:MI:SS.US"Z"')"""))  # nosec B608: constants


Source = PostgresSource
DATABASE_ERRORS = (psycopg.Error,)


def as_text(alias: str, column: str, _data_type: str) -> str:
    """Lets the database turn a value into text, so that every reader sees the same text."""
    return f"CAST({alias}.{quoted(column)} AS TEXT)"


def field_value(field: dict[str, Any]) -> str:
    """Gives a value as text."""
    return as_text(field["alias"], field["column"], field["data_type"])


def key_values(key: list[dict[str, Any]]) -> list[str]:
    """Gives what a key is read as twice: to be bound again, and as texts.

    Here both are texts: bound without a type, a text gets the column's own and is the same value again.
    """
    return [as_text("r", column["name"], column["data_type"]) for column in key] * 2


def by_bytes(alias: str, column: dict[str, Any]) -> str:
    """Gives the term of a total order: texts by their bytes, everything else by its own order."""
    is_text = column["data_type"] == "text"
    text = as_text(alias, column["name"], column["data_type"])
    return f'{text} COLLATE "C"' if is_text else own_order(alias, column)


def bound(number: int) -> str:
    """Gives the SQL of the bound key value with this number, counted from 0."""
    return f"${number + 1}"


def comparable(_data_type: str, text: str) -> Any:
    """Gives a filter's value as it is bound: without a type, a text gets the column's own."""
    return text


def compared(terms: list[str], sign: str, bounds: list[str]) -> str:
    """Gives the condition that rows stand before or behind a key."""
    return f"({', '.join(terms)}) {sign} ({', '.join(bounds)})"


def children_of(key: list[dict[str, Any]], order: list[str], values: list[str], sequence: str, rows: str) -> str:
    """Gives a row a root row that has children: its key, these as JSON."""
    keys = ", ".join(as_text("r", column["name"], column["data_type"]) for column in key)
    groups = ", ".join(own_order("r", column) for column in key)
    found = f"CAST(json_agg(json_build_array({', '.join(values)}) ORDER BY {sequence}) AS TEXT)"
    return f"SELECT {keys}, {found} {rows} GROUP BY {groups} ORDER BY {', '.join(order)}"  # nosec B608: quoted
