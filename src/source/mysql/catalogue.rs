//! The catalogue in a fixed number of queries, shared out to a few sessions.

use std::collections::HashMap;

use sqlx::mysql::MySqlRow;

use super::session::{Asked, Session, text};
use super::types::{data_type, default_value, labels};
use crate::error::{Error, ErrorKind, Result};
use crate::model::metadata::{
    ColumnMetadata, DataType, Deferrability, ForeignKey, Identity, IndexMetadata, IndexPart,
    ReferentialAction, TableKind, TableMetadata, TableRef,
};
use crate::source::sharing::share_out;
use crate::source::{Outcome, Selection};

/// A table as the catalogue has it.
pub(super) struct Relation {
    pub(super) meta: TableMetadata,
    /// What became of reading its rows.
    pub(super) outcome: Outcome,
    /// The collation that a column of it has where it names none.
    collation: Option<String>,
    /// Each column's place.
    places: Vec<u32>,
    readable: bool,
}

/// What the catalogue says of the tables that were chosen.
pub(super) struct Catalogue {
    /// Sorted by name.
    pub(super) relations: Vec<Relation>,
    pub(super) denied: Vec<TableRef>,
    pub(super) notes: Vec<String>,
}

/// Reads the catalogue.
pub(super) async fn read(sessions: &mut [Session<'_>], selection: &Selection) -> Result<Catalogue> {
    let Some(first) = sessions.first() else {
        return Err(Error::new(
            ErrorKind::Internal,
            "no session to read the catalogue in",
        ));
    };
    let is_mariadb = first.server.is_mariadb;
    let url = first.url;
    let indexes = if is_mariadb {
        include_str!("indexes_mariadb.sql")
    } else {
        include_str!("indexes_mysql.sql")
    };
    // The longest first, so that none is left over at the end.
    let mut asked: Vec<Asked> = [
        include_str!("columns.sql"),
        indexes,
        include_str!("key_columns.sql"),
        include_str!("key_actions.sql"),
        include_str!("tables.sql"),
        include_str!("json_columns.sql"),
    ]
    .into_iter()
    .take(if is_mariadb { 6 } else { 5 })
    .map(|sql| Asked {
        sql,
        rows: Vec::new(),
    })
    .collect();
    share_out(sessions, &mut asked).await?;
    let rows = |place: usize| {
        asked
            .get(place)
            .map_or(&[][..], |asked| asked.rows.as_slice())
    };
    let mut draft = Draft {
        relations: HashMap::new(),
        is_mariadb,
    };
    let added = draft
        .add_tables(rows(4))
        .and_then(|()| draft.add_columns(rows(0)))
        .and_then(|()| draft.add_indexes(rows(1)))
        .and_then(|()| draft.add_foreign_keys(rows(2), rows(3)))
        .and_then(|()| draft.mark_json(rows(5)));
    added.map_err(|error| super::errors::failed(url, error))?;
    draft.choose(selection, url)
}

type Decoded<T> = std::result::Result<T, sqlx::Error>;

/// The catalogue in the making, by table name.
struct Draft {
    relations: HashMap<String, Relation>,
    is_mariadb: bool,
}

/// A cell that is never NULL.
fn cell(row: &MySqlRow, place: usize) -> Decoded<String> {
    Ok(text(row, place)?.unwrap_or_default())
}

fn number<N: std::str::FromStr>(row: &MySqlRow, place: usize) -> Decoded<Option<N>> {
    Ok(text(row, place)?.and_then(|text| text.parse().ok()))
}

impl Draft {
    fn add_tables(&mut self, rows: &[MySqlRow]) -> Decoded<()> {
        for row in rows {
            let (name, kind) = (cell(row, 0)?, cell(row, 1)?);
            // MariaDB's sequences have no rows of a user.
            if kind == "SEQUENCE" {
                continue;
            }
            let (engine, options) = (cell(row, 2)?, cell(row, 6)?);
            let kind = match (kind.as_str(), engine.as_str()) {
                ("VIEW" | "SYSTEM VIEW", _) => TableKind::View,
                (_, "FEDERATED" | "CONNECT" | "SPIDER" | "S3") => TableKind::ForeignTable,
                _ if options.contains("partitioned") => TableKind::PartitionedTable,
                _ => TableKind::Table,
            };
            let comment = if kind.is_view() { None } else { text(row, 7)? };
            let meta = TableMetadata {
                table: TableRef {
                    schema: text(row, 8)?,
                    name: name.clone(),
                },
                kind,
                comment: comment.filter(|comment| !comment.is_empty()),
                columns: Vec::new(),
                primary_key: Vec::new(),
                foreign_keys: Vec::new(),
                unique_keys: Vec::new(),
                indexes: Vec::new(),
                row_count: number(row, 3)?.unwrap_or_default(),
                row_count_exact: false,
                size_bytes: number(row, 4)?,
                sample_rows: Vec::new(),
            };
            let relation = Relation {
                meta,
                outcome: Outcome::Read,
                collation: text(row, 5)?,
                places: Vec::new(),
                readable: true,
            };
            self.relations.insert(name, relation);
        }
        Ok(())
    }

    fn add_columns(&mut self, rows: &[MySqlRow]) -> Decoded<()> {
        let is_mariadb = self.is_mariadb;
        for row in rows {
            let Some(relation) = self.relations.get_mut(&cell(row, 0)?) else {
                continue;
            };
            let (kind, declared_type) = (cell(row, 3)?, cell(row, 4)?);
            let (nullable, extra) = (cell(row, 5)? == "YES", cell(row, 7)?);
            let expression = text(row, 8)?.filter(|expression| !expression.is_empty());
            let generated = expression.is_some();
            let default = match expression {
                Some(expression) => Some(expression),
                None => default_value(text(row, 6)?, is_mariadb, &extra),
            };
            let collation = text(row, 9)?;
            let column = ColumnMetadata {
                name: cell(row, 2)?,
                data_type: data_type(&kind, &declared_type),
                labels: labels(&kind, &declared_type),
                declared_type,
                domain_base: None,
                nullable,
                default,
                generated,
                identity: extra
                    .contains("auto_increment")
                    .then_some(Identity::ByDefault),
                collation: collation
                    .filter(|_| relation.collation.is_some())
                    .filter(|collation| Some(collation) != relation.collation.as_ref()),
                byte_order: false,
                comment: text(row, 10)?.filter(|comment| !comment.is_empty()),
            };
            let place = number(row, 1)?.unwrap_or(u32::MAX);
            let at = relation.places.partition_point(|other| *other <= place);
            relation.places.insert(at, place);
            relation.meta.columns.insert(at, column);
            relation.readable &= cell(row, 11)?.split(',').any(|right| right == "select");
        }
        Ok(())
    }

    fn add_indexes(&mut self, rows: &[MySqlRow]) -> Decoded<()> {
        let mut rows: Vec<(String, String, u32, &MySqlRow)> = rows
            .iter()
            .map(|row| {
                Ok((
                    cell(row, 0)?,
                    cell(row, 1)?,
                    number(row, 2)?.unwrap_or_default(),
                    row,
                ))
            })
            .collect::<Decoded<_>>()?;
        rows.sort_by(|a, b| (&a.0, &a.1, a.2).cmp(&(&b.0, &b.1, b.2)));
        for part in rows.chunk_by(|a, b| a.0 == b.0 && a.1 == b.1) {
            let [(table, name, _, first), ..] = part else {
                continue;
            };
            let Some(relation) = self.relations.get_mut(table) else {
                continue;
            };
            let unique = cell(first, 3)? == "0";
            let mut parts = Vec::with_capacity(part.len());
            for (_, _, _, row) in part {
                parts.push(match text(row, 4)? {
                    Some(column) => IndexPart::Column(column),
                    None => IndexPart::Expression(cell(row, 5)?),
                });
            }
            let columns: Option<Vec<String>> = parts.iter().map(IndexPart::column).collect();
            if let (true, Some(columns)) = (unique, columns) {
                if name == "PRIMARY" {
                    relation.meta.primary_key = columns;
                } else if !relation.meta.unique_keys.contains(&columns) {
                    relation.meta.unique_keys.push(columns);
                }
            }
            relation.meta.indexes.push(IndexMetadata {
                name: name.clone(),
                unique,
                parts,
                predicate: None,
            });
        }
        Ok(())
    }

    fn add_foreign_keys(&mut self, columns: &[MySqlRow], actions: &[MySqlRow]) -> Decoded<()> {
        let mut rules = HashMap::new();
        for row in actions {
            let rule = (action(&cell(row, 2)?), action(&cell(row, 3)?));
            rules.insert((cell(row, 0)?, cell(row, 1)?), rule);
        }
        let mut rows: Vec<(String, String, u32, &MySqlRow)> = columns
            .iter()
            .map(|row| {
                Ok((
                    cell(row, 0)?,
                    cell(row, 1)?,
                    number(row, 2)?.unwrap_or_default(),
                    row,
                ))
            })
            .collect::<Decoded<_>>()?;
        rows.sort_by(|a, b| (&a.0, &a.1, a.2).cmp(&(&b.0, &b.1, b.2)));
        for part in rows.chunk_by(|a, b| a.0 == b.0 && a.1 == b.1) {
            let [(table, name, _, first), ..] = part else {
                continue;
            };
            let rule = rules.get(&(table.clone(), name.clone()));
            let (on_delete, on_update) =
                *rule.unwrap_or(&(ReferentialAction::NoAction, ReferentialAction::NoAction));
            let Some(relation) = self.relations.get_mut(table) else {
                continue;
            };
            let names = |place: usize| -> Decoded<Vec<String>> {
                part.iter().map(|(_, _, _, row)| cell(row, place)).collect()
            };
            relation.meta.foreign_keys.push(ForeignKey {
                name: Some(name.clone()),
                columns: names(3)?,
                to: TableRef {
                    schema: text(first, 4)?,
                    name: cell(first, 5)?,
                },
                to_columns: names(6)?,
                on_delete,
                on_update,
                deferrable: Deferrability::NotDeferrable,
            });
        }
        Ok(())
    }

    fn mark_json(&mut self, rows: &[MySqlRow]) -> Decoded<()> {
        for row in rows {
            let clause = cell(row, 1)?;
            let column = clause
                .strip_prefix("json_valid(`")
                .and_then(|clause| clause.strip_suffix("`)"))
                .map(|column| column.replace("``", "`"));
            let relation = self.relations.get_mut(&cell(row, 0)?);
            if let (Some(relation), Some(name)) = (relation, column)
                && let Some(column) = relation
                    .meta
                    .columns
                    .iter_mut()
                    .find(|column| column.name == name)
                && column.data_type == DataType::Text
            {
                column.data_type = DataType::Json;
            }
        }
        Ok(())
    }

    fn choose(
        self,
        selection: &Selection,
        url: &crate::source::ConnectionUrl,
    ) -> Result<Catalogue> {
        let mut relations: Vec<Relation> = self.relations.into_values().collect();
        let some = !relations.is_empty();
        if some && relations.iter().all(|relation| !relation.readable) {
            return Err(Error::new(
                ErrorKind::Invalid,
                format!("the user of {url} may read none of its tables"),
            )
            .hint("grant SELECT on the database or on its tables to the user"));
        }
        relations.sort_by(|a, b| a.meta.table.cmp(&b.meta.table));
        selection.retain(&mut relations, |relation| &relation.meta.table)?;
        let (relations, denied): (Vec<_>, Vec<_>) = relations
            .into_iter()
            .partition(|relation| relation.readable);
        let mut catalogue = Catalogue {
            relations,
            denied: denied
                .into_iter()
                .map(|relation| relation.meta.table)
                .collect(),
            notes: Vec::new(),
        };
        catalogue.settle_foreign_keys();
        Ok(catalogue)
    }
}

impl Catalogue {
    /// A server that keeps names in lower case may write those referred to as they were typed.
    fn settle_foreign_keys(&mut self) {
        let tables: Vec<TableRef> = self
            .relations
            .iter()
            .map(|relation| relation.meta.table.clone())
            .collect();
        let by_lower_case: HashMap<String, &TableRef> = tables
            .iter()
            .map(|table| (table.to_string().to_lowercase(), table))
            .collect();
        for relation in &mut self.relations {
            for key in &mut relation.meta.foreign_keys {
                if tables.binary_search(&key.to).is_ok() {
                    continue;
                }
                match by_lower_case.get(&key.to.to_string().to_lowercase()) {
                    Some(table) => key.to = (*table).clone(),
                    None => self.notes.push(format!(
                        "a foreign key of `{}` refers to `{}`, which is not among the tables read",
                        relation.meta.table, key.to
                    )),
                }
            }
        }
    }
}

fn action(rule: &str) -> ReferentialAction {
    match rule {
        "RESTRICT" => ReferentialAction::Restrict,
        "CASCADE" => ReferentialAction::Cascade,
        "SET NULL" => ReferentialAction::SetNull,
        "SET DEFAULT" => ReferentialAction::SetDefault,
        _ => ReferentialAction::NoAction,
    }
}
