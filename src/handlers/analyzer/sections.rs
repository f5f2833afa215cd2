//! The document, the joins and the metadata of an entity.

use std::collections::{BTreeMap, BTreeSet};

use super::roles::{Assessed, Role};
use super::tables::{Schema, Standing, Table};
use crate::error::Result;
use crate::handlers::normalize_schema::names::{
    folded, humanized, sentence, singular_words, stem, words,
};
use crate::model::analysis::TemplateSection;
use crate::model::metadata::{DataType, Dialect, TableRef};
use crate::model::plan::{
    ColumnPair, EntityPlan, FieldSource, MetadataField, ParentJoin, PlanColumn, Section,
};
use crate::model::schema_context::{Join, JoinOrigin};

/// Parents of a root, direct ones and theirs.
const MOST_PARENTS: usize = 8;
/// Metadata fields of an entity.
const MOST_METADATA: usize = 32;
/// A metadata value is short.
const MOST_METADATA_CHARS: f64 = 40.0;
/// So few names are a handful.
const HANDFUL: u64 = 10;
/// A table with at most so many rows is a list of categories.
const CATEGORY_ROWS: u64 = 1000;

/// Gives the plan of an entity; with a template, its parts are those of the template.
///
/// # Errors
/// The template names something that is not there.
pub(super) fn entity(
    schema: &Schema<'_>,
    standings: &[Standing<'_>],
    table: &Table<'_>,
    (key, reasons): (&[PlanColumn], &[String]),
    template: Option<&[TemplateSection]>,
) -> Result<EntityPlan> {
    let mut draft = Draft {
        schema,
        root: table,
        aliases: 0,
        parents: Vec::new(),
        sections: Vec::new(),
        metadata: Vec::new(),
        labels: BTreeSet::new(),
    };
    draft.add_fields(Role::Label);
    draft.add_fields(Role::Category);
    draft.add_root_metadata(key);
    draft.add_parents();
    draft.add_fields(Role::Prose);
    // No table is a part of a keyless one: see `Schema::standings`.
    draft.add_children(standings);
    if let Some(template) = template {
        draft.sections.clear();
        draft.labels.clear();
        for section in template {
            draft.add_templated(section)?;
        }
        draft.drop_unused_parents();
    }
    let row = if key.is_empty() {
        draft.row()
    } else {
        Vec::new()
    };
    Ok(EntityPlan {
        name: name(schema, &table.profile.table),
        root: table.profile.table.clone(),
        key: key.to_vec(),
        row,
        key_in_byte_order: key.iter().all(|column| {
            column.data_type != DataType::Text
                || table
                    .profile_of(&column.name)
                    .is_some_and(|profile| profile.byte_order)
        }),
        row_count: table.profile.row_count,
        filter: Vec::new(),
        parents: draft.parents,
        sections: draft.sections,
        metadata: draft.metadata,
        reasons: reasons.to_vec(),
    })
}

/// The table's name, with the schema where another schema has one of the same name.
fn name(schema: &Schema<'_>, table: &TableRef) -> String {
    let same = schema
        .tables
        .iter()
        .filter(|other| other.profile.table.name == table.name)
        .count();
    if same > 1 {
        table.to_string()
    } else {
        table.name.clone()
    }
}

/// Gives the columns that stand in some document's text.
pub(super) fn chosen(entities: &[EntityPlan]) -> BTreeSet<(&TableRef, &str)> {
    let mut chosen = BTreeSet::new();
    for entity in entities {
        let mut aliases: BTreeMap<&str, &TableRef> = BTreeMap::from([("r", &entity.root)]);
        for parent in &entity.parents {
            aliases.insert(&parent.alias, &parent.table);
        }
        for section in &entity.sections {
            let sources = match section {
                Section::Field { source, .. } => std::slice::from_ref(source),
                Section::Children {
                    table,
                    parents,
                    columns,
                    ..
                } => {
                    aliases.insert("c", table);
                    for parent in parents {
                        aliases.insert(&parent.alias, &parent.table);
                    }
                    columns.as_slice()
                }
            };
            for source in sources {
                if let Some(table) = aliases.get(source.alias.as_str()) {
                    chosen.insert((*table, source.column.as_str()));
                }
            }
        }
    }
    chosen
}

pub(super) struct Draft<'a> {
    pub(super) schema: &'a Schema<'a>,
    pub(super) root: &'a Table<'a>,
    aliases: usize,
    pub(super) parents: Vec<ParentJoin>,
    pub(super) sections: Vec<Section>,
    pub(super) metadata: Vec<MetadataField>,
    labels: BTreeSet<String>,
}

impl<'a> Draft<'a> {
    pub(super) fn alias(&mut self) -> String {
        self.aliases += 1;
        format!("p{}", self.aliases)
    }

    /// The columns that tell rows apart where there is no key: all that the documents are made of or may come to be made of, and what else
    /// may be looked at.
    fn row(&self) -> Vec<PlanColumn> {
        let fields = self.sections.iter().filter_map(|section| match section {
            Section::Field { source, .. } => Some(source),
            Section::Children { .. } => None,
        });
        let sources = fields.chain(self.metadata.iter().map(|field| &field.source));
        let joins: Vec<&Join> = self.schema.joins_from(&self.root.profile.table).collect();
        let joined = joins.iter().flat_map(|join| &join.from_columns);
        let used: BTreeSet<&str> = sources
            .filter(|source| source.alias == "r")
            .map(|source| &source.column)
            .chain(joined)
            .map(String::as_str)
            .collect();
        let dialect = self.schema.context.dialect;
        self.root
            .columns
            .iter()
            .filter(|column| {
                used.contains(column.column.name.as_str())
                    || column.tells_rows_apart() && has_text(column.column.data_type, dialect)
            })
            .map(|column| PlanColumn {
                name: column.column.name.clone(),
                data_type: column.column.data_type,
            })
            .collect()
    }

    fn push_field(
        &mut self,
        label: String,
        alias: &str,
        column: &Assessed<'_>,
        reasons: Vec<String>,
    ) {
        self.labels.insert(label.clone());
        self.sections.push(Section::Field {
            label,
            source: source(alias, column),
            score: column.score,
            reasons,
        });
    }

    /// The root's own texts: names in declared order, sentences best first.
    fn add_fields(&mut self, role: Role) {
        let root: &'a Table<'a> = self.root;
        let mut columns: Vec<&Assessed<'_>> = root
            .columns
            .iter()
            .filter(|column| column.role == role && (column.is_text() || column.is_topic()))
            .collect();
        if role == Role::Prose {
            columns.sort_by(|a, b| b.score.total_cmp(&a.score));
        }
        for column in columns {
            let label = humanized(&column.column.name);
            self.push_field(label, "r", column, column.reasons.clone());
        }
    }

    fn add_root_metadata(&mut self, key: &[PlanColumn]) {
        let root: &'a Table<'a> = self.root;
        for column in &root.columns {
            let in_key = key.iter().any(|part| part.name == column.column.name);
            if !in_key && is_metadata(column) {
                self.push_metadata(&column.column.name, source("r", column));
            }
        }
    }

    fn push_metadata(&mut self, name: &str, source: FieldSource) {
        if self.metadata.len() >= MOST_METADATA {
            return;
        }
        let mut unique = name.to_owned();
        let mut number = 2;
        while self.metadata.iter().any(|field| field.name == unique) {
            unique = format!("{name}_{number}");
            number += 1;
        }
        self.metadata.push(MetadataField {
            name: unique,
            source,
        });
    }

    fn add_parents(&mut self) {
        let root = self.root.profile.table.clone();
        let direct: Vec<&Join> = self.schema.joins_from(&root).collect();
        let direct_tables: BTreeSet<&TableRef> = direct.iter().map(|join| &join.to).collect();
        for join in &direct {
            let Some((alias, to)) = self.add_parent("r", join) else {
                continue;
            };
            // What a person refers to says little about the root.
            if to.is_contact() {
                continue;
            }
            let next: Vec<&Join> = self.schema.joins_from(&join.to).collect();
            for join in next {
                if join.to != root && !direct_tables.contains(&join.to) {
                    self.add_parent(&alias, join);
                }
            }
        }
    }

    /// Joins a parent if it has a name, and gives its alias.
    fn add_parent(&mut self, left: &str, join: &Join) -> Option<(String, &'a Table<'a>)> {
        let schema: &'a Schema<'a> = self.schema;
        let to = schema.table(&join.to)?;
        let names = label_columns(to);
        if names.is_empty() || self.parents.len() >= MOST_PARENTS {
            return None;
        }
        let alias = self.alias();
        self.parents.push(parent_join(&alias, left, join, to));
        let stem = stem_of(join);
        for column in names {
            let mut label = parent_label(&stem, join, column);
            if self.labels.contains(&label) {
                label = sentence(&[singular_words(&join.from.name), words(&label)].concat());
            }
            let mut reasons = vec![format!(
                "it names the row of `{}` that `{}` refers to",
                join.to, join.from
            )];
            if let JoinOrigin::Inferred { confidence, .. } = join.origin {
                reasons.push(format!("the join is inferred, confidence {confidence:.2}"));
            }
            self.push_field(label, &alias, column, reasons);
        }
        let category = to.profile.row_count <= CATEGORY_ROWS
            && !to.has_prose()
            && !to.is_contact()
            && schema.joins_from(&join.to).next().is_none();
        if let (true, Some(column)) = (category, label_columns(to).first())
            && column.column.mean_chars <= MOST_METADATA_CHARS
        {
            self.push_metadata(&stem.join("_"), source(&alias, column));
        }
        Some((alias, to))
    }

    fn add_children(&mut self, standings: &[Standing<'_>]) {
        let schema: &'a Schema<'a> = self.schema;
        for (child, standing) in schema.tables.iter().zip(standings) {
            let Standing::Part { join, key, .. } = standing else {
                continue;
            };
            if join.to == self.root.profile.table {
                self.add_child(child, join, key);
            }
        }
    }

    fn add_child(&mut self, child: &'a Table<'a>, join: &Join, key: &[PlanColumn]) {
        let mut parents = Vec::new();
        let mut columns = Vec::new();
        let other: Vec<&Join> = self.schema.joins_from(&child.profile.table).collect();
        for parent in other {
            let Some(to) = self.schema.table(&parent.to) else {
                continue;
            };
            let names = label_columns(to);
            if parent.to == join.to || to.is_contact() || names.is_empty() {
                continue;
            }
            // What lines without words say beside their key in a handful of names is a category.
            let in_key = |column: &String| key.iter().any(|part| part.name == *column);
            let handful = !child.has_text() && to.profile.row_count < HANDFUL;
            if handful && !parent.from_columns.iter().all(in_key) {
                continue;
            }
            let alias = self.alias();
            columns.extend(names.into_iter().map(|column| source(&alias, column)));
            parents.push(parent_join(&alias, "c", parent, to));
        }
        let texts = child.columns.iter().filter(|column| column.is_text());
        columns.extend(texts.map(|column| source("c", column)));
        if columns.is_empty() {
            return;
        }
        self.sections.push(Section::Children {
            label: humanized(&child.profile.table.name),
            table: child.profile.table.clone(),
            on: pairs(join),
            parents,
            columns,
            order_by: key.to_vec(),
            reasons: vec![format!(
                "the rows of `{}` belong to a row of `{}`",
                child.profile.table, join.to
            )],
        });
    }
}

/// SQLite's byte strings need not be text, and have no other form.
const fn has_text(data_type: DataType, dialect: Dialect) -> bool {
    !matches!((data_type, dialect), (DataType::Bytes, Dialect::Sqlite))
}

pub(super) fn source(alias: &str, column: &Assessed<'_>) -> FieldSource {
    FieldSource {
        alias: alias.to_owned(),
        column: column.column.name.clone(),
        data_type: column.column.data_type,
    }
}

pub(super) fn pairs(join: &Join) -> Vec<ColumnPair> {
    let columns = join.from_columns.iter().zip(&join.to_columns);
    columns
        .map(|(from, to)| ColumnPair {
            from: from.clone(),
            to: to.clone(),
        })
        .collect()
}

pub(super) fn parent_join(alias: &str, left: &str, join: &Join, to: &Table<'_>) -> ParentJoin {
    ParentJoin {
        alias: alias.to_owned(),
        left: left.to_owned(),
        table: join.to.clone(),
        on: pairs(join),
        unique_key: to
            .profile
            .unique_key_in(&join.to_columns)
            .cloned()
            .unwrap_or_default(),
    }
}

/// What the referring side calls the row: `customer_id` gives `customer`.
pub(super) fn stem_of(join: &Join) -> Vec<String> {
    match join.from_columns.as_slice() {
        [column] => {
            let stem = stem(column);
            if stem == ["id"] {
                singular_words(&join.to.name)
            } else {
                stem
            }
        }
        _ => singular_words(&join.to.name),
    }
}

/// `Customer` for `customers.name`, `Customer first name` for `customers.first_name`.
pub(super) fn parent_label(stem: &[String], join: &Join, column: &Assessed<'_>) -> String {
    let table = singular_words(&join.to.name);
    let mut own = words(&column.column.name);
    own.retain(|word| !table.contains(word) && !stem.contains(word));
    let plain = own
        .iter()
        .all(|word| PLAIN_LABELS.contains(&folded(word).as_str()) || word == "full");
    if plain {
        sentence(stem)
    } else {
        sentence(&[stem, &own].concat())
    }
}

/// What rows are called by, the plainest first.
const PLAIN_LABELS: &[&str] = &[
    "name",
    "title",
    "label",
    "subject",
    "bezeichnung",
    "titel",
    "betreff",
    "nombre",
    "titulo",
    "denominacion",
    "asunto",
];
/// First and last names.
const NAME_PAIRS: &[(&[&str], &[&str])] = &[
    (&["first", "name"], &["last", "name"]),
    (&["firstname"], &["lastname"]),
    (&["vorname"], &["nachname"]),
    (&["nombre"], &["apellidos"]),
    (&["nombre"], &["apellido"]),
    (&["given", "name"], &["family", "name"]),
];

/// The columns that say what a row is called: first and last name, `name` or `title`, else the best one.
fn label_columns<'t, 'a>(table: &'t Table<'a>) -> Vec<&'t Assessed<'a>> {
    if !table.has_labels() {
        return Vec::new();
    }
    let of_table: Vec<String> = singular_words(&table.profile.table.name);
    let named = |parts: &[&str]| {
        table.columns.iter().find(|column| {
            let mut own = column.name.words().to_vec();
            if own.len() > parts.len() {
                own.retain(|word| !of_table.contains(word));
            }
            column.is_named_label() && own == parts
        })
    };
    for (first, last) in NAME_PAIRS {
        if let (Some(first), Some(last)) = (named(first), named(last)) {
            return vec![first, last];
        }
    }
    for plain in PLAIN_LABELS {
        if let Some(column) = named(&[plain]) {
            return vec![column];
        }
    }
    let best = table
        .columns
        .iter()
        .filter(|column| column.role == Role::Label && column.is_text())
        .reduce(|best, column| {
            if column.score > best.score {
                column
            } else {
                best
            }
        });
    best.into_iter().collect()
}

/// Short typed values.
fn is_metadata(column: &Assessed<'_>) -> bool {
    let profile = column.column;
    let typed = match profile.data_type {
        DataType::Integer
        | DataType::Decimal
        | DataType::Float
        | DataType::Boolean
        | DataType::Date
        | DataType::Time
        | DataType::Timestamp
        | DataType::Uuid
        | DataType::Enum => true,
        DataType::Text => profile.mean_chars <= MOST_METADATA_CHARS,
        DataType::Interval
        | DataType::Json
        | DataType::Bytes
        | DataType::Array
        | DataType::Other => false,
    };
    let seen = profile.samples == 0 || profile.null_ratio < 1.0;
    typed && seen && matches!(column.role, Role::Fact | Role::Category)
}
