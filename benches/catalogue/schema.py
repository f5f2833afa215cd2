"""Makes a schema of N tables in PostgreSQL, MariaDB or SQLite: 12 columns, keys, indexes and comments each, and no rows."""

from collections.abc import Iterator

# A name, its type in every dialect, and what follows the type.
COLUMNS = [
    ("title", "varchar(200)", "NOT NULL"),
    ("body", "text", ""),
    ("status", "varchar(20)", "NOT NULL DEFAULT 'new'"),
    ("amount", "decimal(12, 2)", "NOT NULL DEFAULT 0"),
    ("quantity", "integer", ""),
    ("weight", "double precision", ""),
    ("born", "date", ""),
    ("created_at", "timestamp", "NOT NULL DEFAULT CURRENT_TIMESTAMP"),
    ("code", "varchar(40)", ""),
]


def statements(dialect: str, tables: int) -> Iterator[str]:
    """Gives the statements one by one. A table refers to one before it and to itself."""
    for number in range(tables):
        name = f"table_{number:05d}"
        parent = f"table_{number // 2:05d}"
        comment = f"the {number}th table of the schema, with a comment of a usual length"
        yield from table(dialect, name, parent, comment)


def table(dialect: str, name: str, parent: str, comment: str) -> Iterator[str]:
    mariadb = dialect == "mariadb"
    lines = ["id integer NOT NULL", "parent_id integer", "self_id integer"]
    for column, kind, rest in COLUMNS:
        note = f" COMMENT 'what {column} means here'" if mariadb else ""
        lines.append(f"{column} {kind} {rest}{note}")
    lines += [
        "PRIMARY KEY (id)",
        f"CONSTRAINT {name}_code UNIQUE (code, status)",
        f"CONSTRAINT {name}_parent FOREIGN KEY (parent_id) REFERENCES {parent} (id) ON DELETE CASCADE",
        f"CONSTRAINT {name}_self FOREIGN KEY (self_id) REFERENCES {name} (id)",
    ]
    # In MariaDB an index made afterwards is a rebuilt table.
    if mariadb:
        lines.append(f"INDEX {name}_created (created_at, title)")
    options = f" ENGINE = InnoDB COMMENT = '{comment}'" if mariadb else ""
    yield f"CREATE TABLE {name} ({', '.join(lines)}){options}"
    if not mariadb:
        yield f"CREATE INDEX {name}_created ON {name} (created_at, title)"
    if dialect == "postgres":
        yield f"COMMENT ON TABLE {name} IS '{comment}'"
        for column, _, _ in COLUMNS:
            yield f"COMMENT ON COLUMN {name}.{column} IS 'what {column} means here'"
