

# ---- Connections ----------------------------------------------------------------------------------------------------

URL_OPTIONS = set(
    "application_name channel_binding connect_timeout dbname gssencmode host hostaddr password port sslcert sslkey sslmode"
    " sslrootcert target_session_attrs user".split()
)
# A connection whose other end is gone without a word is given up after a minute.
CONNECTION = {
    "connect_timeout": "10", "application_name": "relvec-migrate", "client_encoding": "UTF8", "keepalives_idle": "30",
    "keepalives_interval": "10", "keepalives_count": "3", "tcp_user_timeout": "60000",
}  # fmt: skip


class Lost(Exception):
    """A connection broke: everything is read again from a new snapshot, and what was written stays."""


WAITING: dict[int, tuple[str, float]] = {}  # a database that a thread waits for, and until when


@contextlib.contextmanager
def answering(what: str, seconds: float) -> Iterator[None]:
    """Notes that this thread waits for a database, so that `watch` can give up."""
    thread = threading.get_ident()
    WAITING[thread] = what, time.monotonic() + seconds
    try:
        yield
    finally:
        del WAITING[thread]


def watch(stop: threading.Event) -> None:
    """Ends the program where a database is silent, or where it is to stop and does not: what is written stays."""
    left = STOP_SECONDS
    while left > 0:
        time.sleep(1)
        left -= stop.is_set()
        if late := [what for what, until in list(WAITING.values()) if until < time.monotonic()]:
            text = f"the {late[0]} does not answer any more; see that it works, then run the same command again to go on"
            log("error", text, code=f"{late[0]}_unreachable")
            os._exit(1)
    log("warn", "stopped at once, as something does not answer; run the same command again to go on")
    os._exit(1)


class Connection(psycopg.Connection[Any]):
    """A connection to PostgreSQL that does not wait for ever: psycopg waits for every answer here."""

    what, patience = "database", SILENCE_SECONDS

    def wait(self, *arguments: Any, **options: Any) -> Any:
        """Waits for an answer of the server."""
        with answering(self.what, self.patience):
            return super().wait(*arguments, **options)


def raise_if_lost(error: Exception) -> None:
    """Raises `Lost` where an error of a database means that the connection is gone, or that trying again may help."""
    if isinstance(error, (psycopg.OperationalError, psycopg.InterfaceError)):
        lost = (error.sqlstate or "08")[:2] in ("08", "40") or (error.sqlstate or "")[:3] == "57P"
    else:
        lost = error.args[:1] in ((0,), (1053,), (1927,), (2006,), (2013,), (3169,), (4031,))  # MySQL's
    if lost:
        raise Lost(database_message(error)) from None


def postgres_parameters(url: str, what: str) -> dict[str, Any]:
    """Takes a PostgreSQL URL apart; libpq's own errors would repeat the URL with its password."""
    if not url.startswith(("postgres://", "postgresql://")):
        raise Failure(f"the {what} URL does not begin with postgres://")
    try:
        given = psycopg.conninfo.conninfo_to_dict(url)
    except psycopg.Error:
        raise Failure(f"the {what} URL cannot be read; write postgres://user:password@host:5432/database") from None
    if others := sorted(given.keys() - URL_OPTIONS):
        raise Failure(f"the {what} URL has the option `{others[0]}`; it may have {', '.join(sorted(URL_OPTIONS))}")
    keep_secret(str(given.get("password") or ""))
    return CONNECTION | given


def connect(url: str, what: str, *, autocommit: bool) -> Connection:
    """Opens a PostgreSQL connection, or says why that failed without repeating the URL."""
    conninfo = psycopg.conninfo.make_conninfo(**postgres_parameters(url, what))
    try:
        connection = Connection.connect(conninfo, autocommit=autocommit)
    except psycopg.Error as error:
        text = f"cannot connect to the {what}: {database_message(error)}; check host, port, user and password in its URL"
        raise Failure(text, f"{what}_unreachable") from None
    connection.what = what
    return connection


def quoted(name: str) -> str:
    """Quotes an identifier of the target."""
    return '"' + name.replace('"', '""') + '"'
