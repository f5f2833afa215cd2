"""Measures the generated migration against the embedding endpoint's own ceiling, in one run.

    python3 benches/migration/run.py --relvec target/release/relvec --target postgres://postgres@127.0.0.1:5432/postgres

Makes a SQLite source, starts an endpoint, sends it the very batches that the migration will send (the ceiling: requests
made beforehand, replies read and dropped), runs migrate.py into an empty table and once more, and prints the rates and
their ratio as JSON. The virtual environment is kept under target/.
"""

from __future__ import annotations

import argparse
import base64
import contextlib
import hashlib
import http.client
import http.server
import json
import multiprocessing
import os
import pathlib
import random
import sqlite3
import statistics
import struct
import subprocess
import sys
import tempfile
import threading
import time
import venv
from collections.abc import Iterator
from multiprocessing.connection import Connection

ROOT = pathlib.Path(__file__).resolve().parents[2]
sys.path.insert(0, str(ROOT / "tests" / "python"))

from script import script_of  # noqa: E402 - the line above is how it is found

TABLE = "relvec_bench"
WORDS = """kettle lamp oak table parcel courier refund broken late gift wrap garden invoice missing colour size blue quiet
small large wrong please handle fast lost answer warranty repair spare part delivery return order price label box""".split()


def make_source(path: pathlib.Path, rows: int) -> None:
    """Makes orders with customers and lines from a fixed seed."""
    rng = random.Random(20)

    def words(low: int, high: int) -> str:
        return " ".join(rng.choice(WORDS) for _ in range(rng.randint(low, high)))

    database = sqlite3.connect(path)
    database.executescript(
        "CREATE TABLE customers (id INTEGER PRIMARY KEY, name TEXT);"
        "CREATE TABLE orders (id INTEGER PRIMARY KEY, customer_id INTEGER, note TEXT, total DECIMAL);"
        "CREATE TABLE lines (order_id INTEGER, position INTEGER, product TEXT, PRIMARY KEY (order_id, position));"
    )
    customers = rows // 10 + 1
    database.executemany("INSERT INTO customers VALUES (?, ?)", ((n, words(2, 2)) for n in range(customers)))
    orders = ((n, rng.randrange(customers), words(5, 40), f"{rng.randint(1, 99999) / 100:.2f}") for n in range(rows))
    database.executemany("INSERT INTO orders VALUES (?, ?, ?, ?)", orders)
    lines = ((n, position, words(2, 4)) for n in range(rows) for position in range(n % 4))
    database.executemany("INSERT INTO lines VALUES (?, ?, ?)", lines)
    database.commit()
    database.close()


def plan(base_url: str, batch: int, concurrency: int) -> dict[str, object]:
    """Gives the plan that the analyzer would make, in short."""

    def table(name: str) -> dict[str, object]:
        return {"schema": None, "name": name}

    def source(alias: str, column: str, data_type: str = "text") -> dict[str, str]:
        return {"alias": alias, "column": column, "data_type": data_type}

    def section(label: str, of: dict[str, str]) -> dict[str, object]:
        return {"section": "field", "label": label, "source": of, "score": 1.0, "reasons": []}

    def key(*names: str) -> list[dict[str, str]]:
        return [{"name": name, "data_type": "integer"} for name in names]

    orders = {
        "name": "orders", "root": table("orders"), "key": key("id"), "row_count": 0, "reasons": [],
        "parents": [{"alias": "p1", "left": "r", "table": table("customers"), "on": [{"from": "customer_id", "to": "id"}]}],
        "sections": [
            section("note", source("r", "note")),
            section("customer", source("p1", "name")),
            {"section": "children", "label": "lines", "table": table("lines"), "on": [{"from": "order_id", "to": "id"}],
             "parents": [], "columns": [source("c", "product")], "order_by": key("order_id", "position"), "reasons": []},
        ],
        "metadata": [{"name": "total", "source": source("r", "total", "decimal")}],
    }  # fmt: skip
    return {
        "version": 1, "dialect": "sqlite", "database": "bench", "runtime": "script",
        "target": {"schema": "public", "table": TABLE},
        "embedding": {
            "provider": "relvec", "base_url": base_url, "model": "relvec-hashed", "dimensions": None, "api_key_env": None,
            "batch_items": batch, "batch_tokens": 1_000_000, "concurrency": concurrency, "chunk_tokens": 512,
        },
        "entities": [orders], "left_out": [], "ranking": [],
        "estimate": {"documents": 0, "chunks": 0, "tokens": 0, "requests": 0},
    }  # fmt: skip


def python_with_requirements() -> pathlib.Path:
    """Makes the virtual environment of the generated script, once for each list of requirements."""
    requirements = ROOT / "templates" / "requirements-script.txt"
    folder = ROOT / "target" / f"bench-venv-{hashlib.sha256(requirements.read_bytes()).hexdigest()[:12]}"
    python = folder / "bin" / "python"
    if not (folder / "complete").exists():
        venv.create(folder, with_pip=True, clear=True)
        subprocess.run([python, "-m", "pip", "install", "-q", "--require-hashes", "-r", requirements], check=True)
        (folder / "complete").touch()
    return python


def constant_vectors(port: Connection) -> None:
    """Serves the same vector for every text, so that embedding costs next to nothing."""
    item = base64.b64encode(struct.pack("<384f", *[0.05] * 384)).decode()
    replies: dict[int, bytes] = {}

    class Handler(http.server.BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def log_message(self, *_: object) -> None:
            """Says nothing."""

        def do_POST(self) -> None:  # noqa: N802
            texts = len(json.loads(self.rfile.read(int(self.headers["Content-Length"])))["input"])
            if texts not in replies:
                data = [{"index": index, "embedding": item} for index in range(texts)]
                replies[texts] = json.dumps({"data": data, "usage": {"total_tokens": texts}}).encode()
            reply = replies[texts]
            head = f"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: {len(reply)}\r\n\r\n"
            self.wfile.write(head.encode() + reply)

    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    port.send(server.server_address[1])
    server.serve_forever()


@contextlib.contextmanager
def endpoint(options: argparse.Namespace) -> Iterator[int]:
    """Runs the endpoint that is asked for and gives its port."""
    if options.constant:
        here, there = multiprocessing.Pipe()
        process = multiprocessing.Process(target=constant_vectors, args=(there,), daemon=True)
        process.start()
        yield here.recv()
        process.terminate()
        return
    server = subprocess.Popen([options.relvec, "embed-server", "--port", "0"], stdout=subprocess.PIPE, text=True)
    try:
        assert server.stdout is not None
        line = server.stdout.readline()
        if not line.startswith("listening on "):
            sys.exit(f"{options.relvec} embed-server does not say where it listens")
        yield int(line.strip().removesuffix("/v1").rsplit(":", 1)[1])
    finally:
        server.terminate()
        server.wait()


def ceiling(port: int, bodies: list[bytes], concurrency: int) -> float:
    """Gives the seconds that the endpoint takes for these requests, so many at once."""
    left = iter(bodies)
    lock = threading.Lock()
    failures: list[int] = []

    def work() -> None:
        connection = http.client.HTTPConnection("127.0.0.1", port)
        while True:
            with lock:
                body = next(left, None)
            if body is None:
                return
            connection.request("POST", "/v1/embeddings", body, {"Content-Type": "application/json"})
            response = connection.getresponse()
            response.read()
            if response.status != 200:
                failures.append(response.status)
                return

    started = time.monotonic()
    threads = [threading.Thread(target=work) for _ in range(concurrency)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    if failures:
        sys.exit(f"the endpoint answered HTTP {failures[0]}")
    return time.monotonic() - started


def recorded_bodies(source: pathlib.Path, batch: int) -> list[bytes]:
    """Gives requests of the size that the migration sends: the notes, with customer and lines."""
    query = """SELECT 'note: ' || o.note || char(10) || 'customer: ' || c.name || coalesce(char(10) || 'lines:' ||
        (SELECT group_concat(char(10) || '- ' || l.product, '') FROM lines l WHERE l.order_id = o.id), '')
        FROM orders o JOIN customers c ON c.id = o.customer_id ORDER BY o.id"""
    texts = [row[0] for row in sqlite3.connect(source).execute(query)]
    head = {"model": "relvec-hashed", "encoding_format": "base64"}
    return [json.dumps(head | {"input": texts[n : n + batch]}).encode() for n in range(0, len(texts), batch)]


def migrated(
    python: pathlib.Path, script: pathlib.Path, source: pathlib.Path, target: str
) -> tuple[float, float, dict]:
    """Runs the script; gives the seconds until the index was begun, the seconds in all, and the report."""
    environment = {"SOURCE_URL": f"sqlite:{source}", "TARGET_URL": target, "PATH": "/usr/bin:/bin"}
    started = time.monotonic()
    loaded = None
    process = subprocess.Popen(
        [python, script], env=environment, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    )
    assert process.stderr is not None and process.stdout is not None
    messages = []
    for line in process.stderr:
        event = json.loads(line) if line.startswith("{") else {"event": "log", "message": line.rstrip()}
        if event["event"] == "log":
            messages.append(event["message"])
            if "HNSW" in event["message"]:
                loaded = time.monotonic() - started
    output = process.stdout.read()
    if process.wait() != 0:
        sys.exit(f"migrate.py ended with {process.returncode}: {' / '.join(messages)}")
    seconds = time.monotonic() - started
    return loaded or seconds, seconds, json.loads(output)


def drop_tables(python: pathlib.Path, target: str) -> None:
    """Empties the target, so that everything is migrated."""
    names = ", ".join(f"public.{TABLE}{suffix}" for suffix in ("", "_checkpoint", "_quarantine"))
    code = f"import os, psycopg; psycopg.connect(os.environ['URL'], autocommit=True).execute('DROP TABLE IF EXISTS {names}')"
    subprocess.run([python, "-c", code], env={"URL": target}, check=True)


def measured(options: argparse.Namespace, python: pathlib.Path, folder: pathlib.Path, port: int) -> dict[str, float]:
    """Gives the seconds of one round: the endpoint alone, until loaded, the index, and a run that changes nothing."""
    source, script = folder / "source.db", folder / "migrate.py"
    script.write_text(script_of(plan(f"http://127.0.0.1:{port}/v1", options.batch, options.concurrency)))
    alone = ceiling(port, recorded_bodies(source, options.batch), options.concurrency)
    drop_tables(python, options.target)
    loaded, total, _ = migrated(python, script, source, options.target)
    _, again, report = migrated(python, script, source, options.target)
    drop_tables(python, options.target)
    if report["entities"][0]["embedded"] or report["entities"][0]["documents"] != options.rows:
        sys.exit(f"the second run should have changed nothing: {report}")
    return {"endpoint": alone, "load": loaded, "index": total - loaded, "load_and_index": total, "again": again}


def main() -> None:
    """Measures and prints."""
    parser = argparse.ArgumentParser(description="Rows a second of the generated migration, and of the endpoint alone.")
    parser.add_argument("--relvec", default="target/release/relvec", help="the program that has `embed-server`")
    parser.add_argument("--constant", action="store_true", help="an endpoint of constant vectors instead of relvec's")
    parser.add_argument(
        "--target",
        default=os.environ.get("TARGET_URL"),
        help="postgres://… with pgvector, else TARGET_URL; tables relvec_bench* are dropped",
    )
    parser.add_argument("--rows", type=int, default=20_000)
    parser.add_argument("--batch", type=int, default=256)
    parser.add_argument("--concurrency", type=int, default=4)
    parser.add_argument("--rounds", type=int, default=3)
    options = parser.parse_args()
    if not options.target:
        parser.error("no target: give --target or set TARGET_URL")
    python = python_with_requirements()
    with tempfile.TemporaryDirectory() as folder, endpoint(options) as port:
        make_source(pathlib.Path(folder, "source.db"), options.rows)
        rounds = [measured(options, python, pathlib.Path(folder), port) for _ in range(options.rounds)]
    seconds = {name: statistics.median(found[name] for found in rounds) for name in rounds[0]}
    rates = {name: round(options.rows / value) for name, value in seconds.items() if name != "index"}
    print(json.dumps({
        "command": " ".join(["python3", *sys.argv]).replace(options.target, "postgres://…"),
        "rows": options.rows,
        "rounds": options.rounds,
        "rows_per_second": rates,
        "index_seconds": round(seconds["index"], 2),
        "load_by_endpoint": round(statistics.median(found["endpoint"] / found["load"] for found in rounds), 3),
        "load_and_index_by_endpoint": round(
            statistics.median(found["endpoint"] / found["load_and_index"] for found in rounds), 3
        ),
    }, indent=2, ensure_ascii=False))  # fmt: skip


if __name__ == "__main__":
    main()
