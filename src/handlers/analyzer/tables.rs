//! What each table is: an entity, a part of another table's documents, or neither, with the reason.
//!
//! 1. Technical tables are left out: their name says so and nobody's sentences are in them, or what programs write is.
//! 2. A table with sentences, or with titles that are searched by themselves, is an entity. Tables of people and of addresses without
//!    sentences are none, and neither are lists of names that other tables refer to.
//! 3. Rows that cannot be without a row of an entity are parts of its documents: lines (its key and a number), tables of pairs,
//!    1:1 extensions, comments. A table without text of its own whose lines have sentences becomes an entity.

use std::collections::BTreeSet;

use super::overrides;
use super::owners::Dependence;
use super::roles::{Assessed, Holds, Role, assess};
use super::words::{self, Name};
use crate::error::Result;
use crate::model::analysis::AnalysisSpec;
use crate::model::metadata::{DataType, Dialect, TableRef};
use crate::model::plan::PlanColumn;
use crate::model::schema_context::{ColumnProfile, Join, SchemaContext, TableProfile, ValueClass};

/// Up to this many columns beside its key, a table with one name is a list of names.
const LOOKUP_COLUMNS: usize = 3;
/// More child rows a root row than this would drown the root's own text.
const MOST_CHILDREN: u64 = 500;
/// Titles of fewer words are names.
const TITLE_WORDS: f64 = 2.5;
/// The schema with every column's role.
pub(super) struct Schema<'a> {
    pub(super) context: &'a SchemaContext,
    pub(super) tables: Vec<Table<'a>>,
    /// Tables that the job makes roots.
    roots: BTreeSet<TableRef>,
}

/// A table with its columns' roles.
pub(super) struct Table<'a> {
    pub(super) profile: &'a TableProfile,
    pub(super) columns: Vec<Assessed<'a>>,
    pub(super) name: Name,
    holds: Holds,
    /// The key that the job names.
    named_key: Option<Vec<String>>,
}

/// What a table is.
#[derive(Debug, Clone, PartialEq)]
pub(super) enum Standing<'a> {
    /// It gets documents. Without a key, what its rows hold tells them apart.
    Entity {
        key: Vec<PlanColumn>,
        reasons: Vec<String>,
    },
    /// Its rows are parts of the documents of `join.to`.
    Part {
        join: &'a Join,
        key: Vec<PlanColumn>,
        reason: String,
    },
    /// Neither.
    LeftOut { reason: String },
}

impl<'a> Table<'a> {
    pub(super) fn new(profile: &'a TableProfile) -> Self {
        let holds = Holds::of(profile);
        Self {
            profile,
            columns: assess(profile, holds),
            name: Name::new(&profile.table.name),
            holds,
            named_key: None,
        }
    }

    pub(super) fn has_prose(&self) -> bool {
        self.columns
            .iter()
            .any(|column| column.role == Role::Prose && column.is_text())
    }

    pub(super) fn has_text(&self) -> bool {
        self.columns.iter().any(Assessed::is_text)
    }

    /// Whether its rows are people: its name or its columns say so, or it has contact data.
    pub(super) fn is_contact(&self) -> bool {
        self.holds.people
            || self.columns.iter().any(|column| {
                column.role == Role::Sensitive
                    && (matches!(column.column.class, ValueClass::Email | ValueClass::Phone)
                        || column.name.has(&words::CONTACTS) && !column.name.has(&words::MACHINES))
            })
    }

    /// Whether its rows are addresses.
    pub(super) fn is_place(&self) -> bool {
        let parts = self.columns.iter().filter(|column| column.is_address());
        parts.count() >= 2 && !self.has_prose()
    }

    /// Whether its names say what its rows are, so that they can stand in other documents.
    pub(super) fn has_labels(&self) -> bool {
        !self.is_place() && !self.holds.accounts
    }

    /// Says why it is a table of programs, if so.
    fn technical(&self) -> Option<&'static str> {
        let named = self.name.has(&words::TECHNICAL_TABLES)
            || self.name.ends_with(&words::TECHNICAL_TABLE_ENDS);
        let ends = self.name.ends_in(&words::TECHNICAL_TABLES)
            || self.name.begins_in(&words::TECHNICAL_TABLES)
            || self.name.ends_with(&words::TECHNICAL_TABLE_ENDS);
        let machine = self
            .columns
            .iter()
            .filter(|column| column.is_machine())
            .count();
        let reason = "it is a table of programs (migrations, sessions, logs, queues): nobody searches it by meaning";
        if self.has_prose() {
            return (ends && machine >= 2).then_some(reason);
        }
        let technical =
            ends && (machine >= 1 || !self.has_titles()) || named && machine >= 2 || machine >= 3;
        technical.then_some(reason)
    }

    /// Whether its rows have titles that are searched by themselves: several words, seldom the same. Without a sample, names decide.
    fn has_titles(&self) -> bool {
        self.columns.iter().any(|column| {
            column.role == Role::Label
                && column.is_text()
                && (column.column.samples == 0
                    || column.column.mean_words >= TITLE_WORDS
                        && column.column.distinct_ratio >= 0.3)
        })
    }

    /// The key that identifies rows: the primary key, else the shortest unique key without NULL.
    pub(super) fn key(&self, dialect: Dialect) -> Option<Vec<PlanColumn>> {
        let mut unique: Vec<&Vec<String>> = self
            .profile
            .unique_keys
            .iter()
            .filter(|key| {
                let columns = key.iter().map(|name| self.profile_of(name));
                columns.into_iter().all(|c| c.is_some_and(|c| !c.nullable))
            })
            .collect();
        unique.sort_by_key(|key| key.len());
        self.named_key
            .iter()
            .chain(std::iter::once(&self.profile.primary_key))
            .chain(unique)
            .filter(|key| !key.is_empty())
            .find_map(|key| {
                key.iter()
                    .map(|name| {
                        let column = self.profile_of(name)?;
                        usable_in_key(column.data_type, dialect).then(|| PlanColumn {
                            name: name.clone(),
                            data_type: column.data_type,
                        })
                    })
                    .collect()
            })
    }

    pub(super) fn profile_of(&self, name: &str) -> Option<&'a ColumnProfile> {
        self.profile
            .columns
            .iter()
            .find(|column| column.name == name)
    }
}

/// A SQLite blob cast to text need not be text (elsewhere its digits are read), and JSON has no order in PostgreSQL.
const fn usable_in_key(data_type: DataType, dialect: Dialect) -> bool {
    match data_type {
        DataType::Bytes => matches!(dialect, Dialect::Postgres | Dialect::Mysql),
        DataType::Json => false,
        DataType::Text
        | DataType::Integer
        | DataType::Decimal
        | DataType::Float
        | DataType::Boolean
        | DataType::Date
        | DataType::Time
        | DataType::Timestamp
        | DataType::Interval
        | DataType::Uuid
        | DataType::Enum
        | DataType::Array
        | DataType::Other => true,
    }
}

impl<'a> Schema<'a> {
    /// Reads the columns' roles, and lays over them what the job says.
    ///
    /// # Errors
    /// The job names something that is not there.
    pub(super) fn new(context: &'a SchemaContext, spec: &AnalysisSpec) -> Result<Self> {
        let mut tables: Vec<Table<'a>> = context.tables.iter().map(Table::new).collect();
        overrides::columns(spec, &mut tables)?;
        let mut keys = overrides::keys(spec, context)?;
        for table in &mut tables {
            table.named_key = keys.remove(&table.profile.table);
        }
        Ok(Self {
            roots: overrides::roots(spec, context)?,
            context,
            tables,
        })
    }

    /// Whether the job makes a table a root.
    pub(super) fn is_forced(&self, table: &TableRef) -> bool {
        self.roots.contains(table)
    }

    pub(super) fn table(&self, table: &TableRef) -> Option<&Table<'a>> {
        self.tables
            .iter()
            .find(|known| known.profile.table == *table)
    }

    /// Joins that leave a table for another one.
    pub(super) fn joins_from(&self, table: &TableRef) -> impl Iterator<Item = &'a Join> {
        let table = table.clone();
        self.context
            .joins
            .iter()
            .filter(move |join| join.from == table && join.to != table)
    }

    /// What each table is, in the order of the tables.
    pub(super) fn standings(&self) -> Vec<Standing<'a>> {
        let mut standings: Vec<Standing<'a>> =
            self.tables.iter().map(|table| self.alone(table)).collect();
        self.promote(&mut standings);
        // Owners are decided against what tables are by themselves, so the order does not matter.
        let owners: Vec<Option<(&'a Join, Dependence)>> = self
            .tables
            .iter()
            .map(|table| self.owner(table, &standings))
            .collect();
        for (index, table) in self.tables.iter().enumerate() {
            let Some((join, dependence)) = owners[index] else {
                continue;
            };
            if self.is_forced(&table.profile.table) {
                continue;
            }
            if table.technical().is_some() || self.is_keyless(&standings, &join.to) {
                continue;
            }
            let owner_is_part = self
                .place(&join.to)
                .is_some_and(|owner| owners[owner].is_some() && !self.is_forced(&join.to));
            if owner_is_part {
                // Parts of parts are not followed; sentences stand for themselves then.
                if !table.has_prose() {
                    standings[index] = Standing::LeftOut {
                        reason: format!(
                            "its rows belong to `{}`, whose rows are parts of other documents themselves",
                            join.to
                        ),
                    };
                }
                continue;
            }
            if let Some(key) = table.key(self.context.dialect)
                && self.fan_out(table, join) <= MOST_CHILDREN
            {
                let how = match dependence {
                    Dependence::Lines => "its rows are lines",
                    Dependence::Extension => "it has at most one row for each",
                    Dependence::Pair => "its rows link other tables",
                    Dependence::Detail => "its rows are parts",
                    Dependence::Captions => "its rows name parts",
                };
                standings[index] = Standing::Part {
                    join,
                    key,
                    reason: format!("{how} of `{}`: they stand in its documents", join.to),
                };
            }
        }
        standings
    }

    pub(super) fn place(&self, table: &TableRef) -> Option<usize> {
        self.tables
            .iter()
            .position(|known| known.profile.table == *table)
    }

    pub(super) fn is_entity(&self, standings: &[Standing<'a>], table: &TableRef) -> bool {
        let place = self.place(table);
        place.is_some_and(|at| matches!(standings[at], Standing::Entity { .. }))
    }

    /// Whether a table gets documents by what its rows hold: child rows cannot be put to one of several equal rows.
    fn is_keyless(&self, standings: &[Standing<'a>], table: &TableRef) -> bool {
        let standing = self.place(table).map(|at| &standings[at]);
        matches!(standing, Some(Standing::Entity { key, .. }) if key.is_empty())
    }

    fn fan_out(&self, child: &Table<'a>, join: &Join) -> u64 {
        let roots = self
            .table(&join.to)
            .map_or(0, |root| root.profile.row_count);
        child.profile.row_count / roots.max(1)
    }

    /// What a table is when nothing owns it.
    fn alone(&self, table: &Table<'a>) -> Standing<'a> {
        let out = |reason: &str| Standing::LeftOut {
            reason: reason.to_owned(),
        };
        if self.is_forced(&table.profile.table) {
            return self.as_entity(
                table,
                vec!["the job makes it one (analysis.roots)".to_owned()],
            );
        }
        let joins = self.joins_from(&table.profile.table).count();
        if table.profile.kind.is_view() {
            return out("it is a view: its rows come from tables (analysis.roots can name it)");
        }
        // A number that was estimated may be 0.
        if table.profile.row_count == 0
            && table
                .profile
                .columns
                .iter()
                .all(|column| column.samples == 0)
        {
            return out("it has no rows");
        }
        if let Some(reason) = table.technical() {
            return out(reason);
        }
        if !table.has_text() {
            return if joins >= 2 {
                out("it only links other tables: it has no text of its own")
            } else {
                out("it has no text worth searching")
            };
        }
        if !table.has_prose() {
            if table.is_contact() {
                return out(
                    "its texts are names and contact data of people, with nothing to search for beside them",
                );
            }
            if table.is_place() {
                return out("its rows are addresses");
            }
            if table.holds.accounts {
                return out("its rows are accounts, which are in no document");
            }
            if self.is_lookup(table) {
                return out("it is a list of names: they stand in the documents that refer to it");
            }
            if !table.has_titles() {
                return out("its texts are short names, with nothing to search for beside them");
            }
            if self.lines_of(table).is_some() {
                return out("its rows are lines of another table, with short names only");
            }
        }
        self.as_entity(table, entity_reasons(table))
    }

    fn as_entity(&self, table: &Table<'a>, mut reasons: Vec<String>) -> Standing<'a> {
        let key = table.key(self.context.dialect).unwrap_or_default();
        if key.is_empty() {
            reasons.push(
                "it has no key: what its rows hold tells them apart, and equal rows are counted"
                    .to_owned(),
            );
        }
        Standing::Entity { key, reasons }
    }

    /// Makes entities of tables without text of their own whose lines have sentences.
    fn promote(&self, standings: &mut [Standing<'a>]) {
        for table in self
            .tables
            .iter()
            .filter(|table| table.has_prose() && table.technical().is_none())
        {
            let Some(join) = self.lines_of(table) else {
                continue;
            };
            let Some(at) = self.place(&join.to) else {
                continue;
            };
            let owner = &self.tables[at];
            let silent = matches!(standings[at], Standing::LeftOut { .. })
                && !owner.profile.kind.is_view()
                && owner.technical().is_none()
                && !owner.is_contact();
            if let (true, Some(key)) = (silent, owner.key(self.context.dialect)) {
                standings[at] = Standing::Entity {
                    key,
                    reasons: vec![format!(
                        "the lines of its rows in `{}` are sentences",
                        table.profile.table
                    )],
                };
            }
        }
    }

    /// One name, little else, and others refer to it.
    pub(super) fn is_lookup(&self, table: &Table<'a>) -> bool {
        let profile = table.profile;
        let texts = table
            .columns
            .iter()
            .filter(|column| column.is_text())
            .count();
        let referred = self
            .context
            .joins
            .iter()
            .any(|join| join.to == profile.table && join.from != profile.table);
        texts <= 1
            && referred
            && profile.columns.len() <= profile.primary_key.len() + LOOKUP_COLUMNS
    }
}

fn entity_reasons(table: &Table<'_>) -> Vec<String> {
    let names = |role: Role| -> Vec<String> {
        let columns = table.columns.iter();
        columns
            .filter(|column| column.role == role && column.is_text())
            .map(|column| format!("`{}`", column.column.name))
            .collect()
    };
    let (prose, labels) = (names(Role::Prose), names(Role::Label));
    let mut reasons = Vec::new();
    if !prose.is_empty() {
        reasons.push(format!(
            "it has text worth searching in {}",
            prose.join(", ")
        ));
    }
    if !labels.is_empty() {
        reasons.push(format!("its rows are named by {}", labels.join(", ")));
    }
    reasons
}
