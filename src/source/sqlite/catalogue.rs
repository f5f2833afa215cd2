//! The catalogue by pragma functions, in a fixed number of statements.

use std::collections::{BTreeMap, HashMap, HashSet};

use serde_json::Value;

use super::session::Session;
use super::{ddl, types};
use crate::error::Result;
use crate::model::metadata::{
    ColumnMetadata, Deferrability, ForeignKey, Identity, IndexMetadata, IndexPart,
    ReferentialAction, TableKind, TableMetadata, TableRef,
};
use crate::source::{Outcome, Selection};

/// A table as the catalogue has it.
pub(super) struct Relation {
    pub(super) meta: TableMetadata,
    /// What became of reading its rows.
    pub(super) outcome: Outcome,
    /// Whether it has row ids, which a table WITHOUT ROWID and a view have not.
    pub(super) has_row_ids: bool,
}

/// What the catalogue says of the tables that were chosen.
pub(super) struct Catalogue {
    /// Sorted by name.
    pub(super) relations: Vec<Relation>,
    pub(super) notes: Vec<String>,
}

/// A table, with JSON lists of its columns, indexes and foreign keys.
struct Lists {
    columns: Vec<Vec<Value>>,
    indexes: Vec<Vec<Value>>,
    foreign_keys: Vec<Vec<Value>>,
}

/// The statements that made the tables and the indexes, by name.
struct Statements {
    tables: HashMap<String, String>,
    indexes: HashMap<String, String>,
}

/// Reads the catalogue.
pub(super) async fn read(session: &mut Session, selection: &Selection) -> Result<Catalogue> {
    let mut notes = Vec::new();
    let statements = statements(session).await?;
    let names = names(session, &statements, &mut notes).await?;
    let mut chosen: Vec<(TableRef, Rows)> = names
        .into_iter()
        .map(|(name, rows)| (reference(name), rows))
        .collect();
    selection.retain(&mut chosen, |(table, _)| table)?;
    let mut lists: HashMap<String, Lists> = HashMap::new();
    for row in session.rows(include_str!("tables.sql"), None).await? {
        let list = |place: usize| session.text(&row, place).map(|text| json(text.as_deref()));
        let table = Lists {
            columns: list(1)?,
            indexes: list(2)?,
            foreign_keys: list(3)?,
        };
        lists.insert(session.text(&row, 0)?.unwrap_or_default(), table);
    }
    if chosen.iter().any(|(_, rows)| *rows == Rows::Computed) {
        add_views(session, &chosen, &mut lists, &mut notes).await?;
    }
    let mut keys = Vec::new();
    let mut relations = Vec::with_capacity(chosen.len());
    for (table, rows) in chosen {
        let Some(lists) = lists.remove(&table.name) else {
            continue;
        };
        let sql = statements
            .tables
            .get(&table.name)
            .map_or("", String::as_str);
        let clauses = ddl::table(sql);
        let mut relation = relation(table, rows, &lists, &clauses);
        relation.add_indexes(&lists, &statements.indexes);
        keys.push(foreign_keys(&lists.foreign_keys, clauses.keys));
        relations.push(relation);
    }
    resolve(&mut relations, keys, &mut notes);
    if selection.counts == crate::source::Counts::Statistics {
        add_statistics(session, &statements, &mut relations).await?;
    }
    Ok(Catalogue { relations, notes })
}

async fn statements(session: &mut Session) -> Result<Statements> {
    let mut statements = Statements {
        tables: HashMap::new(),
        indexes: HashMap::new(),
    };
    for row in session.rows(include_str!("statements.sql"), None).await? {
        let text = |place: usize| Ok(session.text(&row, place)?.unwrap_or_default());
        let (kind, name, sql): (String, String, String) = (text(0)?, text(1)?, text(3)?);
        match kind.as_str() {
            "table" => statements.tables.insert(name, sql),
            "index" => statements.indexes.insert(name, sql),
            _ => None,
        };
    }
    Ok(statements)
}

/// How a table or a view gives its rows.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Rows {
    /// By row ids.
    Numbered,
    /// By a primary key alone.
    WithoutRowId,
    /// By a view's query.
    Computed,
}

/// Gives the names of tables and views, sorted.
async fn names(
    session: &mut Session,
    statements: &Statements,
    notes: &mut Vec<String>,
) -> Result<BTreeMap<String, Rows>> {
    let (mut names, mut foreign) = (BTreeMap::new(), Vec::new());
    let mut modules = HashSet::new();
    for row in session.rows(include_str!("modules.sql"), None).await? {
        modules.extend(session.text(&row, 0)?.map(|name| name.to_lowercase()));
    }
    for row in session.rows(include_str!("names.sql"), None).await? {
        let name = session.text(&row, 0)?.unwrap_or_default();
        match session.text(&row, 1)?.as_deref() {
            Some("virtual") => {
                notes.push(format!(
                    "the virtual table `{name}` is passed over: its rows belong to an extension"
                ));
                let sql = statements.tables.get(&name).map_or("", String::as_str);
                if !module(sql).is_some_and(|module| modules.contains(&module)) {
                    foreign.push(name);
                }
            }
            Some("view") => {
                names.insert(name, Rows::Computed);
            }
            _ => {
                let without = session.text(&row, 2)?.as_deref() == Some("1");
                let rows = if without {
                    Rows::WithoutRowId
                } else {
                    Rows::Numbered
                };
                names.insert(name, rows);
            }
        }
    }
    // What belongs to a virtual table is known to its module alone, which is not always here.
    for owner in foreign {
        let prefix = format!("{owner}_");
        let owned: Vec<String> = names
            .keys()
            .filter(|name| name.starts_with(&prefix))
            .cloned()
            .collect();
        for name in owned {
            names.remove(&name);
            notes.push(format!(
                "`{name}` is passed over: it seems to be what the virtual table `{owner}` is made of, whose extension is not here"
            ));
        }
    }
    Ok(names)
}

/// Gives the module of a CREATE VIRTUAL TABLE, in lower case.
fn module(sql: &str) -> Option<String> {
    let upper = sql.to_ascii_uppercase();
    let after = sql.get(upper.find(" USING ")? + 7..)?.trim_start();
    let name = after.split(['(', ' ', '\n', '\t', ';']).next()?;
    Some(name.trim_matches(['"', '`', '[', ']']).to_lowercase())
}

/// Adds the columns of views, all at once. Only where one of them cannot be computed are they asked one by one.
async fn add_views(
    session: &mut Session,
    chosen: &[(TableRef, Rows)],
    lists: &mut HashMap<String, Lists>,
    notes: &mut Vec<String>,
) -> Result<()> {
    let sql = include_str!("views.sql");
    let mut rows = Vec::new();
    match session.try_rows(sql, None).await {
        Ok(all) => rows = all,
        Err(_) => {
            for (table, _) in chosen.iter().filter(|(_, rows)| *rows == Rows::Computed) {
                match session.try_rows(sql, Some(&table.name)).await {
                    Ok(view) => rows.extend(view),
                    Err(error) => notes.push(format!(
                        "the view `{table}` cannot be read: {}",
                        session.failed(error)
                    )),
                }
            }
        }
    }
    for row in rows {
        let columns = json(session.text(&row, 1)?.as_deref());
        let view = Lists {
            columns,
            indexes: Vec::new(),
            foreign_keys: Vec::new(),
        };
        lists.insert(session.text(&row, 0)?.unwrap_or_default(), view);
    }
    Ok(())
}

async fn add_statistics(
    session: &mut Session,
    statements: &Statements,
    relations: &mut [Relation],
) -> Result<()> {
    if !statements.tables.contains_key("sqlite_stat1") {
        return Ok(());
    }
    let mut counts = HashMap::new();
    for row in session.rows(include_str!("statistics.sql"), None).await? {
        let count = session.text(&row, 1)?.and_then(|count| count.parse().ok());
        counts.insert(session.text(&row, 0)?.unwrap_or_default(), count);
    }
    for relation in relations {
        let count = counts.get(&relation.meta.table.name).copied().flatten();
        relation.meta.row_count = count.unwrap_or_default();
    }
    Ok(())
}

pub(super) fn reference(name: String) -> TableRef {
    TableRef { schema: None, name }
}

/// Reads a list of lists. What SQLite wrote itself is never anything else.
fn json(text: Option<&str>) -> Vec<Vec<Value>> {
    text.and_then(|text| serde_json::from_str(text).ok())
        .unwrap_or_default()
}

fn text(list: &[Value], place: usize) -> String {
    optional(list, place).unwrap_or_default()
}

fn optional(list: &[Value], place: usize) -> Option<String> {
    list.get(place)?.as_str().map(str::to_owned)
}

fn number(list: &[Value], place: usize) -> i64 {
    list.get(place).and_then(Value::as_i64).unwrap_or_default()
}

fn relation(table: TableRef, rows: Rows, lists: &Lists, clauses: &ddl::TableClauses) -> Relation {
    let by_primary_key = lists.indexes.iter().any(|index| text(index, 2) == "pk");
    let mut key: Vec<(i64, String)> = Vec::new();
    let mut columns = Vec::with_capacity(lists.columns.len());
    // 1 is what a virtual table hides; 2 and 3 are computed columns.
    for column in lists.columns.iter().filter(|column| number(column, 6) != 1) {
        let (name, declared_type, place) = (text(column, 1), text(column, 2), number(column, 5));
        if place > 0 {
            key.push((place, name.clone()));
        }
        columns.push(ColumnMetadata {
            collation: clauses.collations.get(&name.to_lowercase()).cloned(),
            byte_order: clauses
                .collations
                .get(&name.to_lowercase())
                .is_none_or(|collation| collation.eq_ignore_ascii_case("BINARY")),
            data_type: types::data_type(&declared_type),
            declared_type,
            domain_base: None,
            nullable: number(column, 3) == 0,
            default: optional(column, 4),
            generated: number(column, 6) > 1,
            identity: None,
            comment: None,
            labels: Vec::new(),
            name,
        });
    }
    key.sort();
    let primary_key: Vec<String> = key.into_iter().map(|(_, name)| name).collect();
    // Only a key that is the row id has no index of its own. Any other key column accepts NULL unless it says NOT NULL.
    if let ([name], false) = (primary_key.as_slice(), by_primary_key)
        && let Some(column) = columns.iter_mut().find(|column| column.name == *name)
        && column.declared_type.eq_ignore_ascii_case("integer")
    {
        column.nullable = false;
        column.identity = Some(Identity::ByDefault);
    }
    Relation {
        meta: TableMetadata {
            table,
            kind: if rows == Rows::Computed {
                TableKind::View
            } else {
                TableKind::Table
            },
            comment: None,
            columns,
            primary_key,
            foreign_keys: Vec::new(),
            unique_keys: Vec::new(),
            indexes: Vec::new(),
            row_count: 0,
            row_count_exact: false,
            size_bytes: None,
            sample_rows: Vec::new(),
        },
        outcome: Outcome::Read,
        has_row_ids: rows == Rows::Numbered,
    }
}

impl Relation {
    fn add_indexes(&mut self, lists: &Lists, statements: &HashMap<String, String>) {
        let mut indexes: Vec<&Vec<Value>> = lists.indexes.iter().collect();
        indexes.sort_by_key(|index| text(index, 0));
        for index in indexes {
            let (name, unique, partial) =
                (text(index, 0), number(index, 1) == 1, number(index, 3) == 1);
            let clauses = statements.get(&name).map(|sql| ddl::index(sql));
            let clauses = clauses.unwrap_or_default();
            let columns: Vec<Vec<Value>> = index
                .get(4)
                .and_then(Value::as_str)
                .map_or_else(|| nested(index.get(4)), |text| json(Some(text)));
            let parts: Vec<IndexPart> = columns
                .iter()
                .map(|part| {
                    let at = usize::try_from(number(part, 0)).unwrap_or_default();
                    let expression = || clauses.parts.get(at).cloned().unwrap_or_default();
                    optional(part, 2)
                        .map_or_else(|| IndexPart::Expression(expression()), IndexPart::Column)
                })
                .collect();
            let key: Option<Vec<String>> = parts.iter().map(IndexPart::column).collect();
            if let Some(key) = key.filter(|_| unique && !partial && text(index, 2) != "pk")
                && key != self.meta.primary_key
                && !self.meta.unique_keys.contains(&key)
            {
                self.meta.unique_keys.push(key);
            }
            self.meta.indexes.push(IndexMetadata {
                name,
                unique,
                parts,
                predicate: clauses.predicate.filter(|_| partial),
            });
        }
    }
}

fn nested(value: Option<&Value>) -> Vec<Vec<Value>> {
    let lists = value.and_then(Value::as_array).into_iter().flatten();
    lists.filter_map(Value::as_array).cloned().collect()
}

/// A foreign key before its parent is looked up.
struct Key {
    parent: String,
    /// A column that refers, and the one referred to where the key names it.
    pairs: Vec<(String, Option<String>)>,
    on_update: ReferentialAction,
    on_delete: ReferentialAction,
    clause: Option<ddl::KeyClause>,
}

/// Puts keys together, in the order of the statement: the pragma numbers them backwards.
fn foreign_keys(rows: &[Vec<Value>], clauses: Vec<ddl::KeyClause>) -> Vec<Key> {
    let mut keys: BTreeMap<i64, Vec<&Vec<Value>>> = BTreeMap::new();
    for row in rows {
        keys.entry(-number(row, 0)).or_default().push(row);
    }
    let told = keys.len() == clauses.len();
    let mut clauses = clauses.into_iter();
    let keys = keys.into_values().map(|mut rows| {
        rows.sort_by_key(|row| number(row, 1));
        let first = rows[0];
        Key {
            parent: text(first, 2),
            pairs: rows
                .iter()
                .map(|row| (text(row, 3), optional(row, 4)))
                .collect(),
            on_update: action(&text(first, 5)),
            on_delete: action(&text(first, 6)),
            clause: clauses.next().filter(|_| told),
        }
    });
    keys.collect()
}

fn action(word: &str) -> ReferentialAction {
    match word {
        "RESTRICT" => ReferentialAction::Restrict,
        "CASCADE" => ReferentialAction::Cascade,
        "SET NULL" => ReferentialAction::SetNull,
        "SET DEFAULT" => ReferentialAction::SetDefault,
        _ => ReferentialAction::NoAction,
    }
}

/// Finds each key's parent as SQLite does, without regard to case.
fn resolve(relations: &mut [Relation], keys: Vec<Vec<Key>>, notes: &mut Vec<String>) {
    let places: HashMap<String, usize> = relations
        .iter()
        .enumerate()
        .map(|(place, relation)| (relation.meta.table.name.to_ascii_lowercase(), place))
        .collect();
    for (place, keys) in keys.into_iter().enumerate() {
        for key in keys {
            let parent = places.get(&key.parent.to_ascii_lowercase());
            let parent = parent.map(|place| &relations[*place].meta);
            let to_columns = columns_of(&key, parent);
            if parent.is_none() || to_columns.is_none() {
                notes.push(format!(
                    "a foreign key of `{}` refers to `{}`, which is not among the tables read or lacks the columns",
                    relations[place].meta.table, key.parent
                ));
            }
            let to = parent.map_or_else(
                || reference(key.parent.clone()),
                |parent| parent.table.clone(),
            );
            let Some(to_columns) = to_columns else {
                continue;
            };
            let (name, deferrable) = key
                .clause
                .map_or((None, Deferrability::NotDeferrable), |clause| {
                    (clause.name, clause.deferrable)
                });
            relations[place].meta.foreign_keys.push(ForeignKey {
                name,
                columns: key.pairs.into_iter().map(|(from, _)| from).collect(),
                to,
                to_columns,
                on_delete: key.on_delete,
                on_update: key.on_update,
                deferrable,
            });
        }
    }
}

/// Gives the columns referred to, by the parent's own spelling; none where it lacks them, or nobody names them.
fn columns_of(key: &Key, parent: Option<&TableMetadata>) -> Option<Vec<String>> {
    let names = key
        .pairs
        .iter()
        .enumerate()
        .map(|(index, (_, to))| match (to, parent) {
            (Some(name), None) => Some(name.clone()),
            (None, None) => None,
            (to, Some(parent)) => {
                let name = match to {
                    Some(name) => name,
                    None if parent.primary_key.len() == key.pairs.len() => {
                        parent.primary_key.get(index)?
                    }
                    None => return None,
                };
                let column = parent
                    .columns
                    .iter()
                    .find(|column| column.name.eq_ignore_ascii_case(name))?;
                Some(column.name.clone())
            }
        });
    names.collect()
}
