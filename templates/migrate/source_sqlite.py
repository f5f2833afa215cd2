

# ---- The source is SQLite -------------------------------------------------------------------------------------------


class SqliteSource:
    """A SQLite file, opened read-only, in one read transaction."""

    def __init__(self, url: str) -> None:
        path = urllib.parse.unquote(url.split(":", 1)[1])
        if path.startswith("//"):
            path = path[2:]
        if not os.path.isfile(path):
            raise Failure("the source is not an existing SQLite file; write sqlite:/path/to/file.db")
        address = "file:" + urllib.parse.quote(os.path.abspath(path)) + "?mode=ro"
        try:
            self.connection = sqlite3.connect(address, uri=True, isolation_level=None, check_same_thread=False)
            # A value that is not UTF-8 must not end the whole read: it is kept as it is and quarantined later.
            self.connection.text_factory = lambda data: data.decode("utf-8", "surrogateescape")
            self.connection.execute("PRAGMA trusted_schema = OFF")
            self.connection.execute("BEGIN")
            self.connection.execute("SELECT count(*) FROM sqlite_schema").fetchone()
        except sqlite3.Error as error:
            raise Failure(f"the source cannot be read as a SQLite file: {error}") from None

    def rows(self, sql: str, values: Sequence[Any] = ()) -> Generator[Row, None, None]:
        """Streams the rows of a query."""
        with contextlib.closing(self.connection.execute(sql, self._bindable(values))) as cursor:
            yield from cursor

    def children(self, sql: str, values: Sequence[Any], _width: int) -> Iterator[Row]:
        """Streams the key of each root row that has children, and these, in the order of the number that each has."""
        for row in self.rows(sql, values):
            yield *row[:-1], [child[1:] for child in sorted(json.loads(row[-1]))]

    def value(self, sql: str, values: Sequence[Any] = ()) -> Any:
        """Gives the first value of a query."""
        row = self.connection.execute(sql, self._bindable(values)).fetchone()
        return row[0] if row else None

    @staticmethod
    def _bindable(values: Sequence[Any]) -> list[Any]:
        """Gives two values for each: texts that are not UTF-8 can only be bound as bytes, which SQL casts back."""
        found: list[Any] = []
        for value in values:
            broken = isinstance(value, str) and not is_utf8(value)
            found += [broken, value.encode("utf-8", "surrogateescape") if broken else value]
        return found

    def is_bytewise(self, table: dict[str, Any], column: str) -> bool:
        """Looks for a collation in the table's definition: without one, all its columns are in binary order."""
        sql = self.connection.execute(
            "SELECT sql FROM sqlite_schema WHERE type = 'table' AND lower(name) = lower(?)", [table["name"]]
        ).fetchone()
        return sql is not None and "collate" not in sql[0].lower()

    def snapshot_at(self) -> str:
        """Gives the time of this machine: a file has no clock of its own."""
        return str(self.value("SELECT strftime('%Y-%m-%dT%H:%M:%fZ', 'now')"))


Source = SqliteSource
DATABASE_ERRORS = (psycopg.Error, sqlite3.Error)


def as_text(alias: str, column: str, _data_type: str) -> str:
    """Lets the database turn a value into text, so that every reader sees the same text."""
    return f"CAST({alias}.{quoted(column)} AS TEXT)"


def field_value(field: dict[str, Any]) -> str:
    """Gives a value as text, but leaves a REAL as it is: SQLite's versions round the last digits differently."""
    name = f"{field['alias']}.{quoted(field['column'])}"
    text = as_text(field["alias"], field["column"], field["data_type"])
    return f"CASE typeof({name}) WHEN 'real' THEN {name} ELSE {text} END"


def key_values(key: list[dict[str, Any]]) -> list[str]:
    """Gives what a key is read as twice: to be bound again, and as texts.

    A key is taken back as it was read, because a column may hold several types, each with its own place in the order.
    """
    texts = [as_text("r", column["name"], column["data_type"]) for column in key]
    return [own_order("r", column) for column in key] + texts


def by_bytes(alias: str, column: dict[str, Any]) -> str:
    """Gives the term of a total order: texts by their bytes, everything else by its own order."""
    return f"{own_order(alias, column)} COLLATE BINARY"


def bound(number: int) -> str:
    """Gives the SQL of the bound key value with this number, counted from 0; it has two parameters."""
    one, two = 2 * number + 1, 2 * number + 2
    return f"iif(?{one}, CAST(?{two} AS TEXT), ?{two})"


def comparable(data_type: str, text: str) -> Any:
    """Gives a filter's value as it is bound: SQLite compares by what a value is."""
    if data_type == "boolean":
        return int(text == "true")
    if data_type == "integer":
        return int(text)
    return float(text) if data_type in ("decimal", "float") else text


def compared(terms: list[str], sign: str, bounds: list[str]) -> str:
    """Gives the condition that rows stand before or behind a key."""
    return f"({', '.join(terms)}) {sign} ({', '.join(bounds)})"


def children_of(key: list[dict[str, Any]], order: list[str], values: list[str], sequence: str, rows: str) -> str:
    """Gives a row a root row that has children: its key, these as JSON.

    json_group_array takes an order from SQLite 3.44 on only: each child row brings its number instead.
    """
    names = [f"v{number}" for number in range(len(values))]
    inner = [f"{term} AS o{number}" for number, term in enumerate(order)]
    keys = [as_text("r", column["name"], column["data_type"]) for column in key]
    inner += [f"{text} AS k{number}" for number, text in enumerate(keys)]
    inner += [f"{value} AS {name}" for value, name in zip(values, names, strict=True)]
    groups = ", ".join(f"o{number} COLLATE BINARY" for number in range(len(key)))
    outer = [f"k{number}" for number in range(len(key))]
    return (
        f"SELECT {', '.join(outer)}, json_group_array(json_array(n, {', '.join(names)}))"  # nosec B608: quoted
        f" FROM (SELECT {', '.join(inner)}, row_number() OVER (ORDER BY {sequence}) AS n {rows})"
        f" GROUP BY {groups} ORDER BY {groups}"
    )
