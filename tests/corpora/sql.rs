//! A database as SQL, for three dialects.

use std::fmt::Write as _;

use super::schema::{Database, Reference, Table, Type, Value};

/// Rows of an INSERT.
const ROWS_A_STATEMENT: usize = 200;

/// The SQL that is written.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Sql {
    /// SQLite 3.
    Sqlite,
    /// PostgreSQL.
    Postgres,
    /// MySQL and MariaDB.
    Mysql,
}

/// Whether foreign keys are declared.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Keys {
    /// They are.
    Declared,
    /// They are not; tables, primary keys, unique keys and indexes are the same.
    Stripped,
}

/// Gives the script that makes the database.
pub fn script(database: &Database, sql: Sql, keys: Keys) -> String {
    let mut out = String::new();
    if sql == Sql::Mysql {
        out.push_str("SET FOREIGN_KEY_CHECKS = 0;\n");
    }
    for table in &database.tables {
        create(&mut out, table, sql, keys);
    }
    for table in &database.tables {
        insert(&mut out, table, sql);
        if sql != Sql::Mysql {
            index(&mut out, table, sql);
        }
    }
    if keys == Keys::Declared && sql == Sql::Postgres {
        for table in &database.tables {
            constrain(&mut out, table, sql);
        }
    }
    for view in &database.views {
        let query = match sql {
            Sql::Sqlite | Sql::Postgres => view.query.clone(),
            Sql::Mysql => view.query.replace('"', "`"),
        };
        writeln!(out, "CREATE VIEW {} AS {query};", name(&view.name, sql)).expect("a string grows");
    }
    out
}

fn create(out: &mut String, table: &Table, sql: Sql, keys: Keys) {
    let mut parts: Vec<String> = Vec::new();
    for column in &table.columns {
        let null = if column.nullable { "" } else { " NOT NULL" };
        parts.push(format!(
            "{} {}{null}",
            name(&column.name, sql),
            kind(column.kind, sql)
        ));
    }
    if !table.primary_key.is_empty() {
        parts.push(format!("PRIMARY KEY ({})", names(&table.primary_key, sql)));
    }
    for unique in &table.unique {
        parts.push(format!("UNIQUE ({})", names(unique, sql)));
    }
    // MySQL copies the table for each index that is made later.
    if sql == Sql::Mysql {
        let indexes = table.indexes.iter();
        parts.extend(indexes.map(|columns| format!("INDEX ({})", names(columns, sql))));
    }
    // Tables may refer to each other in a circle. SQLite cannot add a key later, and does not mind one that has no table yet.
    if sql != Sql::Postgres && keys == Keys::Declared {
        parts.extend(
            table
                .references
                .iter()
                .map(|reference| foreign(reference, sql)),
        );
    }
    let end = if sql == Sql::Mysql {
        " DEFAULT CHARSET = utf8mb4"
    } else {
        ""
    };
    writeln!(
        out,
        "CREATE TABLE {} (\n  {}\n){end};",
        name(&table.name, sql),
        parts.join(",\n  ")
    )
    .expect("a string grows");
}

fn insert(out: &mut String, table: &Table, sql: Sql) {
    for rows in table.rows.chunks(ROWS_A_STATEMENT) {
        let rows: Vec<String> = rows
            .iter()
            .map(|row| {
                let values: Vec<String> = row.iter().map(|value| literal(value, sql)).collect();
                format!("({})", values.join(", "))
            })
            .collect();
        writeln!(
            out,
            "INSERT INTO {} VALUES\n{};",
            name(&table.name, sql),
            rows.join(",\n")
        )
        .expect("a string grows");
    }
}

fn index(out: &mut String, table: &Table, sql: Sql) {
    for columns in &table.indexes {
        let title = name(&format!("ix_{}_{}", table.name, columns.join("_")), sql);
        writeln!(
            out,
            "CREATE INDEX {title} ON {} ({});",
            name(&table.name, sql),
            names(columns, sql)
        )
        .expect("a string grows");
    }
}

fn constrain(out: &mut String, table: &Table, sql: Sql) {
    for reference in &table.references {
        writeln!(
            out,
            "ALTER TABLE {} ADD {};",
            name(&table.name, sql),
            foreign(reference, sql)
        )
        .expect("a string grows");
    }
}

fn foreign(reference: &Reference, sql: Sql) -> String {
    format!(
        "FOREIGN KEY ({}) REFERENCES {} ({})",
        names(&reference.columns, sql),
        name(&reference.to, sql),
        names(&reference.to_columns, sql)
    )
}

fn name(name: &str, sql: Sql) -> String {
    match sql {
        Sql::Sqlite | Sql::Postgres => format!("\"{}\"", name.replace('"', "\"\"")),
        Sql::Mysql => format!("`{}`", name.replace('`', "``")),
    }
}

fn names(columns: &[String], sql: Sql) -> String {
    let quoted: Vec<String> = columns.iter().map(|column| name(column, sql)).collect();
    quoted.join(", ")
}

fn kind(kind: Type, sql: Sql) -> String {
    let text = match (kind, sql) {
        (Type::Int, _) => "INTEGER",
        (Type::BigInt, _) => "BIGINT",
        (Type::Text, Sql::Mysql) => "LONGTEXT",
        (Type::Text, Sql::Sqlite | Sql::Postgres) => "TEXT",
        (Type::Double, _) => "DOUBLE PRECISION",
        (Type::Bool, _) => "BOOLEAN",
        (Type::Date, _) => "DATE",
        (Type::Timestamp, Sql::Postgres) => "TIMESTAMP",
        (Type::Timestamp, Sql::Sqlite | Sql::Mysql) => "DATETIME",
        (Type::Json, Sql::Postgres) => "JSONB",
        (Type::Json, Sql::Sqlite | Sql::Mysql) => "JSON",
        (Type::Uuid, Sql::Postgres) => "UUID",
        (Type::Uuid, Sql::Sqlite | Sql::Mysql) => "CHAR(36)",
        (Type::Blob, Sql::Postgres) => "BYTEA",
        (Type::Blob, Sql::Sqlite) => "BLOB",
        (Type::Blob, Sql::Mysql) => "LONGBLOB",
        (Type::Varchar(size), _) => return format!("VARCHAR({size})"),
        (Type::Char(size), _) => return format!("CHAR({size})"),
        (Type::Decimal(digits, scale), _) => return format!("DECIMAL({digits},{scale})"),
    };
    text.to_owned()
}

fn literal(value: &Value, sql: Sql) -> String {
    match value {
        Value::Null => "NULL".to_owned(),
        Value::Int(number) => number.to_string(),
        Value::Number(number) => number.clone(),
        Value::Bool(truth) => match sql {
            Sql::Sqlite => i64::from(*truth).to_string(),
            Sql::Postgres | Sql::Mysql => truth.to_string().to_uppercase(),
        },
        Value::Text(text) => {
            let text = text.replace('\'', "''");
            match sql {
                Sql::Sqlite | Sql::Postgres => format!("'{text}'"),
                Sql::Mysql => format!("'{}'", text.replace('\\', "\\\\")),
            }
        }
        Value::Bytes(bytes) => {
            let mut hex = String::new();
            for byte in bytes {
                write!(hex, "{byte:02x}").expect("a string grows");
            }
            match sql {
                Sql::Postgres => format!("'\\x{hex}'"),
                Sql::Sqlite | Sql::Mysql => format!("X'{hex}'"),
            }
        }
    }
}
