

class Source:
    """A SQLite file, opened read-only, in one read transaction."""

    def __init__(self, url: str, _snapshot: str | None = None) -> None:
        path = pathlib.Path(urllib.parse.unquote(url.split(":", 1)[1]).removeprefix("//"))
        if not path.is_file():
            raise Failure("the source is not an existing SQLite file; write sqlite:/path/to/file.db")
        address = path.resolve().as_uri() + "?mode=ro"
        try:
            self.connection = sqlite3.connect(address, uri=True, isolation_level=None, check_same_thread=False)
            # A value that is not UTF-8 must not end the whole read: it is kept as it is and quarantined later.
            self.connection.text_factory = lambda data: data.decode("utf-8", "surrogateescape")
            self.connection.create_function("relvec_row", -1, row_order, deterministic=True)
            self.connection.execute("PRAGMA trusted_schema = OFF")
            self.connection.execute("BEGIN")
            self.connection.execute("SELECT count(*) FROM sqlite_schema").fetchone()
        except sqlite3.Error as error:
            raise Failure(f"the source cannot be read as a SQLite file: {error}", "source_unreachable") from None

    def rows(self, sql: str, values: Values) -> Iterator[Row]:
        """Streams the rows of a query."""
        with contextlib.closing(self.connection.execute(sql, self._bindable(values))) as cursor:
            yield from cursor

    def roots(self, sql: str, values: Values, width: int) -> Generator[tuple[Row, Row], None, None]:
        """Streams root rows: the key to bind again, as a column may hold several types, and the key's texts with the values.

        A REAL comes as it is: SQLite's versions round its last digits differently.
        """
        for row in self.rows(sql, values):
            yield row[:width], tuple([repr(value) if isinstance(value, float) else value for value in row[width:]])

    def children(self, sql: str, values: Values, _width: int) -> Iterator[Row]:
        """Streams the key of each root row that has children, and these, in the order of the number that each has."""
        for row in self.rows(sql, values):
            yield *row[:-1], [child[1:] for child in sorted(json.loads(row[-1]))]

    def first(self, sql: str, values: Values | None = None) -> Row:
        """Gives the first row of a query."""
        row: Row | None = self.connection.execute(sql, self._bindable(values or {})).fetchone()
        return row or ()

    @staticmethod
    def _bindable(values: Values) -> Values:
        """Says of each value whether it is a text that is not UTF-8: it is bound as bytes, which SQL casts back."""
        found: Values = {}
        for name, value in values.items():
            broken = isinstance(value, str) and not is_utf8(value)
            found |= {f"{name}_raw": broken, name: value.encode("utf-8", "surrogateescape") if broken else value}
        return found

    def snapshot_at(self) -> str:
        """Gives the time of this machine: a file has no clock of its own."""
        return str(self.first("SELECT strftime('%Y-%m-%dT%H:%M:%fZ', 'now')")[0])

    def export_snapshot(self) -> str | None:
        """Gives nothing: each shard of a SQLite file reads at its own instant."""
        return None


DATABASE_ERRORS = (psycopg.Error, sqlite3.Error)


def row_order(*values: bytes | float | None) -> str:
    """Gives what equal rows are ordered by: bytes are texts, and a number is the text that it becomes."""
    texts = [repr(value) if isinstance(value, float) else value for value in values]
    return row_hash([text.decode("utf-8", "surrogateescape") if isinstance(text, bytes) else text for text in texts])


def is_utf8(text: str) -> bool:
    """Says whether a text that was read had no bytes beside UTF-8."""
    try:
        text.encode()
    except UnicodeEncodeError:
        return False
    return True
