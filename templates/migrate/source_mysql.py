
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


class Source:
    """A MySQL or MariaDB database in one read-only transaction with a consistent snapshot."""

    SETTINGS = (
        "SET SESSION sql_mode = 'ANSI_QUOTES'",  # identifiers are quoted as in the other databases
        "SET SESSION time_zone = '+00:00'",
        "SET SESSION max_sort_length = 8192",
        # The one is MySQL's, the other MariaDB's; each passes over what is written for the other.
        "SET SESSION /*!50708 max_execution_time = 0 */ /*M! max_statement_time = 0 */",
        "SET SESSION net_write_timeout = 3600",  # the reader waits for the embedding API between two fetches
        "SET SESSION TRANSACTION ISOLATION LEVEL REPEATABLE READ",
        "START TRANSACTION WITH CONSISTENT SNAPSHOT, READ ONLY",
    )
    def __init__(self, url: str, _snapshot: str | None = None) -> None:
        try:
            with answering("source", 60):
                self.connection = pymysql.connect(**mysql_parameters(url), read_timeout=SILENCE_SECONDS)
                with self.connection.cursor() as cursor:
                    for setting in self.SETTINGS:
                        cursor.execute(setting)
        except pymysql.MySQLError as error:
            raise Failure(
                f"cannot connect to the source: {database_message(error)}; check host, port, user and password in its URL",
                "source_unreachable",
            ) from None

    def rows(self, sql: str, values: Values) -> Iterator[Row]:
        """Streams the rows of a query; nothing else can be asked before they end."""
        with contextlib.closing(self.connection.cursor(pymysql.cursors.SSCursor)) as cursor:
            cursor.execute(sql, values)
            yield from cursor

    def roots(self, sql: str, values: Values, width: int) -> Generator[tuple[Row, Row], None, None]:
        """Streams root rows: the key to bind again, as what it is ordered by, and the key's texts with the values."""
        return ((row[:width], row[width:]) for row in self.rows(sql, values))

    def children(self, sql: str, values: Values, width: int) -> Iterator[Row]:
        """Gives the key of each root row that has children, and these: of a page at once, as a connection has one stream."""
        groups = itertools.groupby(self.rows(sql, values), key=lambda row: row[:width])
        return iter([(*key, [list(row[width:]) for row in rows]) for key, rows in groups])

    def first(self, sql: str, values: Values | None = None) -> Row:
        """Gives the first row of a query."""
        with self.connection.cursor() as cursor:
            cursor.execute(sql, values)
            return cursor.fetchone() or ()

    def snapshot_at(self) -> str:
        """Gives the server's time, right after the transaction began."""
        return str(self.first("SELECT DATE_FORMAT(UTC_TIMESTAMP(6), '%Y-%m-%dT%H:%i:%s.%fZ')")[0])

    def export_snapshot(self) -> str | None:
        """Gives nothing: MySQL cannot share a snapshot, so each shard reads at its own instant."""
        return None


DATABASE_ERRORS = (psycopg.Error, pymysql.MySQLError)
