//! The validator's own way from rows to documents: one statement an entity, so one snapshot and one pass.
//!
//! ```text
//! root rows      (part 0: fields and metadata) ─┐
//! child rows     (part 1, 2, …: their columns) ─┼─ UNION ALL, sorted by key text, part, order ─ assembled by key
//! ```
//!
//! The database sorts, so memory does not grow with the rows, and no child is looked up for its root. Rows of an entity without child
//! rows come in any order. Those without a key have the values that they are known by in its place, and go through [`multiset`].

use futures::stream::{self, BoxStream, StreamExt, TryStreamExt};

use super::canonical::trimmed;
use super::{filter, multiset};
use crate::error::{Error, ErrorKind, Result};
use crate::model::metadata::{DataType, Dialect, TableRef};
use crate::model::plan::{ColumnPair, EntityPlan, FieldSource, ParentJoin, PlanColumn, Section};

/// A document as relvec itself makes it from the source.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SourceDocument {
    /// The key's values as text, in key order.
    pub key: Vec<String>,
    /// The canonical text; empty if no section has a value.
    pub content: String,
    /// The metadata values as text, in plan order, exactly as the database casts them.
    pub metadata: Vec<Option<String>>,
}

/// A result row as text: the part, the key, the values.
type Row = Vec<Option<String>>;

/// A value as it came: not every source promises UTF-8.
pub(super) type Cell = Option<Vec<u8>>;

/// A result row as it came.
pub(super) type RawRow = Vec<Cell>;

/// Quotes an identifier.
pub(super) fn quoted(dialect: Dialect, name: &str) -> String {
    match dialect {
        Dialect::Sqlite | Dialect::Postgres => format!("\"{}\"", name.replace('"', "\"\"")),
        Dialect::Mysql => format!("`{}`", name.replace('`', "``")),
    }
}

/// Names a table in SQL.
pub(super) fn table_sql(dialect: Dialect, table: &TableRef) -> String {
    let name = quoted(dialect, &table.name);
    match &table.schema {
        Some(schema) => format!("{}.{name}", quoted(dialect, schema)),
        None => name,
    }
}

/// Gives the number of text columns that the statement of an entity has.
fn width(entity: &EntityPlan) -> usize {
    1 + identity(entity).len() + values(entity)
}

/// The columns that a root row is known by.
fn identity(entity: &EntityPlan) -> &[PlanColumn] {
    if entity.is_keyless() {
        &entity.row
    } else {
        &entity.key
    }
}

/// Gives the statement that reads an entity.
pub(super) fn statement(dialect: Dialect, entity: &EntityPlan) -> String {
    Statement { dialect, entity }.sql()
}

fn values(entity: &EntityPlan) -> usize {
    let children = entity.sections.iter().filter_map(Child::of);
    children
        .map(|child| child.columns.len())
        .fold(root_sources(entity).len(), usize::max)
}

/// The values of a root row: fields in section order, then metadata.
fn root_sources(entity: &EntityPlan) -> Vec<&FieldSource> {
    let fields = entity.sections.iter().filter_map(|section| match section {
        Section::Field { source, .. } => Some(source),
        Section::Children { .. } => None,
    });
    fields
        .chain(entity.metadata.iter().map(|field| &field.source))
        .collect()
}

/// The statement of an entity, in the words of a dialect.
#[derive(Clone, Copy)]
struct Statement<'a> {
    dialect: Dialect,
    entity: &'a EntityPlan,
}

impl Statement<'_> {
    fn sql(self) -> String {
        let keys = identity(self.entity).len();
        let names = |prefix: &str, count: usize| -> Vec<String> {
            (0..count)
                .map(|index| format!("u.{prefix}{index}"))
                .collect()
        };
        let mut columns = vec![self.cast("u.part")];
        columns.extend(names("k", keys));
        columns.extend(names("v", values(self.entity)));
        let mut order: Vec<String> = names("k", keys)
            .iter()
            .map(|name| self.by_bytes(name))
            .collect();
        order.extend(["u.part".to_owned(), "u.seq".to_owned()]);
        let has_children = || {
            self.entity
                .sections
                .iter()
                .any(|section| Child::of(section).is_some())
        };
        if self.entity.is_keyless() || !has_children() {
            // A row a document: nothing has to come together.
            let columns = columns.join(", ");
            return format!("SELECT {columns} FROM ({}) AS u", self.root_arm());
        }
        let mut arms = vec![self.root_arm()];
        let children = self.entity.sections.iter().filter_map(Child::of);
        arms.extend(
            children
                .enumerate()
                .map(|(index, child)| self.child_arm(&child, index + 1)),
        );
        format!(
            "SELECT {} FROM ({}) AS u ORDER BY {}",
            columns.join(", "),
            arms.join(" UNION ALL "),
            order.join(", ")
        )
    }

    fn quoted(self, name: &str) -> String {
        quoted(self.dialect, name)
    }

    fn table(self, table: &TableRef) -> String {
        table_sql(self.dialect, table)
    }

    fn cast(self, expression: &str) -> String {
        match self.dialect {
            Dialect::Sqlite | Dialect::Postgres => format!("CAST({expression} AS TEXT)"),
            Dialect::Mysql => format!("CAST({expression} AS CHAR)"),
        }
    }

    /// A text in the order of its bytes. MySQL's binary collations hold `a` and `a ` equal.
    fn by_bytes(self, text: &str) -> String {
        match self.dialect {
            Dialect::Sqlite => format!("{text} COLLATE BINARY"),
            Dialect::Postgres => format!("{text} COLLATE \"C\""),
            Dialect::Mysql => format!("CAST({text} AS BINARY)"),
        }
    }

    /// A value as the canonical document has it: rule 1 in [`crate::model::plan`].
    fn text(self, alias: &str, column: &str, data_type: DataType) -> String {
        let value = format!("{}.{}", self.quoted(alias), self.quoted(column));
        match self.dialect {
            Dialect::Sqlite | Dialect::Postgres => self.cast(&value),
            Dialect::Mysql => match data_type {
                DataType::Integer | DataType::Boolean => self.cast(&format!("{value} + 0")),
                DataType::Float => self.cast(&format!("{value} + 0e0")),
                DataType::Bytes => format!("LOWER(HEX({value}))"),
                DataType::Text
                | DataType::Decimal
                | DataType::Date
                | DataType::Time
                | DataType::Timestamp
                | DataType::Interval
                | DataType::Uuid
                | DataType::Json
                | DataType::Enum
                | DataType::Array
                | DataType::Other => self.cast(&value),
            },
        }
    }

    /// SQLite's versions round the 15th digit of a REAL differently, so the number itself is read: see `canonical::real`.
    fn text_or_real(self, alias: &str, column: &str, data_type: DataType) -> String {
        let text = self.text(alias, column, data_type);
        match self.dialect {
            Dialect::Sqlite => {
                let value = format!("{}.{}", self.quoted(alias), self.quoted(column));
                format!("CASE typeof({value}) WHEN 'real' THEN {value} ELSE {text} END")
            }
            Dialect::Postgres | Dialect::Mysql => text,
        }
    }

    fn root_arm(self) -> String {
        let sources = root_sources(self.entity);
        let cells = sources
            .iter()
            .map(|source| self.text_or_real(&source.alias, &source.column, source.data_type));
        let mut columns = vec!["0 AS part".to_owned(), "0 AS seq".to_owned()];
        columns.extend(self.key_columns());
        columns.extend(self.value_columns(cells.collect()));
        format!(
            "SELECT {} FROM {} AS r{}{}",
            columns.join(", "),
            self.table(&self.entity.root),
            self.joins(&self.entity.parents),
            self.filter()
        )
    }

    fn child_arm(self, child: &Child<'_>, part: usize) -> String {
        let order = child.order_by.iter().map(|column| self.child_order(column));
        let cells = child
            .columns
            .iter()
            .map(|source| self.text(&source.alias, &source.column, source.data_type));
        let mut columns = vec![
            format!("{part} AS part"),
            format!(
                "row_number() OVER (ORDER BY {}) AS seq",
                order.collect::<Vec<_>>().join(", ")
            ),
        ];
        columns.extend(self.key_columns());
        columns.extend(self.value_columns(cells.collect()));
        format!(
            "SELECT {} FROM {} AS r JOIN {} AS c ON {}{}{}",
            columns.join(", "),
            self.table(&self.entity.root),
            self.table(child.table),
            self.pairs("c", "r", child.on),
            self.joins(child.parents),
            self.filter()
        )
    }

    /// What root rows have to be like.
    fn filter(self) -> String {
        let conditions = self.entity.filter.iter().map(|condition| {
            let column = format!("r.{}", self.quoted(&condition.column.name));
            filter::condition(self.dialect, &column, condition)
        });
        let conditions: Vec<String> = conditions.collect();
        if conditions.is_empty() {
            String::new()
        } else {
            format!(" WHERE {}", conditions.join(" AND "))
        }
    }

    /// The order of child rows: texts by their bytes, everything else by its own order.
    fn child_order(self, column: &PlanColumn) -> String {
        let name = format!("c.{}", self.quoted(&column.name));
        match self.dialect {
            Dialect::Sqlite => self.by_bytes(&name),
            Dialect::Postgres | Dialect::Mysql if column.data_type == DataType::Text => {
                self.by_bytes(&self.cast(&name))
            }
            Dialect::Postgres | Dialect::Mysql => name,
        }
    }

    fn key_columns(self) -> Vec<String> {
        let keys = identity(self.entity).iter().enumerate();
        keys.map(|(index, column)| {
            let text = if self.entity.is_keyless() {
                self.text_or_real("r", &column.name, column.data_type)
            } else {
                self.text("r", &column.name, column.data_type)
            };
            format!("{text} AS k{index}")
        })
        .collect()
    }

    fn value_columns(self, cells: Vec<String>) -> Vec<String> {
        let nothing = std::iter::repeat_with(|| self.cast("NULL"));
        let cells = cells.into_iter().chain(nothing).take(values(self.entity));
        cells
            .enumerate()
            .map(|(index, cell)| format!("{cell} AS v{index}"))
            .collect()
    }

    fn joins(self, parents: &[ParentJoin]) -> String {
        let join = |parent: &ParentJoin| {
            format!(
                " LEFT JOIN {} AS {} ON {}",
                self.table(&parent.table),
                self.quoted(&parent.alias),
                self.pairs(&parent.left, &parent.alias, &parent.on)
            )
        };
        parents.iter().map(join).collect()
    }

    fn pairs(self, from: &str, to: &str, on: &[ColumnPair]) -> String {
        let (from, to) = (self.quoted(from), self.quoted(to));
        let equal = on.iter().map(|pair| {
            format!(
                "{from}.{} = {to}.{}",
                self.quoted(&pair.from),
                self.quoted(&pair.to)
            )
        });
        equal.collect::<Vec<_>>().join(" AND ")
    }
}

/// A children section, borrowed.
struct Child<'a> {
    table: &'a TableRef,
    on: &'a [ColumnPair],
    parents: &'a [ParentJoin],
    columns: &'a [FieldSource],
    order_by: &'a [PlanColumn],
}

impl<'a> Child<'a> {
    fn of(section: &'a Section) -> Option<Self> {
        match section {
            Section::Field { .. } => None,
            Section::Children {
                label: _,
                table,
                on,
                parents,
                columns,
                order_by,
                reasons: _,
            } => Some(Self {
                table,
                on,
                parents,
                columns,
                order_by,
            }),
        }
    }
}

/// Makes documents of the statement's rows; `cell` reads a text's bytes, `failed` names the source in an error.
pub(super) fn read<'a, R: Send + 'a>(
    entity: &'a EntityPlan,
    rows: BoxStream<'a, Result<R, sqlx::Error>>,
    cell: fn(&R, usize) -> Result<Cell, sqlx::Error>,
    failed: impl Fn(sqlx::Error) -> Error + Copy + Send + 'a,
) -> BoxStream<'a, Result<SourceDocument>> {
    let width = width(entity);
    if entity.is_keyless() {
        let rows = rows.map(move |row| {
            row.and_then(|row| (0..width).map(|index| cell(&row, index)).collect())
                .map_err(failed)
        });
        return multiset::documents(entity, rows.boxed());
    }
    let rows = rows.map(move |row| -> Result<Row> {
        let row = row.map_err(failed)?;
        let cells = (0..width).map(|index| Ok(cell(&row, index)?.map(text)));
        cells.collect::<Result<_, _>>().map_err(failed)
    });
    if entity
        .sections
        .iter()
        .all(|section| Child::of(section).is_none())
    {
        let alone =
            rows.map(move |row| Ok(Draft::new(entity, PartRow::read(entity, row?)?).finish()));
        return alone.boxed();
    }
    assemble(entity, rows.boxed())
}

/// A text whose bytes need not be UTF-8.
fn text(bytes: Vec<u8>) -> String {
    String::from_utf8(bytes)
        .unwrap_or_else(|error| String::from_utf8_lossy(error.as_bytes()).into_owned())
}

/// Makes the document of a root row without children: `values` are those of its fields, then of its metadata.
pub(super) fn document(
    entity: &EntityPlan,
    key: Vec<String>,
    values: impl Iterator<Item = Cell>,
) -> SourceDocument {
    let values: Row = values.map(|value| value.map(text)).collect();
    let row = PartRow {
        part: 0,
        key,
        values: values.into_iter(),
    };
    Draft::new(entity, row).finish()
}

/// Puts documents together from rows sorted by key and part.
fn assemble<'a>(
    entity: &'a EntityPlan,
    rows: BoxStream<'a, Result<Row>>,
) -> BoxStream<'a, Result<SourceDocument>> {
    let state = Some((rows, None::<Draft<'a>>));
    stream::try_unfold(state, move |state| async move {
        let Some((mut rows, mut draft)) = state else {
            return Ok(None);
        };
        while let Some(row) = rows.try_next().await? {
            let row = PartRow::read(entity, row)?;
            if row.part > 0 {
                match &mut draft {
                    Some(draft) if draft.key == row.key => draft.add_child(row),
                    _ => return Err(mixed_up(entity)),
                }
                continue;
            }
            if draft.as_ref().is_some_and(|draft| draft.key == row.key) {
                return Err(mixed_up(entity));
            }
            if let Some(done) = draft.replace(Draft::new(entity, row)) {
                return Ok(Some((done.finish(), Some((rows, draft)))));
            }
        }
        Ok(draft.map(|draft| (draft.finish(), None)))
    })
    .boxed()
}

/// Gives the error of two rows of an entity with the same key.
pub(crate) fn mixed_up(entity: &EntityPlan) -> Error {
    Error::new(
        ErrorKind::Invalid,
        format!(
            "two rows of `{}` have keys with the same text, so their documents cannot be told apart",
            entity.root
        ),
    )
    .hint("leave the table out with source.exclude, or give it a key of one type")
}

struct PartRow {
    part: usize,
    key: Vec<String>,
    values: std::vec::IntoIter<Option<String>>,
}

impl PartRow {
    fn read(entity: &EntityPlan, row: Row) -> Result<Self> {
        let mut cells = row.into_iter();
        let part = cells.next().flatten().and_then(|part| part.parse().ok());
        let key: Option<Vec<String>> = cells.by_ref().take(entity.key.len()).collect();
        let key = key.ok_or_else(|| {
            Error::new(
                ErrorKind::Invalid,
                format!("a row of `{}` has NULL in its key", entity.root),
            )
            .hint("give the row a key, or leave the table out with source.exclude")
        })?;
        let part = part
            .ok_or_else(|| Error::new(ErrorKind::Internal, "a row came without its part number"))?;
        Ok(Self {
            part,
            key,
            values: cells,
        })
    }
}

/// A document in the making.
struct Draft<'a> {
    entity: &'a EntityPlan,
    key: Vec<String>,
    fields: Vec<Option<String>>,
    metadata: Vec<Option<String>>,
    /// The lines of each children section.
    children: Vec<Vec<String>>,
}

impl<'a> Draft<'a> {
    fn new(entity: &'a EntityPlan, mut row: PartRow) -> Self {
        let children = entity.sections.iter().filter_map(Child::of).count();
        let fields = entity.sections.len() - children;
        Self {
            entity,
            key: row.key,
            fields: row.values.by_ref().take(fields).collect(),
            metadata: row.values.take(entity.metadata.len()).collect(),
            children: vec![Vec::new(); children],
        }
    }

    fn add_child(&mut self, row: PartRow) {
        let values: Vec<String> = row
            .values
            .flatten()
            .filter_map(|value| trimmed(&value).map(str::to_owned))
            .collect();
        if let (false, Some(lines)) = (values.is_empty(), self.children.get_mut(row.part - 1)) {
            lines.push(format!("- {}", values.join(" | ")));
        }
    }

    fn finish(self) -> SourceDocument {
        let mut content = String::new();
        let mut line = |parts: [&str; 3]| {
            if !content.is_empty() {
                content.push('\n');
            }
            content.extend(parts);
        };
        let (mut fields, mut children) = (self.fields.into_iter(), self.children.into_iter());
        for section in &self.entity.sections {
            match section {
                Section::Field { label, .. } => {
                    let value = fields.next().flatten();
                    if let Some(value) = value.as_deref().and_then(trimmed) {
                        line([label, ": ", value]);
                    }
                }
                Section::Children { label, .. } => {
                    let rows = children.next().unwrap_or_default();
                    if !rows.is_empty() {
                        line([label, ":", ""]);
                        for row in &rows {
                            line([row, "", ""]);
                        }
                    }
                }
            }
        }
        SourceDocument {
            key: self.key,
            content,
            metadata: self.metadata,
        }
    }
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;

    fn text(value: &Value) -> Option<String> {
        value.as_str().map(str::to_owned)
    }

    /// The plan and the result rows of a case of the test vectors.
    fn case(sections: &[Value]) -> (EntityPlan, Vec<Row>) {
        let source = |index: usize| json!({"alias": "r", "column": format!("c{index}"), "data_type": "text"});
        let (mut planned, mut root, mut children) = (Vec::new(), Vec::new(), Vec::new());
        let mut part = 0;
        for section in sections {
            let label = &section["label"];
            if section["section"] == "field" {
                root.push(text(&section["value"]));
                planned.push(
                    json!({"section": "field", "label": label, "source": source(0),
                                    "score": 1.0, "reasons": []}),
                );
                continue;
            }
            part += 1;
            let rows = section["rows"].as_array().expect("rows");
            let columns = rows.iter().filter_map(Value::as_array).map(Vec::len).max();
            let columns: Vec<Value> = (0..columns.unwrap_or(1)).map(source).collect();
            planned.push(
                json!({"section": "children", "label": label, "columns": columns,
                                "table": {"schema": null, "name": "c"}, "on": [], "parents": [],
                                "order_by": [], "reasons": []}),
            );
            for row in rows.iter().filter_map(Value::as_array) {
                let mut cells = vec![Some(part.to_string()), Some("k".to_owned())];
                cells.extend(row.iter().map(text));
                children.push(cells);
            }
        }
        let entity = json!({"name": "e", "root": {"schema": null, "name": "t"}, "row_count": 1,
                            "key": [{"name": "id", "data_type": "text"}], "parents": [],
                            "sections": planned, "metadata": [], "reasons": []});
        let mut rows = vec![[vec![Some("0".to_owned()), Some("k".to_owned())], root].concat()];
        rows.extend(children);
        (serde_json::from_value(entity).expect("a plan"), rows)
    }

    async fn assembled(entity: &EntityPlan, rows: Vec<Row>) -> Result<Vec<SourceDocument>> {
        let rows = stream::iter(rows.into_iter().map(Ok)).boxed();
        assemble(entity, rows).try_collect().await
    }

    #[tokio::test]
    async fn documents_are_those_of_the_test_vectors() {
        let vectors: Value =
            serde_json::from_str(include_str!("../../tests/fixtures/canonical.json"))
                .expect("JSON");
        let cases = vectors["documents"].as_array().expect("documents");
        assert!(cases.len() >= 10);
        for vector in cases {
            let (entity, rows) = case(vector["sections"].as_array().expect("sections"));
            let documents = assembled(&entity, rows).await.expect("a document");
            let content: Vec<&str> = documents.iter().map(|d| d.content.as_str()).collect();
            assert_eq!(
                content,
                [vector["document"].as_str().expect("text")],
                "{}",
                vector["case"]
            );
        }
    }

    #[tokio::test]
    async fn keys_that_cannot_be_told_apart_are_an_error() {
        let (entity, rows) = case(&[json!({"section": "field", "label": "a", "value": "b"})]);
        let twice = [rows.clone(), rows.clone()].concat();
        assert!(assembled(&entity, twice).await.is_err());
        let null = vec![vec![Some("0".to_owned()), None, Some("b".to_owned())]];
        let error = assembled(&entity, null).await.expect_err("no key");
        assert!(error.to_string().contains("NULL in its key"));
        assert_eq!(assembled(&entity, rows).await.expect("one").len(), 1);
    }
}
