

# ---- Connections ----------------------------------------------------------------------------------------------------

URL_OPTIONS = set(
    "application_name channel_binding connect_timeout dbname gssencmode host password port sslcert sslkey sslmode"
    " sslrootcert target_session_attrs user".split()
)
# A connection whose other end is gone without a word is given up after a minute.
CONNECTION = {
    "connect_timeout": "10", "application_name": "relvec-migrate", "client_encoding": "UTF8", "keepalives_idle": "30",
    "keepalives_interval": "10", "keepalives_count": "3", "tcp_user_timeout": "60000",
}  # fmt: skip


class Lost(Exception):
    """A connection broke: everything is read again from a new snapshot, and what was written stays."""


def raise_if_lost(error: Exception) -> None:
    """Raises `Lost` where an error of a database means that the connection is gone, or that trying again may help."""
    if isinstance(error, (psycopg.OperationalError, psycopg.InterfaceError)):
        lost = (error.sqlstate or "08")[:2] in ("08", "40") or (error.sqlstate or "")[:3] == "57P"
    else:
        lost = error.args[:1] in ((0,), (1053,), (1927,), (2006,), (2013,))  # MySQL's
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


def connect(url: str, what: str, *, autocommit: bool) -> psycopg.Connection[Any]:
    """Opens a PostgreSQL connection, or says why that failed without repeating the URL."""
    conninfo = psycopg.conninfo.make_conninfo(**postgres_parameters(url, what))
    try:
        return psycopg.connect(conninfo, autocommit=autocommit)
    except psycopg.Error as error:
        text = f"cannot connect to the {what}: {database_message(error)}; check host, port, user and password in its URL"
        raise Failure(text, f"{what}_unreachable") from None


def quoted(name: str) -> str:
    """Quotes an identifier of the target."""
    return '"' + name.replace('"', '""') + '"'
