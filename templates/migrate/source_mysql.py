

# ---- The source is MySQL or MariaDB ---------------------------------------------------------------------------------

SSL_MODES = ("DISABLED", "PREFERRED", "REQUIRED", "VERIFY_CA", "VERIFY_IDENTITY")


def mysql_parameters(url: str) -> dict[str, Any]:
    """Takes a MySQL URL apart."""
    try:
        parts = urllib.parse.urlsplit(url)
        options = dict(urllib.parse.parse_qsl(parts.query, strict_parsing=bool(parts.query)))
        port, password = parts.port or 3306, urllib.parse.unquote(parts.password or "")
    except ValueError:
        raise Failure("the source URL cannot be read; write mysql://user:password@host:3306/database") from None
    keep_secret(password)
    if others := sorted(options.keys() - {"ssl-mode", "connect_timeout"}):
        raise Failure(f"the source URL has the option `{others[0]}`; it may have connect_timeout, ssl-mode")
    mode, timeout = options.get("ssl-mode", "PREFERRED"), options.get("connect_timeout", "10")
    if mode not in SSL_MODES or not timeout.isdecimal() or not 1 <= int(timeout) <= 300:
        raise Failure(
            f"an option of the source URL is wrong; ssl-mode is one of {', '.join(SSL_MODES)}, connect_timeout 1 to 300"
        )
    if not parts.hostname or not parts.username or not parts.path[1:]:
        raise Failure("the source URL names no host, user or database; write mysql://user:password@host:3306/database")
    context = None
    if mode not in ("DISABLED", "PREFERRED"):
        context = ssl.create_default_context()
        context.check_hostname = mode == "VERIFY_IDENTITY"
        context.verify_mode = ssl.CERT_NONE if mode == "REQUIRED" else ssl.CERT_REQUIRED
    return {
        "host": parts.hostname, "port": port, "user": urllib.parse.unquote(parts.username),
        "password": password.encode(), "database": urllib.parse.unquote(parts.path[1:]), "charset": "utf8mb4",
        "connect_timeout": int(timeout), "ssl": context, "ssl_disabled": mode == "DISABLED",
    }  # fmt: skip


class MysqlSource:
    """A MySQL or MariaDB database in one read-only transaction with a consistent snapshot."""

    SETTINGS = (
        "SET SESSION sql_mode = 'ANSI_QUOTES'",  # identifiers are quoted as in the other databases
        "SET SESSION time_zone = '+00:00'",
        "SET SESSION max_sort_length = 8192",
        "SET SESSION net_write_timeout = 3600",  # the reader waits for the embedding API between two fetches
        "SET SESSION TRANSACTION ISOLATION LEVEL REPEATABLE READ",
        "START TRANSACTION WITH CONSISTENT SNAPSHOT, READ ONLY",
    )

    def __init__(self, url: str) -> None:
        try:
            self.connection = pymysql.connect(**mysql_parameters(url))
            with self.connection.cursor() as cursor:
                for setting in self.SETTINGS:
                    cursor.execute(setting)
        except pymysql.MySQLError as error:
            raise Failure(
                f"cannot connect to the source: {database_message(error)}; check host, port, user and password in its URL"
            ) from None

    def rows(self, sql: str, values: Sequence[Any] = ()) -> Generator[Row, None, None]:
        """Streams the rows of a query; nothing else can be asked before they end."""
        with contextlib.closing(self.connection.cursor(pymysql.cursors.SSCursor)) as cursor:
            self._execute(cursor, sql, values)
            yield from cursor

    def children(self, sql: str, values: Sequence[Any], width: int) -> Iterator[Row]:
        """Gives the key of each root row that has children, and these: of a page at once, as a connection has one stream."""
        groups = itertools.groupby(self.rows(sql, values), key=lambda row: row[:width])
        return iter([(*key, [list(row[width:]) for row in rows]) for key, rows in groups])

    def value(self, sql: str, values: Sequence[Any] = ()) -> Any:
        """Gives the first value of a query."""
        with self.connection.cursor() as cursor:
            self._execute(cursor, sql, values)
            row = cursor.fetchone()
        return row[0] if row else None

    @staticmethod
    def _execute(cursor: pymysql.cursors.Cursor, sql: str, values: Sequence[Any]) -> None:
        """Runs a query with values in their places; no identifier of MySQL has the character that marks them."""
        places = re.sub("\0([0-9]+)\0", r"%(k\1)s", sql.replace("%", "%%"))
        cursor.execute(places, {f"k{number}": value for number, value in enumerate(values)})

    def is_bytewise(self, _table: dict[str, Any], _column: str) -> bool:
        """Says that the column's own order will do: a key is unique in the order of its collation."""
        return True

    def snapshot_at(self) -> str:
        """Gives the server's time, right after the transaction began."""
        return str(self.value("SELECT DATE_FORMAT(UTC_TIMESTAMP(6), '%Y-%m-%dT%H:%i:%s.%fZ')"))


Source = MysqlSource
DATABASE_ERRORS = (psycopg.Error, pymysql.MySQLError)


def as_text(alias: str, column: str, data_type: str) -> str:
    """Lets the database turn a value into text, so that every reader sees the same text."""
    value = f"{alias}.{quoted(column)}"
    if data_type == "bytes":
        return f"LOWER(HEX({value}))"
    # A BIT has no text, ZEROFILL adds some, and a FLOAT's own has six digits.
    number = {"integer": " + 0", "boolean": " + 0", "float": " + 0e0"}.get(data_type, "")
    return f"CAST({value}{number} AS CHAR)"


def field_value(field: dict[str, Any]) -> str:
    """Gives a value as text."""
    return as_text(field["alias"], field["column"], field["data_type"])


def key_values(key: list[dict[str, Any]]) -> list[str]:
    """Gives what a key is read as twice: to be bound again, and as texts.

    Numbers, labels and bytes are bound as what they are ordered by: a text would be compared otherwise.
    """
    texts = [as_text("r", column["name"], column["data_type"]) for column in key]
    own = {"integer": " + 0", "boolean": " + 0", "enum": " + 0", "decimal": "", "bytes": ""}
    return [
        own_order("r", column) + own[column["data_type"]] if column["data_type"] in own else text
        for column, text in zip(key, texts, strict=True)
    ] + texts


def by_bytes(alias: str, column: dict[str, Any]) -> str:
    """Gives the term of a total order: texts by their bytes, everything else by its own order."""
    is_text = column["data_type"] == "text"
    name = own_order(alias, column)
    return f"CAST(CAST({name} AS CHAR) AS BINARY)" if is_text else name


def bound(number: int) -> str:
    """Gives the place of the bound key value with this number, counted from 0."""
    return f"\0{number}\0"


def comparable(data_type: str, text: str) -> Any:
    """Gives a filter's value as it is bound: a number that came as a text would be compared as a float."""
    if data_type == "boolean":
        return int(text == "true")
    return Decimal(text) if data_type in ("integer", "decimal", "float") else text


def compared(terms: list[str], sign: str, bounds: list[str]) -> str:
    """Gives the condition that rows stand before or behind a key, written out so that an index can be used."""
    term, value, strict = terms[0], bounds[0], sign[0]
    if len(terms) == 1:
        return f"{term} {sign} {value}"
    rest = compared(terms[1:], sign, bounds[1:])
    return f"({term} {strict}= {value} AND ({term} {strict} {value} OR ({term} = {value} AND {rest})))"


def children_of(key: list[dict[str, Any]], order: list[str], values: list[str], sequence: str, rows: str) -> str:
    """Gives a row a child: its root row's key, its own values."""
    keys = [as_text("r", column["name"], column["data_type"]) for column in key]
    return f"SELECT {', '.join(keys + values)} {rows} ORDER BY {', '.join(order)}, {sequence}"  # nosec B608: quoted
