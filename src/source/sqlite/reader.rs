//! The catalogue by pragma functions, and samples by probes over the row ids.

use std::collections::BTreeMap;
use std::path::Path;

use serde_json::Value;
use sqlx::sqlite::{SqliteConnection, SqliteRow};
use sqlx::{AssertSqlSafe, Row as _};

use super::{bytes, failed};
use crate::error::Result;
use crate::model::metadata::{
    ColumnMetadata, DataType, Deferrability, Dialect, ForeignKey, ReferentialAction, TableKind,
    TableMetadata, TableRef,
};
use crate::source::documents::quoted;
use crate::source::{Selection, sample};

/// A column that refers, and the one referred to where the key names it.
type KeyPair = (String, Option<String>);

/// Reads the catalogue and the samples over one connection.
pub(super) struct Reader<'a> {
    pub(super) connection: SqliteConnection,
    pub(super) path: &'a Path,
    pub(super) notes: Vec<String>,
}

impl Reader<'_> {
    async fn rows(&mut self, sql: impl Into<String>) -> Result<Vec<SqliteRow>> {
        sqlx::query(AssertSqlSafe(sql.into()))
            .fetch_all(&mut self.connection)
            .await
            .map_err(|error| failed(self.path, error))
    }

    pub(super) async fn scalar(&mut self, sql: &'static str) -> Result<String> {
        sqlx::query_scalar(sql)
            .fetch_one(&mut self.connection)
            .await
            .map_err(|error| failed(self.path, error))
    }

    fn text(&self, row: &SqliteRow, name: &str) -> Result<String> {
        Ok(self.optional(row, name)?.unwrap_or_default())
    }

    fn optional(&self, row: &SqliteRow, name: &str) -> Result<Option<String>> {
        row.try_get_unchecked::<Option<Vec<u8>>, _>(name)
            .map(|bytes| bytes.map(|bytes| String::from_utf8_lossy(&bytes).into_owned()))
            .map_err(|error| failed(self.path, error))
    }

    fn number(&self, row: &SqliteRow, name: &str) -> Result<i64> {
        row.try_get_unchecked::<i64, _>(name)
            .map_err(|error| failed(self.path, error))
    }

    pub(super) async fn catalogue(&mut self, selection: &Selection) -> Result<Vec<TableMetadata>> {
        let mut tables = Vec::new();
        for row in self.rows(include_str!("tables.sql")).await? {
            let name = self.text(&row, "name")?;
            match self.text(&row, "type")?.as_str() {
                "virtual" => self.notes.push(format!(
                    "the virtual table `{name}` is passed over: its rows belong to an extension"
                )),
                kind => tables.push((name, kind == "view")),
            }
        }
        let names: Vec<TableRef> = tables.iter().map(|(name, _)| reference(name)).collect();
        let chosen = selection.choose(&names)?;
        let mut columns: BTreeMap<String, Vec<SqliteRow>> = BTreeMap::new();
        for row in self.rows(include_str!("columns.sql")).await? {
            let name = self.text(&row, "table_name")?;
            columns.entry(name).or_default().push(row);
        }
        let mut result = Vec::new();
        for (name, view) in tables {
            if !chosen.contains(&reference(&name)) {
                continue;
            }
            let rows = if view {
                match self.view_columns(&name).await {
                    Ok(rows) => rows,
                    Err(error) => {
                        self.notes
                            .push(format!("the view `{name}` cannot be read: {error}"));
                        continue;
                    }
                }
            } else {
                columns.remove(&name).unwrap_or_default()
            };
            result.push(self.table(&name, view, &rows)?);
        }
        self.add_unique_keys(&mut result).await?;
        self.add_foreign_keys(&mut result).await?;
        Ok(result)
    }

    async fn view_columns(&mut self, name: &str) -> Result<Vec<SqliteRow>> {
        sqlx::query(include_str!("view_columns.sql"))
            .bind(name)
            .fetch_all(&mut self.connection)
            .await
            .map_err(|error| failed(self.path, error))
    }

    fn table(&self, name: &str, view: bool, rows: &[SqliteRow]) -> Result<TableMetadata> {
        let mut columns = Vec::with_capacity(rows.len());
        let mut key = Vec::new();
        for row in rows {
            let name = self.text(row, "name")?;
            let declared_type = self.text(row, "type")?;
            let place = self.number(row, "pk")?;
            // A key column without NOT NULL accepts NULL in SQLite, unless it is the row id.
            let row_id = place > 0 && declared_type.eq_ignore_ascii_case("integer");
            if place > 0 {
                key.push((place, name.clone()));
            }
            columns.push(ColumnMetadata {
                domain_base: None,
                data_type: data_type(&declared_type),
                declared_type,
                nullable: self.number(row, "notnull")? == 0 && !row_id,
                default: self.optional(row, "dflt_value")?,
                generated: self.number(row, "hidden")? > 1,
                identity: None,
                collation: None,
                comment: None,
                labels: Vec::new(),
                name,
            });
        }
        key.sort();
        Ok(TableMetadata {
            table: reference(name),
            kind: if view {
                TableKind::View
            } else {
                TableKind::Table
            },
            comment: None,
            columns,
            primary_key: key.into_iter().map(|(_, name)| name).collect(),
            foreign_keys: Vec::new(),
            unique_keys: Vec::new(),
            indexes: Vec::new(),
            row_count: 0,
            row_count_exact: false,
            size_bytes: None,
            sample_rows: Vec::new(),
        })
    }

    async fn add_unique_keys(&mut self, tables: &mut [TableMetadata]) -> Result<()> {
        let mut keys: BTreeMap<(String, String), Option<Vec<String>>> = BTreeMap::new();
        for row in self.rows(include_str!("unique_keys.sql")).await? {
            let index = (
                self.text(&row, "table_name")?,
                self.text(&row, "index_name")?,
            );
            let key = keys.entry(index).or_insert_with(|| Some(Vec::new()));
            match (key.as_mut(), self.optional(&row, "column_name")?) {
                (Some(columns), Some(column)) => columns.push(column),
                _ => *key = None,
            }
        }
        for ((name, _), columns) in keys {
            let table = tables.iter_mut().find(|table| table.table.name == name);
            if let (Some(table), Some(columns)) = (table, columns)
                && columns != table.primary_key
                && !table.unique_keys.contains(&columns)
            {
                table.unique_keys.push(columns);
            }
        }
        Ok(())
    }

    async fn add_foreign_keys(&mut self, tables: &mut [TableMetadata]) -> Result<()> {
        let mut keys: BTreeMap<(String, i64), (String, Vec<KeyPair>)> = BTreeMap::new();
        for row in self.rows(include_str!("foreign_keys.sql")).await? {
            let id = (self.text(&row, "table_name")?, self.number(&row, "id")?);
            let parent = self.text(&row, "parent")?;
            let pair = (
                self.text(&row, "from_column")?,
                self.optional(&row, "to_column")?,
            );
            keys.entry(id)
                .or_insert_with(|| (parent, Vec::new()))
                .1
                .push(pair);
        }
        for ((name, _), (parent, pairs)) in keys {
            let Some(at) = tables.iter().position(|table| table.table.name == name) else {
                continue;
            };
            match resolve(tables, &parent, &pairs) {
                Some(key) => tables[at].foreign_keys.push(key),
                None => self.notes.push(format!(
                    "a foreign key of `{name}` refers to `{parent}`, which is not among the tables read or lacks the columns"
                )),
            }
        }
        Ok(())
    }

    /// Adds the row count and the sample, and drops a primary key that has NULL in it.
    pub(super) async fn fill(&mut self, table: &mut TableMetadata, sample_rows: u32) -> Result<()> {
        let from = quoted(Dialect::Sqlite, &table.table.name);
        let count = format!("SELECT count(*) AS n FROM {from}");
        let row = match self.rows(count).await {
            Ok(rows) => rows.into_iter().next(),
            Err(error) if table.kind == TableKind::View => {
                let note = format!("the view `{}` cannot be read: {error}", table.table);
                self.notes.push(note);
                None
            }
            Err(error) => return Err(error),
        };
        let Some(row) = row else {
            return Ok(());
        };
        table.row_count = u64::try_from(self.number(&row, "n")?).unwrap_or_default();
        table.row_count_exact = true;
        self.check_key(table).await?;
        if sample_rows > 0 && table.row_count > 0 {
            table.sample_rows = self.sample(table, sample_rows).await?;
            retype(table);
        }
        Ok(())
    }

    async fn check_key(&mut self, table: &mut TableMetadata) -> Result<()> {
        let open: Vec<String> = table
            .columns
            .iter()
            .filter(|column| column.nullable && table.primary_key.contains(&column.name))
            .map(|column| format!("t.{} IS NULL", quoted(Dialect::Sqlite, &column.name)))
            .collect();
        if open.is_empty() {
            return Ok(());
        }
        let sql = format!(
            "SELECT 1 FROM {} AS t WHERE {} LIMIT 1",
            quoted(Dialect::Sqlite, &table.table.name),
            open.join(" OR ")
        );
        if !self.rows(sql).await?.is_empty() {
            self.notes.push(format!(
                "the primary key of `{}` has NULL in it, so it does not identify rows",
                table.table
            ));
            table.primary_key.clear();
        }
        Ok(())
    }

    async fn sample(&mut self, table: &TableMetadata, rows: u32) -> Result<Vec<Vec<Value>>> {
        let width = table.columns.len();
        let sampled = self.rows(sample_sql(table, rows)).await;
        let sampled = match (sampled, table.kind) {
            // Not every table has row ids; the first rows have to do.
            (Err(_), TableKind::Table) => self.rows(first_rows(table, rows)).await?,
            (sampled, _) => sampled?,
        };
        let mut values = Vec::with_capacity(sampled.len());
        for row in &sampled {
            let cells = (0..width).map(|index| bytes(row, index).map(json));
            values.push(
                cells
                    .collect::<Result<_, _>>()
                    .map_err(|error| failed(self.path, error))?,
            );
        }
        Ok(values)
    }
}

fn reference(name: &str) -> TableRef {
    TableRef {
        schema: None,
        name: name.to_owned(),
    }
}

/// Finds the parent as SQLite does, without regard to case.
fn resolve(tables: &[TableMetadata], parent: &str, pairs: &[KeyPair]) -> Option<ForeignKey> {
    let parent = tables
        .iter()
        .find(|table| table.table.name.eq_ignore_ascii_case(parent))?;
    let mut to_columns = Vec::with_capacity(pairs.len());
    for (index, (_, to)) in pairs.iter().enumerate() {
        let name = match to {
            Some(name) => name,
            None if parent.primary_key.len() == pairs.len() => &parent.primary_key[index],
            None => return None,
        };
        let column = parent
            .columns
            .iter()
            .find(|column| column.name.eq_ignore_ascii_case(name))?;
        to_columns.push(column.name.clone());
    }
    Some(ForeignKey {
        name: None,
        columns: pairs.iter().map(|(from, _)| from.clone()).collect(),
        to: parent.table.clone(),
        to_columns,
        on_delete: ReferentialAction::NoAction,
        on_update: ReferentialAction::NoAction,
        deferrable: Deferrability::NotDeferrable,
    })
}

/// Each value as text behind one letter for its storage class.
fn cells(table: &TableMetadata) -> String {
    let cell = |column: &ColumnMetadata| {
        let name = format!("t.{}", quoted(Dialect::Sqlite, &column.name));
        format!(
            "CASE typeof({name}) WHEN 'null' THEN NULL WHEN 'integer' THEN 'i' || {name} \
             WHEN 'real' THEN 'r' || {name} WHEN 'text' THEN 't' || substr({name}, 1, {}) \
             ELSE 'b' || length({name}) END",
            sample::TEXT_LIMIT
        )
    };
    table
        .columns
        .iter()
        .map(cell)
        .collect::<Vec<_>>()
        .join(", ")
}

fn first_rows(table: &TableMetadata, rows: u32) -> String {
    let from = quoted(Dialect::Sqlite, &table.table.name);
    format!("SELECT {} FROM {from} AS t LIMIT {rows}", cells(table))
}

/// Probes the row ids at equal distances, so that a large table costs as much as a small one.
fn sample_sql(table: &TableMetadata, rows: u32) -> String {
    let taken = |name: &&str| {
        !table
            .columns
            .iter()
            .any(|column| column.name.eq_ignore_ascii_case(name))
    };
    let row_id = ["rowid", "_rowid_", "oid"].into_iter().find(taken);
    let row_id = match (table.kind, row_id) {
        (TableKind::Table, Some(row_id)) if table.row_count > u64::from(rows) => row_id,
        _ => return first_rows(table, rows),
    };
    let from = quoted(Dialect::Sqlite, &table.table.name);
    format!(
        "WITH RECURSIVE ends(lo, hi) AS (
           SELECT (SELECT min(s.{row_id}) FROM {from} AS s), (SELECT max(s.{row_id}) FROM {from} AS s)),
         span(lo, step, rest) AS (SELECT lo, hi / {rows} - lo / {rows}, hi % {rows} - lo % {rows} FROM ends),
         probe(n) AS (SELECT 0 UNION ALL SELECT n + 1 FROM probe WHERE n + 1 < {rows})
         SELECT {} FROM {from} AS t WHERE t.{row_id} IN (
           SELECT (SELECT s.{row_id} FROM {from} AS s
                   WHERE s.{row_id} >= span.lo + span.step * probe.n + span.rest * probe.n / {rows}
                   ORDER BY s.{row_id} LIMIT 1)
           FROM span, probe) ORDER BY t.{row_id}",
        cells(table)
    )
}

fn json(cell: Option<Vec<u8>>) -> Value {
    let Some(cell) = cell else {
        return Value::Null;
    };
    let (class, bytes) = match cell.split_first() {
        Some((class, bytes)) => (*class, bytes),
        None => (b't', cell.as_slice()),
    };
    let text = String::from_utf8_lossy(bytes);
    match class {
        b'i' => sample::integer(&text),
        b'r' => sample::float(&text),
        b'b' => sample::bytes(text.parse().unwrap_or_default()),
        _ => sample::text(bytes),
    }
}

/// A column without a declared type, as a view's often is, has the type of its values.
fn retype(table: &mut TableMetadata) {
    for (index, column) in table.columns.iter_mut().enumerate() {
        if !column.declared_type.is_empty() {
            continue;
        }
        let mut values = table
            .sample_rows
            .iter()
            .filter_map(|row| row.get(index))
            .filter(|value| !value.is_null())
            .peekable();
        if values.peek().is_none() {
            continue;
        }
        let values: Vec<&Value> = values.collect();
        if values.iter().all(|value| value.is_string()) {
            column.data_type = DataType::Text;
        } else if values.iter().all(|value| value.is_i64()) {
            column.data_type = DataType::Integer;
        } else if values.iter().all(|value| value.is_number()) {
            column.data_type = DataType::Float;
        }
    }
}

/// Reads a declared type: common names first, then the affinity rules of <https://www.sqlite.org/datatype3.html>.
fn data_type(declared: &str) -> DataType {
    let upper = declared.to_ascii_uppercase();
    let word = upper.split(['(', ' ']).next().unwrap_or_default();
    match word {
        "" => DataType::Other,
        "DATE" => DataType::Date,
        "TIME" => DataType::Time,
        "DATETIME" | "TIMESTAMP" | "TIMESTAMPTZ" => DataType::Timestamp,
        "BOOL" | "BOOLEAN" => DataType::Boolean,
        "DECIMAL" | "NUMERIC" | "MONEY" | "NUMBER" => DataType::Decimal,
        "JSON" | "JSONB" => DataType::Json,
        "UUID" | "GUID" => DataType::Uuid,
        _ if upper.contains("INT") => DataType::Integer,
        _ if ["CHAR", "CLOB", "TEXT", "STRING"]
            .iter()
            .any(|name| upper.contains(name)) =>
        {
            DataType::Text
        }
        _ if upper.contains("BLOB") || upper.contains("BINARY") => DataType::Bytes,
        _ if ["REAL", "FLOA", "DOUB"]
            .iter()
            .any(|name| upper.contains(name)) =>
        {
            DataType::Float
        }
        _ => DataType::Other,
    }
}
