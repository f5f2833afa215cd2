

# ---- Connections ----------------------------------------------------------------------------------------------------

URL_OPTIONS = {
    "application_name", "channel_binding", "connect_timeout", "dbname", "gssencmode", "host", "password", "port",
    "sslcert", "sslkey", "sslmode", "sslrootcert", "target_session_attrs", "user",
}  # fmt: skip


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
    return {"connect_timeout": "10", "application_name": "relvec-migrate", "client_encoding": "UTF8"} | given


def connect(url: str, what: str, autocommit: bool) -> psycopg.Connection[Any]:
    """Opens a PostgreSQL connection, or says why that failed without repeating the URL."""
    conninfo = psycopg.conninfo.make_conninfo(**postgres_parameters(url, what))
    try:
        return psycopg.connect(conninfo, autocommit=autocommit)
    except psycopg.Error as error:
        raise Failure(
            f"cannot connect to the {what}: {database_message(error)}; check host, port, user and password in its URL"
        ) from None


def quoted(name: str) -> str:
    """Quotes an identifier; the same in every database here, as MySQL is told to take it."""
    return '"' + name.replace('"', '""') + '"'


def table_name(table: dict[str, Any]) -> str:
    """Gives a table's quoted name with its schema, if it has one."""
    schema = table["schema"]
    return f"{quoted(schema)}.{quoted(table['name'])}" if schema else quoted(table["name"])
