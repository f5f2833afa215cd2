//! The catalogue in four queries, however many tables there are.

use std::collections::HashMap;

use sqlx::postgres::PgRow;
use sqlx::postgres::types::Oid;
use sqlx::{Decode, Postgres, Row as _, Type};

use super::session::Session;
use crate::error::{Error, ErrorKind, Result};
use crate::model::metadata::{
    ColumnMetadata, DataType, Deferrability, ForeignKey, Identity, IndexMetadata, IndexPart,
    ReferentialAction, TableKind, TableMetadata, TableRef,
};
use crate::source::{Outcome, Selection};

/// A table as the catalogue has it.
pub(super) struct Relation {
    oid: Oid,
    pub(super) meta: TableMetadata,
    /// The number of each column, in their order: there are gaps where columns were dropped.
    numbers: Vec<i16>,
    /// What became of reading its rows.
    pub(super) outcome: Outcome,
}

/// What the catalogue says of the tables that were chosen.
pub(super) struct Catalogue {
    /// Sorted by name.
    pub(super) relations: Vec<Relation>,
    pub(super) denied: Vec<TableRef>,
    pub(super) notes: Vec<String>,
    places: HashMap<Oid, usize>,
}

/// Reads the catalogue.
pub(super) async fn read(session: &mut Session<'_>, selection: &Selection) -> Result<Catalogue> {
    let mut denied = Vec::new();
    let mut relations = Vec::new();
    for row in session.rows(include_str!("relations.sql"), None).await? {
        let row = Cells { session, row: &row };
        let relation = relation(&row)?;
        if row.get(5)? {
            relations.push(relation);
        } else {
            denied.push(relation.meta.table);
        }
    }
    if relations.is_empty() && !denied.is_empty() {
        return Err(Error::new(
            ErrorKind::Invalid,
            format!("the user of {} may read none of its tables", session.url),
        )
        .hint("grant USAGE on the schema and SELECT on its tables to the user"));
    }
    denied.sort();
    relations.sort_by(|a, b| a.meta.table.cmp(&b.meta.table));
    choose(selection, &mut relations, &mut denied)?;
    let places = relations.iter().enumerate();
    let mut catalogue = Catalogue {
        places: places
            .map(|(place, relation)| (relation.oid, place))
            .collect(),
        relations,
        denied,
        notes: Vec::new(),
    };
    let oids: Vec<Oid> = catalogue
        .relations
        .iter()
        .map(|relation| relation.oid)
        .collect();
    for row in session
        .rows(include_str!("columns.sql"), Some(&oids))
        .await?
    {
        catalogue.add_column(&Cells { session, row: &row })?;
    }
    for row in session
        .rows(include_str!("indexes.sql"), Some(&oids))
        .await?
    {
        catalogue.add_index(&Cells { session, row: &row })?;
    }
    for row in session
        .rows(include_str!("foreign_keys.sql"), Some(&oids))
        .await?
    {
        catalogue.add_foreign_key(&Cells { session, row: &row })?;
    }
    Ok(catalogue)
}

/// Patterns are held against the tables that cannot be read too, so that one of those can be left out by name.
fn choose(
    selection: &Selection,
    relations: &mut Vec<Relation>,
    denied: &mut Vec<TableRef>,
) -> Result<()> {
    let names = relations.iter().map(|relation| relation.meta.table.clone());
    let mut all: Vec<TableRef> = names.chain(denied.iter().cloned()).collect();
    selection.retain(&mut all, |table| table)?;
    let chosen: std::collections::HashSet<TableRef> = all.into_iter().collect();
    relations.retain(|relation| chosen.contains(&relation.meta.table));
    denied.retain(|table| chosen.contains(table));
    Ok(())
}

/// A row, and where it comes from for an error.
struct Cells<'a> {
    session: &'a Session<'a>,
    row: &'a PgRow,
}

impl<'a> Cells<'a> {
    /// Gives the cell of a place, in the order of the query.
    fn get<T: Decode<'a, Postgres> + Type<Postgres>>(&self, place: usize) -> Result<T> {
        self.row
            .try_get(place)
            .map_err(|error| self.session.failed(error))
    }
}

fn relation(row: &Cells<'_>) -> Result<Relation> {
    let kind: String = row.get(3)?;
    let estimate: Option<f64> = row.get(6)?;
    let size: Option<i64> = row.get(7)?;
    Ok(Relation {
        oid: row.get(0)?,
        meta: TableMetadata {
            table: TableRef {
                schema: Some(row.get(1)?),
                name: row.get(2)?,
            },
            kind: match kind.as_str() {
                "p" => TableKind::PartitionedTable,
                "f" => TableKind::ForeignTable,
                "v" => TableKind::View,
                "m" => TableKind::MaterializedView,
                _ => TableKind::Table,
            },
            comment: row.get(4)?,
            columns: Vec::new(),
            primary_key: Vec::new(),
            foreign_keys: Vec::new(),
            unique_keys: Vec::new(),
            indexes: Vec::new(),
            row_count: estimate.map_or(0, rows),
            row_count_exact: false,
            size_bytes: size.and_then(|size| u64::try_from(size).ok()),
            sample_rows: Vec::new(),
        },
        numbers: Vec::new(),
        outcome: Outcome::Read,
    })
}

/// An estimate as a number of rows.
#[expect(
    clippy::cast_possible_truncation,
    clippy::cast_sign_loss,
    reason = "estimates are never negative, and the cast saturates"
)]
pub(super) fn rows(estimate: f64) -> u64 {
    estimate.round() as u64
}

impl Relation {
    fn name_of(&self, number: i16) -> Option<&String> {
        let at = self.numbers.binary_search(&number).ok()?;
        self.meta.columns.get(at).map(|column| &column.name)
    }

    fn names_of(&self, numbers: &[i16]) -> Option<Vec<String>> {
        numbers
            .iter()
            .map(|number| self.name_of(*number).cloned())
            .collect()
    }
}

impl Catalogue {
    fn relation(&mut self, row: &Cells<'_>) -> Result<Option<&mut Relation>> {
        let oid: Oid = row.get(0)?;
        let place = self.places.get(&oid);
        Ok(place.and_then(|place| self.relations.get_mut(*place)))
    }

    fn add_column(&mut self, row: &Cells<'_>) -> Result<()> {
        let Some(relation) = self.relation(row)? else {
            return Ok(());
        };
        let (base, sort, category): (&str, &str, &str) = (row.get(5)?, row.get(6)?, row.get(7)?);
        relation.numbers.push(row.get(1)?);
        relation.meta.columns.push(ColumnMetadata {
            name: row.get(2)?,
            declared_type: row.get(3)?,
            domain_base: row.get(4)?,
            data_type: data_type(base, sort, category),
            nullable: row.get(8)?,
            default: row.get(9)?,
            generated: row.get(10)?,
            identity: match row.get(11)? {
                "a" => Some(Identity::Always),
                "d" => Some(Identity::ByDefault),
                _ => None,
            },
            collation: row.get(12)?,
            byte_order: row.get(15)?,
            comment: row.get(13)?,
            labels: row.get::<Option<Vec<String>>>(14)?.unwrap_or_default(),
        });
        Ok(())
    }

    fn add_index(&mut self, row: &Cells<'_>) -> Result<()> {
        let Some(relation) = self.relation(row)? else {
            return Ok(());
        };
        let (unique, valid): (bool, bool) = (row.get(2)?, row.get(4)?);
        let count: i16 = row.get(5)?;
        let mut numbers: Vec<i16> = row.get(6)?;
        numbers.truncate(usize::try_from(count).unwrap_or_default());
        let expressions: Option<Vec<String>> = row.get(7)?;
        let predicate: Option<String> = row.get(8)?;
        // Partial indexes and indexes on expressions are no keys, nor is one whose making was broken off.
        if let Some(columns) = relation.names_of(&numbers)
            && unique
            && valid
            && predicate.is_none()
        {
            if row.get(3)? {
                relation.meta.primary_key = columns;
            } else if !relation.meta.unique_keys.contains(&columns) {
                relation.meta.unique_keys.push(columns);
            }
        }
        let mut expressions = expressions.unwrap_or_default().into_iter();
        let parts = numbers.iter().filter_map(|number| match number {
            0 => expressions.next().map(IndexPart::Expression),
            number => relation.name_of(*number).cloned().map(IndexPart::Column),
        });
        let parts = parts.collect();
        relation.meta.indexes.push(IndexMetadata {
            name: row.get(1)?,
            unique,
            parts,
            predicate,
        });
        Ok(())
    }

    fn add_foreign_key(&mut self, row: &Cells<'_>) -> Result<()> {
        let to = TableRef {
            schema: Some(row.get(9)?),
            name: row.get(10)?,
        };
        let parent: Oid = row.get(3)?;
        let by_name: Option<Vec<String>> = row.get(11)?;
        let to_columns = match (by_name, self.places.get(&parent)) {
            (Some(names), _) => Some(names),
            (None, Some(place)) => self.relations[*place].names_of(&row.get::<Vec<i16>>(4)?),
            (None, None) => None,
        };
        let read = self.places.contains_key(&parent);
        let Some(relation) = self.relation(row)? else {
            return Ok(());
        };
        let table = relation.meta.table.clone();
        let columns = relation.names_of(&row.get::<Vec<i16>>(2)?);
        if let (Some(columns), Some(to_columns)) = (columns, to_columns) {
            relation.meta.foreign_keys.push(ForeignKey {
                name: row.get(1)?,
                columns,
                to: to.clone(),
                to_columns,
                on_delete: action(row.get(5)?),
                on_update: action(row.get(6)?),
                deferrable: match (row.get(7)?, row.get(8)?) {
                    (false, _) => Deferrability::NotDeferrable,
                    (true, false) => Deferrability::InitiallyImmediate,
                    (true, true) => Deferrability::InitiallyDeferred,
                },
            });
        }
        if !read {
            self.notes.push(format!(
                "a foreign key of `{table}` refers to `{to}`, which is not among the tables read"
            ));
        }
        Ok(())
    }
}

/// Reads the letter that `pg_constraint` has for an action.
fn action(letter: &str) -> ReferentialAction {
    match letter {
        "r" => ReferentialAction::Restrict,
        "c" => ReferentialAction::Cascade,
        "n" => ReferentialAction::SetNull,
        "d" => ReferentialAction::SetDefault,
        _ => ReferentialAction::NoAction,
    }
}

/// Reads `pg_type`: the sort first, then the name.
fn data_type(name: &str, sort: &str, category: &str) -> DataType {
    match (sort, category) {
        ("e", _) => return DataType::Enum,
        (_, "A") => return DataType::Array,
        _ => {}
    }
    match name {
        "text" | "varchar" | "bpchar" | "char" | "name" | "citext" => DataType::Text,
        "int2" | "int4" | "int8" | "oid" => DataType::Integer,
        "numeric" | "money" => DataType::Decimal,
        "float4" | "float8" => DataType::Float,
        "bool" => DataType::Boolean,
        "date" => DataType::Date,
        "time" | "timetz" => DataType::Time,
        "timestamp" | "timestamptz" => DataType::Timestamp,
        "interval" => DataType::Interval,
        "uuid" => DataType::Uuid,
        "json" | "jsonb" => DataType::Json,
        "bytea" => DataType::Bytes,
        _ => DataType::Other,
    }
}
