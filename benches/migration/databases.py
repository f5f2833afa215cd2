"""The PostgreSQL server of the measurement: its settings, and a new database for each thing that is measured."""

from __future__ import annotations

import contextlib
import urllib.parse
from collections.abc import Iterator

import psycopg

SETTINGS = (
    "server_version",
    "fsync",
    "synchronous_commit",
    "full_page_writes",
    "wal_level",
    "shared_buffers",
    "max_wal_size",
    "checkpoint_timeout",
    "maintenance_work_mem",
    "max_parallel_maintenance_workers",
)


def url_of(server: str, database: str) -> str:
    """Gives the URL of another database of a server."""
    return urllib.parse.urlunsplit(urllib.parse.urlsplit(server)._replace(path=f"/{database}"))


def connect(url: str) -> psycopg.Connection:
    """Connects; every statement commits by itself."""
    return psycopg.connect(url, autocommit=True)


@contextlib.contextmanager
def new_database(server: str, name: str) -> Iterator[str]:
    """Gives the URL of an empty database, and drops it in the end, whoever is still connected."""
    with connect(server) as connection:
        connection.execute(f"DROP DATABASE IF EXISTS {name} WITH (FORCE)".encode())
        connection.execute(f"CREATE DATABASE {name}".encode())
    try:
        yield url_of(server, name)
    finally:
        with connect(server) as connection:
            connection.execute(f"DROP DATABASE IF EXISTS {name} WITH (FORCE)".encode())


def settle(server: str) -> None:
    """Writes everything that earlier measurements left, so that the next one does not pay for it."""
    with connect(server) as connection:
        connection.execute("CHECKPOINT")


def settings(server: str) -> dict[str, str]:
    """Gives the settings that matter here, as they are for everything that is measured."""
    with connect(server) as connection:
        found = {name: connection.execute(f"SHOW {name}".encode()).fetchone() for name in SETTINGS}
        pgvector = "SELECT default_version FROM pg_available_extensions WHERE name = 'vector'"
        found["pgvector"] = connection.execute(pgvector).fetchone()
    return {name: str(row[0]) for name, row in found.items() if row}


def disconnect_all(url: str) -> None:
    """Ends every other session of a database, and what it was doing."""
    others = "pid <> pg_backend_pid() AND datname = current_database()"
    with connect(url) as connection:
        connection.execute(f"SELECT pg_terminate_backend(pid, 60000) FROM pg_stat_activity WHERE {others}".encode())


def fingerprint(url: str, table: str) -> str:
    """Gives one text that stands for all texts of a table or a view, in any order."""
    with connect(url) as connection:
        hashes = (
            f"SELECT md5(string_agg(hash, '' ORDER BY hash)) FROM (SELECT md5(content) AS hash FROM {table}) hashes"
        )
        row = connection.execute(hashes.encode()).fetchone()
    return str(row[0]) if row else ""


def count(url: str, table: str) -> int:
    """Counts the rows of a table."""
    with connect(url) as connection:
        row = connection.execute(f"SELECT count(*) FROM {table}".encode()).fetchone()
    return int(row[0]) if row else 0
