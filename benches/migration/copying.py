"""What the target can do at best: a COPY of vectors that are ready, and the fastest index build."""

from __future__ import annotations

import time
from dataclasses import dataclass
from pathlib import Path

from databases import connect, new_database, settle

BLOCK = 256 * 1024
WORKERS = (0, 1, 2)


@dataclass(frozen=True)
class Table:
    """The rows that the script wrote, and how their table was made."""

    columns: str
    file: Path
    rows: int


def keep(url: str, table: str, file: Path) -> Table:
    """Keeps the rows of a table as binary COPY gives them."""
    with connect(url) as connection:
        columns = connection.execute(
            "SELECT string_agg(format('%%I %%s %%s', attname, format_type(atttypid, atttypmod),"
            " CASE WHEN attnotnull THEN 'NOT NULL' ELSE '' END), ', ' ORDER BY attnum) FROM pg_attribute"
            " WHERE attrelid = %s::regclass AND attnum > 0 AND NOT attisdropped",
            [table],
        ).fetchone()
        with (
            file.open("wb") as kept,
            connection.cursor().copy(f"COPY {table} TO STDOUT (FORMAT binary)".encode()) as copy,
        ):
            for block in copy:
                kept.write(block)
        count = connection.execute(f"SELECT count(*) FROM {table}".encode()).fetchone()
    assert columns and count
    return Table(f"{columns[0]}, PRIMARY KEY (id)", file, count[0])


def copied(server: str, table: Table, workers: tuple[int, ...] = ()) -> tuple[float, dict[int, float]]:
    """Gives the rows a second of a COPY, and the seconds of an index build with each of these numbers of workers."""
    with new_database(server, "bench_copy") as url, connect(url) as connection:
        connection.execute("CREATE EXTENSION vector")
        connection.execute(f"CREATE TABLE copied ({table.columns})".encode())
        settle(server)
        begun = time.monotonic()
        with table.file.open("rb") as kept, connection.cursor().copy("COPY copied FROM STDIN (FORMAT binary)") as copy:
            while block := kept.read(BLOCK):
                copy.write(block)
        rate = table.rows / (time.monotonic() - begun)
        builds: dict[int, float] = {}
        connection.execute("SET maintenance_work_mem = '4GB'")
        for count in workers:
            settle(server)
            connection.execute(f"SET max_parallel_maintenance_workers = {count}".encode())
            begun = time.monotonic()
            connection.execute("CREATE INDEX built ON copied USING hnsw (embedding vector_cosine_ops)")
            builds[count] = time.monotonic() - begun
            connection.execute("DROP INDEX built")
    return rate, builds
