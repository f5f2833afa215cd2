"""Reads the same catalogues with relvec and with SQLAlchemy's inspector, in one run, and prints the ratios.

Started by benches/catalogue/run, which starts the servers. Each measurement is a process of its own, so that no cache of the
client helps a later one; a first run of relvec, which does not count, warms the server's caches for all. Medians are compared.
"""

from __future__ import annotations

import argparse
import json
import pathlib
import sqlite3
import statistics
import subprocess
import sys
import tempfile
import time
import urllib.parse
from collections.abc import Callable, Iterable

import schema

# At so many tables: times as fast as the loop over tables, and as the calls for all tables at once.
BAR_AT = 5000
BARS = {"postgres": (15.0, 2.0), "mariadb": (3.0, None), "sqlite": (20.0, None)}
MIB = 200


def read_with_sqlalchemy(url: str, way: str) -> dict:
    """Reads what relvec reads: columns, keys, foreign keys, unique constraints, indexes and comments of every table."""
    import resource

    import sqlalchemy

    before = time.perf_counter()
    engine = sqlalchemy.create_engine(url)
    inspector = sqlalchemy.inspect(engine)
    kinds = ["columns", "pk_constraint", "foreign_keys", "unique_constraints", "indexes"]
    if engine.dialect.supports_comments:
        kinds.append("table_comment")
    columns = keys = 0
    if way == "loop":
        names = inspector.get_table_names()
        for name in names:
            for kind in kinds:
                found = getattr(inspector, f"get_{kind}")(name)
                columns += len(found) if kind == "columns" else 0
                keys += len(found) if kind == "foreign_keys" else 0
        tables = len(names)
    else:
        for kind in kinds:
            found = getattr(inspector, f"get_multi_{kind}")()
            if kind == "columns":
                tables, columns = len(found), sum(len(of_table) for of_table in found.values())
            if kind == "foreign_keys":
                keys = sum(len(of_table) for of_table in found.values())
    seconds = time.perf_counter() - before
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss // 1024
    return {"seconds": seconds, "tables": tables, "columns": columns, "foreign_keys": keys, "peak_mib": peak}


def measured(command: list[str], runs: int) -> dict:
    """Runs a command as often as asked; gives its figures with the median time."""
    results = []
    for _ in range(runs):
        done = subprocess.run(command, check=True, capture_output=True, text=True)
        results.append(json.loads(done.stdout))
    middle = statistics.median(result["seconds"] for result in results)
    return {**results[-1], "seconds": middle, "peak_mib": max(result["peak_mib"] for result in results)}


def make_postgres(url: str, name: str, statements: Iterable[str]) -> None:
    import psycopg

    with psycopg.connect(url, autocommit=True) as server:
        server.execute(f"CREATE DATABASE {name}")
    with psycopg.connect(f"{url.rpartition('/')[0]}/{name}", autocommit=True) as database:
        batch: list[str] = []
        for statement in statements:
            batch.append(statement)
            if len(batch) == 500:
                database.execute(";".join(batch))
                batch = []
        if batch:
            database.execute(";".join(batch))
        database.execute("ANALYZE")


def make_mariadb(url: str, name: str, statements: Iterable[str]) -> None:
    import pymysql

    parts = urllib.parse.urlsplit(url)
    login = {"host": parts.hostname, "port": parts.port, "user": parts.username, "password": parts.password}
    server = pymysql.connect(**login)
    with server.cursor() as cursor:
        cursor.execute(f"CREATE DATABASE {name}")
        cursor.execute(f"USE {name}")
        for statement in statements:
            cursor.execute(statement)
    server.close()


def make_sqlite(path: str, statements: Iterable[str]) -> None:
    database = sqlite3.connect(path)
    database.execute("BEGIN")
    for statement in statements:
        database.execute(statement)
    database.commit()
    database.close()


def places(options: argparse.Namespace, folder: str) -> dict[str, tuple[Callable[[int], str], Callable[[str], str]]]:
    """For each dialect: what makes a schema of a size and gives its URL, and that URL in SQLAlchemy's words."""

    def server(url: str, make: Callable[[str, str, Iterable[str]], None], dialect: str) -> Callable[[int], str]:
        def made(tables: int) -> str:
            name = f"bench_{tables}"
            make(url, name, schema.statements(dialect, tables))
            return f"{url.rpartition('/')[0]}/{name}"

        return made

    def file(tables: int) -> str:
        path = f"{folder}/bench_{tables}.db"
        make_sqlite(path, schema.statements("sqlite", tables))
        return f"sqlite:{path}"

    return {
        "postgres": (
            server(options.postgres, make_postgres, "postgres"),
            lambda url: url.replace("postgres://", "postgresql+psycopg://"),
        ),
        "mariadb": (
            server(options.mariadb, make_mariadb, "mariadb"),
            lambda url: url.replace("mysql://", "mariadb+pymysql://"),
        ),
        "sqlite": (file, lambda url: url.replace("sqlite:", "sqlite:///")),
    }


def compare(options: argparse.Namespace) -> bool:
    kept = True
    print(f"{'':10}{'tables':>7}{'relvec':>10}{'loop':>10}{'bulk':>10}{'by loop':>9}{'by bulk':>9}{'MiB':>6}{'ms/table':>10}")
    with tempfile.TemporaryDirectory() as folder:
        for dialect, (make, theirs) in places(options, folder).items():
            if dialect not in options.only:
                continue
            for tables in options.sizes:
                url = make(tables)
                measured([options.relvec, url], 1)
                ours = measured([options.relvec, url], options.runs)
                python = [sys.executable, __file__, "--read", theirs(url), "--way"]
                bulk = measured([*python, "bulk"], options.their_runs)
                loop = measured([*python, "loop"], options.their_runs)
                for other in (bulk, loop):
                    for what in ("tables", "columns", "foreign_keys"):
                        assert ours[what] == other[what], f"{dialect}: {what} {ours[what]} and {other[what]}"
                by_loop, by_bulk = loop["seconds"] / ours["seconds"], bulk["seconds"] / ours["seconds"]
                print(
                    f"{dialect:10}{tables:7}{ours['seconds']:10.3f}{loop['seconds']:10.3f}{bulk['seconds']:10.3f}"
                    f"{by_loop:9.1f}{by_bulk:9.1f}{ours['peak_mib']:6}{1000 * ours['seconds'] / tables:10.3f}",
                    flush=True,
                )
                if tables == BAR_AT:
                    wanted_loop, wanted_bulk = BARS[dialect]
                    kept &= by_loop >= wanted_loop and by_bulk >= (wanted_bulk or 0) and ours["peak_mib"] < MIB
    if BAR_AT in options.sizes:
        print(f"the bars at {BAR_AT} tables are {'kept' if kept else 'missed'}: {BARS}, under {MIB} MiB")
    return kept


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--relvec", help="the program of benches/catalogue/main.rs")
    parser.add_argument("--postgres", help="an administrator's URL")
    parser.add_argument("--mariadb", help="an administrator's URL")
    parser.add_argument("--only", nargs="+", default=list(BARS), choices=list(BARS))
    parser.add_argument("--sizes", nargs="+", type=int, default=[100, 1000, 5000])
    parser.add_argument("--runs", type=int, default=5)
    parser.add_argument("--their-runs", type=int, default=1)
    parser.add_argument("--read", help=argparse.SUPPRESS)
    parser.add_argument("--way", choices=["loop", "bulk"], help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.read:
        print(json.dumps(read_with_sqlalchemy(options.read, options.way)))
        return 0
    return 0 if compare(options) else 1


if __name__ == "__main__":
    assert pathlib.Path(schema.__file__).parent == pathlib.Path(__file__).parent
    sys.exit(main())
