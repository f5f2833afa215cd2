"""The source: orders with their customers and products, the same ones each time, in PostgreSQL and two others.

An order with its customer and its product is a document of about 400 characters. PostgreSQL always has them, with a
view `documents` that gives each order's text as the generated script makes it: that is what the others read.
"""

from __future__ import annotations

import random
import sqlite3
import urllib.parse
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import psycopg
import pymysql

from databases import connect

WORDS = """kettle lamp oak table parcel courier refund broken late gift wrap garden invoice missing colour size blue
quiet small large wrong please handle fast lost answer warranty repair spare part delivery return order price label
box""".split()
PRODUCTS = 5_000
CUSTOMERS_PER_ORDER = 0.1
TABLES = {
    "customers": "id INTEGER PRIMARY KEY, name VARCHAR(80) NOT NULL, city VARCHAR(40) NOT NULL",
    "products": "id INTEGER PRIMARY KEY, name VARCHAR(80) NOT NULL, brand VARCHAR(40) NOT NULL",
    "orders": "id INTEGER PRIMARY KEY, customer_id INTEGER NOT NULL, product_id INTEGER NOT NULL, note TEXT NOT NULL,"
    " total DECIMAL(10, 2) NOT NULL, FOREIGN KEY (customer_id) REFERENCES customers (id),"
    " FOREIGN KEY (product_id) REFERENCES products (id)",
}
# What a document is made of: a label and a column each. The first table is the root.
SECTIONS = (
    ("note", "orders", "note"),
    ("customer", "customers", "name"),
    ("city", "customers", "city"),
    ("product", "products", "name"),
    ("brand", "products", "brand"),
)
JOIN = "orders JOIN customers ON customers.id = customer_id JOIN products ON products.id = product_id"
Row = tuple[Any, ...]


def rows_of(orders: int) -> Iterator[tuple[str, Iterator[Row]]]:
    """Gives each table's name and its rows."""
    seeded = random.Random(20)

    def words(count: int) -> str:
        return " ".join(seeded.choices(WORDS, k=count))

    phrases = [words(18) for _ in range(4_000)]
    customers = max(1, int(orders * CUSTOMERS_PER_ORDER))
    yield "customers", ((n, words(2), words(1)) for n in range(customers))
    yield "products", ((n, words(2), words(1)) for n in range(PRODUCTS))
    # The number makes each text the only one of its kind.
    yield (
        "orders",
        (
            (
                n,
                seeded.randrange(customers),
                seeded.randrange(PRODUCTS),
                f"{seeded.choice(phrases)} {n} {seeded.choice(phrases)} {seeded.choice(phrases)}",
                f"{seeded.randint(1, 99_999) / 100:.2f}",
            )
            for n in range(orders)
        ),
    )


def make_postgres(url: str, orders: int) -> None:
    """Fills a database, and makes the view of the documents."""
    with connect(url) as connection:
        for table, rows in rows_of(orders):
            connection.execute(f"CREATE TABLE {table} ({TABLES[table]})".encode())
            with connection.cursor().copy(f"COPY {table} FROM STDIN".encode()) as copy:
                for row in rows:
                    copy.write_row(row)
        parts = [f"'{label}: ' || {table}.{column}" for label, table, column in SECTIONS]
        content = " || E'\\n' || ".join(parts)
        view = f"CREATE VIEW documents AS SELECT orders.id, {content} AS content FROM {JOIN}"
        connection.execute(view.encode())
        connection.execute("VACUUM ANALYZE")


def make_sqlite(path: Path, orders: int) -> None:
    """Fills a file."""
    database = sqlite3.connect(path)
    for table, rows in rows_of(orders):
        database.execute(f"CREATE TABLE {table} ({TABLES[table]})")
        places = ", ".join("?" * (TABLES[table].split(" FOREIGN")[0].count("NOT NULL") + 1))
        database.executemany(f"INSERT INTO {table} VALUES ({places})", rows)
    database.commit()
    database.close()


def make_mysql(url: str, orders: int) -> None:
    """Fills a database of MariaDB or MySQL, 1,000 rows a statement."""
    parts = urllib.parse.urlsplit(url)
    connection = pymysql.connect(
        host=parts.hostname or "",
        port=parts.port or 3306,
        user=parts.username,
        password=urllib.parse.unquote(parts.password or ""),
        database=parts.path.strip("/"),
    )
    cursor = connection.cursor()
    for table, rows in rows_of(orders):
        cursor.execute(f"CREATE TABLE {table} ({TABLES[table]})")
        places = ", ".join(["%s"] * (TABLES[table].split(" FOREIGN")[0].count("NOT NULL") + 1))
        cursor.executemany(f"INSERT INTO {table} VALUES ({places})", list(rows))
    connection.commit()
    connection.close()


def write_texts(url: str, path: Path, limit: int) -> None:
    """Writes the documents' texts, one a line, for the client that measures the API's ceiling."""
    query = "COPY (SELECT replace(content, E'\\n', ' ') FROM documents ORDER BY id LIMIT %d) TO STDOUT"
    with (
        connect(url) as connection,
        path.open("wb") as file,
        connection.cursor().copy((query % limit).encode()) as copy,
    ):
        for block in copy:
            file.write(block)


def average_length(url: str) -> float:
    """Gives the average length of a document's text."""
    with psycopg.connect(url) as connection:
        row = connection.execute("SELECT avg(length(content)) FROM documents").fetchone()
        return float(row[0]) if row else 0.0
