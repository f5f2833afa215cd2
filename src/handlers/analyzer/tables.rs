//! What each table is: an entity, a part of another table's documents, or neither, with the reason.

use super::roles::{Assessed, Role, assess};
use crate::handlers::normalize_schema::names::{singular, singular_words, words};
use crate::model::metadata::{DataType, Dialect, TableRef};
use crate::model::plan::PlanColumn;
use crate::model::schema_context::{Join, SchemaContext, TableProfile, ValueClass};

/// Words that name ways to reach a person.
const CONTACT_WORDS: &[&str] = &["email", "mail", "phone", "telephone", "mobile", "password"];

/// Last words of tables whose rows belong to a row of another table.
const DETAIL_WORDS: &[&str] = &[
    "line",
    "item",
    "detail",
    "note",
    "comment",
    "message",
    "reply",
    "entry",
    "tag",
    "attribute",
    "translation",
    "remark",
    "option",
    "feature",
    "alias",
    "keyword",
    "position",
];
/// Tables of people: their names are nobody's category and nothing to search for alone.
const PEOPLE_WORDS: &[&str] = &[
    "customer",
    "client",
    "user",
    "person",
    "people",
    "employee",
    "contact",
    "member",
    "patient",
    "guest",
    "staff",
    "student",
    "subscriber",
    "applicant",
];
/// Up to this many columns beside its key, a table with one name is a list of names.
const LOOKUP_COLUMNS: usize = 3;
/// More child rows a root row than this would drown the root's own text.
const MOST_CHILDREN: u64 = 500;

/// The schema with every column's role.
pub(super) struct Schema<'a> {
    pub(super) context: &'a SchemaContext,
    pub(super) tables: Vec<Table<'a>>,
}

/// A table with its columns' roles.
pub(super) struct Table<'a> {
    pub(super) profile: &'a TableProfile,
    pub(super) columns: Vec<Assessed<'a>>,
}

/// What a table is.
#[derive(Debug, Clone, PartialEq)]
pub(super) enum Standing<'a> {
    /// It gets documents.
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
    /// It has text, and no key.
    NoKey { reason: String },
    /// Neither.
    LeftOut { reason: String },
}

impl<'a> Table<'a> {
    pub(super) fn has_prose(&self) -> bool {
        self.columns
            .iter()
            .any(|column| column.role == Role::Prose && column.is_text())
    }

    pub(super) fn has_text(&self) -> bool {
        self.columns.iter().any(Assessed::is_text)
    }

    /// Whether its rows are people: its name says so, or it has contact data.
    pub(super) fn is_contact(&self) -> bool {
        let name = singular_words(&self.profile.table.name);
        if name
            .last()
            .is_some_and(|word| PEOPLE_WORDS.contains(&word.as_str()))
        {
            return true;
        }
        self.columns.iter().any(|column| {
            column.role == Role::Sensitive
                && (matches!(column.column.class, ValueClass::Email | ValueClass::Phone)
                    || words(&column.column.name)
                        .iter()
                        .any(|word| CONTACT_WORDS.contains(&word.as_str())))
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
        std::iter::once(&self.profile.primary_key)
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

    fn profile_of(&self, name: &str) -> Option<&'a crate::model::schema_context::ColumnProfile> {
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
    pub(super) fn new(context: &'a SchemaContext) -> Self {
        let tables = context.tables.iter().map(|profile| Table {
            profile,
            columns: assess(profile),
        });
        Self {
            context,
            tables: tables.collect(),
        }
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
        // Owners are decided against what tables are by themselves, so the order does not matter.
        let owners: Vec<Option<&'a Join>> = self
            .tables
            .iter()
            .map(|table| {
                self.owner(table)
                    .filter(|join| self.is_entity(&standings, &join.to))
            })
            .collect();
        for (index, table) in self.tables.iter().enumerate() {
            let Some(join) = owners[index] else { continue };
            let owner_is_part = self
                .tables
                .iter()
                .position(|owner| owner.profile.table == join.to)
                .is_some_and(|owner| owners[owner].is_some());
            if owner_is_part || matches!(standings[index], Standing::NoKey { .. }) {
                continue;
            }
            if let Some(key) = table.key(self.context.dialect)
                && self.fan_out(table, join) <= MOST_CHILDREN
            {
                standings[index] = Standing::Part {
                    join,
                    key,
                    reason: format!("its rows are parts of the documents of `{}`", join.to),
                };
            }
        }
        standings
    }

    fn is_entity(&self, standings: &[Standing<'a>], table: &TableRef) -> bool {
        let at = self
            .tables
            .iter()
            .position(|known| known.profile.table == *table);
        at.is_some_and(|at| matches!(standings[at], Standing::Entity { .. }))
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
        let joins = self.joins_from(&table.profile.table).count();
        if table.profile.kind.is_view() {
            return out("it is a view: its rows come from tables, and it has no key");
        }
        if table.profile.row_count == 0 {
            return out("it has no rows");
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
            if self.is_lookup(table) {
                return out("it is a list of names: they stand in the documents that refer to it");
            }
        }
        let Some(key) = table.key(self.context.dialect) else {
            return Standing::NoKey {
                reason: "it has text, but no key that identifies its rows".to_owned(),
            };
        };
        Standing::Entity {
            key,
            reasons: entity_reasons(table),
        }
    }

    /// One name, little else, no reference of its own, and others refer to it.
    fn is_lookup(&self, table: &Table<'a>) -> bool {
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
            && self.joins_from(&profile.table).next().is_none()
    }

    /// The join to the table whose documents hold this table's rows, if its name or its key says so.
    fn owner(&self, table: &Table<'a>) -> Option<&'a Join> {
        let name = words(&table.profile.table.name);
        let joins: Vec<&'a Join> = self.joins_from(&table.profile.table).collect();
        let last = name.last().map(|word| singular(word));
        let detail = last.is_some_and(|word| DETAIL_WORDS.contains(&word.as_str()));
        let links = !table.has_text() && joins.len() >= 2;
        let part = detail || (links && is_junction(table, &joins));
        if !part {
            return None;
        }
        let first = name.first().map(|word| singular(word)).unwrap_or_default();
        let related = |join: &&&Join| {
            let owner = singular_words(&join.to.name);
            name.len() > owner.len() && name.starts_with(&owner) || owner.last() == Some(&first)
        };
        if let Some(join) = joins.iter().find(related) {
            return Some(join);
        }
        // `comments` belong to what is commented on, not to the person who wrote them.
        let things: Vec<&&Join> = joins
            .iter()
            .filter(|join| self.table(&join.to).is_some_and(|to| !to.is_contact()))
            .collect();
        match things.as_slice() {
            [join] if name.len() == 1 => Some(join),
            [..] if links => things
                .into_iter()
                .find(|join| join.from_columns.first() == table.profile.primary_key.first())
                .copied(),
            [..] => None,
        }
    }
}

/// Every key column refers to another table.
fn is_junction(table: &Table<'_>, joins: &[&Join]) -> bool {
    let key = &table.profile.primary_key;
    key.len() >= 2
        && key
            .iter()
            .all(|column| joins.iter().any(|join| join.from_columns.contains(column)))
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
