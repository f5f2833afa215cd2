//! The join graph. A false join puts wrong facts into documents, so a guess needs the name, the type and the values.
//!
//! 1. Declared foreign keys come as they are.
//! 2. Each other column meets the keys that its name may mean ([`naming`]), or that hold its values where these are no accident
//!    ([`values`]): padded codes, UUIDs, sparse numbers. Both weights make the confidence.
//! 3. Of several tables the one with the higher confidence is taken; where two are as good, none is.
//! 4. Keys of several columns are met by columns of the same names ([`composite`]).
//!
//! No join: `owner_id` beside an `owner_type` (it means a row of any table); two columns of different types; a target that is no
//! unique key; numbers without a name, because 1 to n are among the keys of every table.

use std::collections::{BTreeMap, HashMap, HashSet};

use super::names::{same, same_words};

use crate::model::metadata::{DataType, TableMetadata, TableRef};
use crate::model::schema_context::{Cardinality, Join, JoinOrigin, Junction};

mod composite;
mod naming;
mod targets;
mod values;

use naming::{ColumnName, Pointer};
use targets::{Names, Target, Targets};
use values::{AllValues, Contained, Values, contained};

/// Below this confidence a join is not drawn.
const THRESHOLD: f64 = 0.695;
/// Two tables whose confidences are nearer than this are as good.
const NEAR: f64 = 0.015;
/// Without a name, at least so many distinct values have to be contained, and by no chance above this one.
const NAMELESS_VALUES: usize = 5;
const NAMELESS_CHANCE: f64 = -6.0;
/// Numbers that are written as codes need so many rows to tell where they end.
const NAMELESS_ROWS: usize = 40;
/// Numbers of this chance or a higher one are among the keys of many tables.
const CHANCE: f64 = -2.0;
/// If only a part of a name says which table is meant, they have to take up so much of its keys' range, in so many rows or more.
const COVERED: f64 = 0.5;
const FEW_ROWS: usize = 20;
/// Values that take up so much of the keys' range end where the keys end.
const FITS: f64 = 0.85;

pub(super) fn graph(tables: &[TableMetadata]) -> Vec<Join> {
    let mut joins = declared(tables);
    let known: HashSet<(&TableRef, &String)> = tables
        .iter()
        .flat_map(|table| {
            let columns = table.foreign_keys.iter().flat_map(|key| &key.columns);
            columns.map(|column| (&table.table, column))
        })
        .collect();
    let names = Names::new(tables);
    let search = Search {
        tables,
        names: &names,
        values: AllValues::new(tables),
        targets: Targets::new(tables, &names),
    };
    let mut found = Vec::new();
    for (at, table) in tables.iter().enumerate() {
        if !table.kind.is_view() {
            let free =
                |column: usize| !known.contains(&(&table.table, &table.columns[column].name));
            let columns = (0..table.columns.len()).filter(|column| free(*column));
            found.extend(columns.filter_map(|column| search.join(at, column)));
        }
    }
    composite::add(tables, &known, &mut found);
    joins.extend(found);
    joins.sort_by(|a, b| (&a.from, &a.from_columns, &a.to).cmp(&(&b.from, &b.from_columns, &b.to)));
    joins
}

/// Foreign keys whose other side is among the tables and is unique there.
fn declared(tables: &[TableMetadata]) -> Vec<Join> {
    let by_name: HashMap<&TableRef, &TableMetadata> =
        tables.iter().map(|table| (&table.table, table)).collect();
    let mut seen = HashSet::new();
    let mut joins: Vec<Join> = Vec::new();
    for table in tables {
        for key in &table.foreign_keys {
            let target = by_name.get(&key.to);
            if !target.is_some_and(|target| is_unique(target, &key.to_columns))
                || !seen.insert((&table.table, &key.columns, &key.to))
            {
                continue;
            }
            joins.push(Join {
                from: table.table.clone(),
                from_columns: key.columns.clone(),
                to: key.to.clone(),
                to_columns: key.to_columns.clone(),
                origin: JoinOrigin::Declared {
                    constraint: key.name.clone(),
                },
                cardinality: cardinality(table, &key.columns),
            });
        }
    }
    joins
}

/// Whether the columns, in any order, are a unique key or have one among them.
fn is_unique(table: &TableMetadata, columns: &[String]) -> bool {
    std::iter::once(&table.primary_key)
        .chain(&table.unique_keys)
        .any(|key| !key.is_empty() && key.iter().all(|column| columns.contains(column)))
}

fn cardinality(table: &TableMetadata, columns: &[String]) -> Cardinality {
    if is_unique(table, columns) {
        Cardinality::OneToOne
    } else {
        Cardinality::ManyToOne
    }
}

/// Tables of pairs: what they refer to meets many to many. A pair is a unique key, or the table has nothing but references.
pub(super) fn junctions(tables: &[TableMetadata], joins: &[Join]) -> Vec<Junction> {
    let mut junctions = Vec::new();
    for table in tables {
        let own: Vec<&Join> = joins
            .iter()
            .filter(|join| join.from == table.table && join.cardinality == Cardinality::ManyToOne)
            .collect();
        for (index, left) in own.iter().enumerate() {
            for right in &own[index + 1..] {
                let pair = [left.from_columns.as_slice(), &right.from_columns].concat();
                let keys = std::iter::once(&table.primary_key).chain(&table.unique_keys);
                let unique_pairs = keys
                    .into_iter()
                    .any(|key| !key.is_empty() && key.iter().all(|column| pair.contains(column)));
                let only_pairs = own.len() == 2
                    && table.columns.iter().all(|column| {
                        pair.contains(&column.name) || table.primary_key.contains(&column.name)
                    });
                if unique_pairs || only_pairs {
                    junctions.push(Junction {
                        through: table.table.clone(),
                        left: left.to.clone(),
                        left_columns: left.from_columns.clone(),
                        right: right.to.clone(),
                        right_columns: right.from_columns.clone(),
                        unique_pairs,
                    });
                }
            }
        }
    }
    junctions
}

/// A table that a column may refer to, with what speaks for it.
struct Candidate<'t, 'a> {
    target: &'t Target<'a>,
    pointer: Pointer,
    confidence: f64,
    found: Contained,
}

struct Search<'a> {
    tables: &'a [TableMetadata],
    names: &'a Names,
    values: AllValues<'a>,
    targets: Targets<'a>,
}

impl<'a> Search<'a> {
    fn join(&self, table: usize, column: usize) -> Option<Join> {
        let (from, meta) = (&self.tables[table], &self.tables[table].columns[column]);
        if !refers(meta.data_type) || self.values.of(table, column).is_text {
            return None;
        }
        let name = self.names.column(table, column);
        if self.is_polymorphic(table, name) {
            return None;
        }
        let mut candidates = self.named(table, column, name);
        if candidates.is_empty() {
            candidates = self.nameless(table, column);
        }
        let best = self.best(table, candidates)?;
        let (to, key) = (best.target.table, best.target.key);
        let mut evidence = vec![describe(&meta.name, to, &key.name, best.pointer)];
        evidence.push(format!("both columns are of type {:?}", meta.data_type).to_lowercase());
        evidence.push(best.found.evidence.clone());
        if best.found.log_chance < NAMELESS_CHANCE {
            evidence.push("so many values of this form are not contained by chance".to_owned());
        }
        Some(Join {
            from: from.table.clone(),
            from_columns: vec![meta.name.clone()],
            to: to.table.clone(),
            to_columns: vec![key.name.clone()],
            origin: JoinOrigin::Inferred {
                confidence: (best.confidence.min(0.99) * 100.0).round() / 100.0,
                evidence,
            },
            cardinality: cardinality(from, std::slice::from_ref(&meta.name)),
        })
    }

    /// `owner_id` beside `owner_type`: unless the name is a table's and the types are not names of tables.
    fn is_polymorphic(&self, table: usize, name: &ColumnName) -> bool {
        let columns = &self.tables[table].columns;
        let of_type = (0..columns.len()).find(|&other| {
            matches!(columns[other].data_type, DataType::Text | DataType::Enum)
                && self.names.column(table, other).is_type_of(name)
        });
        let Some(of_type) = of_type else { return false };
        let kinds = self.values.of(table, of_type);
        let tables = kinds
            .distinct
            .iter()
            .filter(|kind| self.targets.is_table(kind));
        tables.count() * 2 >= kinds.distinct.len() || !self.targets.is_table_words(&name.stem)
    }

    /// The tables that the name may mean and that hold the values.
    fn named(&self, table: usize, column: usize, name: &ColumnName) -> Vec<Candidate<'_, 'a>> {
        let mut candidates: BTreeMap<usize, Candidate<'_, 'a>> = BTreeMap::new();
        let own = self.names.readings(table);
        for (target, pointer) in self.targets.possible(name, own) {
            if self.may_mean(table, column, target, pointer) {
                self.add(&mut candidates, (table, column), target, pointer);
            }
        }
        let named = |candidates: &BTreeMap<usize, Candidate<'_, 'a>>| {
            candidates
                .values()
                .any(|found| found.confidence >= THRESHOLD)
        };
        if !named(&candidates) && name.is_parent_role() {
            for target in self.targets.keys_of(table) {
                if !self.is_mirror(table, column, target.column) {
                    self.add(&mut candidates, (table, column), target, Pointer::Parent);
                }
            }
        }
        if !named(&candidates) && name.is_person_role() {
            return self.person(table, column, name).into_iter().collect();
        }
        candidates
            .into_values()
            .filter(|found| found.confidence >= THRESHOLD)
            .collect()
    }

    /// Whether most rows would refer to themselves: the column says the key again.
    fn is_mirror(&self, table: usize, column: usize, key: usize) -> bool {
        let rows = &self.tables[table].sample_rows;
        let own = rows.iter().filter(|row| {
            row.get(column)
                .is_some_and(|value| !value.is_null() && row.get(key) == Some(value))
        });
        own.count() * 2 > rows.len()
    }

    /// A column does not refer to itself, its table's own key to no table of the same name, and a row of its own table only by a role.
    fn may_mean(&self, table: usize, column: usize, target: &Target<'_>, pointer: Pointer) -> bool {
        let from = &self.tables[table];
        let own_key =
            from.primary_key.len() == 1 && from.primary_key[0] == from.columns[column].name;
        if target.at == table {
            return target.column != column
                && !own_key
                && matches!(pointer, Pointer::Role | Pointer::Parent);
        }
        if !own_key {
            return true;
        }
        let name = self.names.column(table, column);
        if name.is_generic()
            || self
                .names
                .readings(table)
                .iter()
                .any(|reading| same_words(&name.stem, reading))
        {
            return false;
        }
        // A key of the same name refers to the table with more rows.
        match pointer {
            Pointer::Table => true,
            Pointer::Key => {
                let own = self.values.of(table, column);
                let keys = self.values.of(target.at, target.column);
                own.within(keys) && !keys.within(own)
            }
            Pointer::Role
            | Pointer::Parent
            | Pointer::End
            | Pointer::Short
            | Pointer::Person
            | Pointer::Bare
            | Pointer::Nothing => false,
        }
    }

    fn add<'t>(
        &'t self,
        candidates: &mut BTreeMap<usize, Candidate<'t, 'a>>,
        (table, column): (usize, usize),
        target: &'t Target<'a>,
        pointer: Pointer,
    ) {
        let meta = &self.tables[table].columns[column];
        if meta.data_type != target.key.data_type || (table, column) == (target.at, target.column) {
            return;
        }
        let from = self.values.of(table, column);
        let keys = self.values.of(target.at, target.column);
        let Some(found) = contained(from, keys).filter(|_| !keys.is_text) else {
            return;
        };
        let scattered =
            found.log_chance > CHANCE && found.coverage < COVERED && from.filled >= FEW_ROWS;
        if (found.orphans && !pointer.is_clear()) || (pointer.is_weak() && scattered) {
            return;
        }
        let confidence = pointer.weight() + found.weight + self.kinship(table, target);
        let better = candidates
            .get(&target.at)
            .is_none_or(|known| known.confidence < confidence);
        if better {
            candidates.insert(
                target.at,
                Candidate {
                    target,
                    pointer,
                    confidence,
                    found,
                },
            );
        }
    }

    /// Tables that share words belong together: `sales_order_lines` and `sales_orders`, `articles` and `article_categories`.
    fn kinship(&self, table: usize, target: &Target<'_>) -> f64 {
        let own = &self.names.readings(table)[0];
        let other = &target.readings[0];
        let first = own.len() > 1
            && other.len() > 1
            && own[0] == other[0]
            && !self.names.is_prefix(&own[0]);
        let about = other.len() > 1
            && own
                .last()
                .is_some_and(|last| other.iter().any(|word| same(word, last)));
        if first || about { 0.02 } else { 0.0 }
    }

    /// The table of people that is meant: whose keys end where the values end, and who fit the role; none where two are as good.
    fn person(&self, table: usize, column: usize, name: &ColumnName) -> Option<Candidate<'_, 'a>> {
        let own = self.names.people(table).is_some();
        let mut candidates = BTreeMap::new();
        for target in self
            .targets
            .all()
            .filter(|target| self.names.people(target.at).is_some())
        {
            // In a table of people, another row of it is meant, as a manager.
            if !own || target.at == table {
                self.add(&mut candidates, (table, column), target, Pointer::Person);
            }
        }
        let rank = |found: &Candidate<'_, '_>| {
            let people = self.names.people(found.target.at);
            let fits = found.found.coverage >= FITS;
            (
                !fits,
                people.map(|people| people.rank(name.is_record_role())),
            )
        };
        let mut candidates: Vec<Candidate<'_, 'a>> = candidates
            .into_values()
            .filter(|found| found.confidence >= THRESHOLD)
            .collect();
        candidates.sort_by(|a, b| {
            rank(a)
                .cmp(&rank(b))
                .then(b.found.coverage.total_cmp(&a.found.coverage))
        });
        let mut candidates = candidates.into_iter();
        let best = candidates.next()?;
        match candidates.next() {
            Some(next)
                if rank(&best) == rank(&next)
                    && best.found.coverage - next.found.coverage < 0.1 =>
            {
                None
            }
            Some(_) | None => Some(best),
        }
    }

    /// The one table that holds all the values, where that is no accident.
    fn nameless(&self, table: usize, column: usize) -> Vec<Candidate<'_, 'a>> {
        let from = &self.tables[table];
        let meta = &from.columns[column];
        let values = self.values.of(table, column);
        let text = matches!(meta.data_type, DataType::Text | DataType::Uuid);
        if !text
            || values.distinct.len() < NAMELESS_VALUES
            || is_unique(from, std::slice::from_ref(&meta.name))
        {
            return Vec::new();
        }
        let mut candidates = BTreeMap::new();
        for target in self.targets.holding(&self.values, values) {
            if target.at != table && target.key.data_type == meta.data_type {
                self.add(&mut candidates, (table, column), target, Pointer::Nothing);
            }
        }
        let mut candidates: Vec<Candidate<'_, 'a>> = candidates.into_values().collect();
        // Numbers in a row are among the keys of many tables: those are meant whose keys end where the values end.
        let fitting = candidates
            .iter()
            .filter(|found| found.found.coverage >= FITS)
            .count();
        let many = values.filled >= NAMELESS_ROWS;
        candidates.retain_mut(|found| {
            let rare = found.found.log_chance <= NAMELESS_CHANCE;
            let fits = many && fitting == 1 && found.found.coverage >= FITS && is_coded(values);
            if fits && !rare {
                found.confidence = THRESHOLD + 0.005;
            }
            (rare || fits) && found.confidence >= THRESHOLD
        });
        candidates
    }

    /// The best candidate; none where two are as good.
    fn best<'t>(
        &self,
        table: usize,
        mut candidates: Vec<Candidate<'t, 'a>>,
    ) -> Option<Candidate<'t, 'a>> {
        // The same name in another schema is another thing, if this schema has one.
        let schema = &self.tables[table].table.schema;
        if candidates
            .iter()
            .any(|found| found.target.table.table.schema == *schema)
        {
            candidates.retain(|found| found.target.table.table.schema == *schema);
        }
        candidates.sort_by(|a, b| {
            b.confidence
                .total_cmp(&a.confidence)
                .then(a.pointer.cmp(&b.pointer))
                .then(b.found.coverage.total_cmp(&a.found.coverage))
        });
        let mut candidates = candidates.into_iter();
        let best = candidates.next()?;
        match candidates.next() {
            Some(next)
                if best.confidence - next.confidence < NEAR && best.pointer >= next.pointer =>
            {
                // Where one table's keys are all keys of the other, the other one is meant.
                let keys = |found: &Candidate<'_, '_>| {
                    self.values.of(found.target.at, found.target.column)
                };
                let (of_best, of_next) = (keys(&best), keys(&next));
                match (of_best.within(of_next), of_next.within(of_best)) {
                    (false, true) => Some(best),
                    (true, false) => Some(next),
                    (true, true) | (false, false) => None,
                }
            }
            Some(_) | None => Some(best),
        }
    }
}

/// Whether texts are codes of one length, as those that are padded with zeros or begin with letters.
fn is_coded(values: &Values) -> bool {
    let mut lengths = values.distinct.iter().map(String::len);
    let first = lengths.next().unwrap_or(0);
    first >= 6 && lengths.all(|length| length == first)
}

/// Whether columns of this type are keys and references.
const fn refers(data_type: DataType) -> bool {
    matches!(
        data_type,
        DataType::Integer | DataType::Decimal | DataType::Text | DataType::Uuid
    )
}

fn describe(column: &str, to: &TableMetadata, key: &str, pointer: Pointer) -> String {
    let table = &to.table;
    match pointer {
        Pointer::Table => format!("`{column}` names `{table}` and its key `{key}`"),
        Pointer::Key => format!("`{column}` has the name of the key of `{table}`"),
        Pointer::Role => format!("`{column}` names `{table}` in a role"),
        Pointer::Parent => format!("`{column}` names another row of `{table}`"),
        Pointer::End => format!("`{column}` names the last word of `{table}`"),
        Pointer::Short => format!("`{column}` is short for `{table}`"),
        Pointer::Person => format!("`{column}` says what a person is, and `{table}` holds people"),
        Pointer::Bare => format!("`{column}` names `{table}`"),
        Pointer::Nothing => {
            format!("no other key than `{table}`.`{key}` holds the values of `{column}`")
        }
    }
}

#[cfg(test)]
mod tests {
    use serde_json::Value;

    use super::*;
    use crate::model::metadata::{ColumnMetadata, Deferrability, ReferentialAction, TableKind};

    fn table(name: &str, columns: &[&str], rows: &[&[i64]]) -> TableMetadata {
        TableMetadata {
            table: TableRef {
                schema: None,
                name: name.to_owned(),
            },
            kind: TableKind::Table,
            comment: None,
            columns: columns
                .iter()
                .map(|name| ColumnMetadata {
                    name: (*name).to_owned(),
                    declared_type: "INTEGER".to_owned(),
                    domain_base: None,
                    data_type: DataType::Integer,
                    nullable: false,
                    default: None,
                    generated: false,
                    identity: None,
                    collation: None,
                    byte_order: false,
                    comment: None,
                    labels: Vec::new(),
                })
                .collect(),
            primary_key: vec![columns[0].to_owned()],
            foreign_keys: Vec::new(),
            unique_keys: Vec::new(),
            indexes: Vec::new(),
            row_count: rows.len() as u64,
            row_count_exact: true,
            size_bytes: None,
            sample_rows: rows
                .iter()
                .map(|row| row.iter().map(|&value| Value::from(value)).collect())
                .collect(),
        }
    }

    /// More tables than a common word is looked up by, all of which share one.
    #[test]
    fn a_word_that_many_tables_share_does_not_hide_which_is_meant() {
        let rows: Vec<[i64; 2]> = (1..=30).map(|id| [id, id % 20 + 1]).collect();
        let rows: Vec<&[i64]> = rows.iter().map(<[i64; 2]>::as_slice).collect();
        let mut tables = vec![table("parts", &["id"], &rows)];
        for number in 0..100 {
            let refers = format!("main_part_{}_id", number / 2);
            tables.push(table(&format!("part_{number}"), &["id", &refers], &rows));
        }
        tables.push(table("boxes", &["id", "part_id"], &rows));
        let joins = graph(&tables);
        let to: Vec<(String, String)> = joins
            .iter()
            .map(|join| (join.from_columns[0].clone(), join.to.name.clone()))
            .collect();
        assert_eq!(to.len(), 101, "{to:?}");
        for (column, table) in to {
            let meant = match column.as_str() {
                "part_id" => "parts".to_owned(),
                column => column
                    .trim_start_matches("main_")
                    .trim_end_matches("_id")
                    .to_owned(),
            };
            assert_eq!(table, meant, "{column}");
        }
    }

    #[test]
    fn infers_from_name_type_and_values() {
        let customers = table("customers", &["id"], &[&[1], &[2], &[3], &[4]]);
        let orders = table(
            "orders",
            &["id", "customer_id"],
            &[&[1, 1], &[2, 3], &[3, 4]],
        );
        let joins = graph(&[customers.clone(), orders.clone()]);
        let [join] = joins.as_slice() else {
            panic!("one join, not {joins:?}");
        };
        assert_eq!(join.to, customers.table);
        assert_eq!(join.cardinality, Cardinality::ManyToOne);
        assert!(matches!(
            &join.origin,
            JoinOrigin::Inferred { confidence, evidence } if *confidence > 0.7 && evidence.len() == 3
        ));
    }

    #[test]
    fn values_that_are_not_keys_speak_against_it() {
        let customers = table("customers", &["id"], &[&[1], &[2], &[3]]);
        let orders = table(
            "orders",
            &["id", "customer_id"],
            &[&[1, 1], &[2, 77], &[3, 2]],
        );
        assert!(graph(&[customers, orders]).is_empty());
    }

    #[test]
    fn a_name_alone_is_not_enough() {
        let customers = table("customers", &["id"], &[&[1], &[2], &[3]]);
        let orders = table("orders", &["id", "customer_id"], &[]);
        let rows = table("rows", &["id", "parent_id"], &[&[1, 1], &[2, 2], &[3, 3]]);
        assert!(graph(&[customers, orders, rows]).is_empty());
    }

    #[test]
    fn declared_keys_come_as_they_are() {
        let customers = table("customers", &["id"], &[&[1]]);
        let mut orders = table("orders", &["id", "buyer"], &[]);
        orders
            .foreign_keys
            .push(crate::model::metadata::ForeignKey {
                name: Some("fk".to_owned()),
                columns: vec!["buyer".to_owned()],
                to: customers.table.clone(),
                to_columns: vec!["id".to_owned()],
                on_delete: ReferentialAction::NoAction,
                on_update: ReferentialAction::NoAction,
                deferrable: Deferrability::NotDeferrable,
            });
        orders.unique_keys.push(vec!["buyer".to_owned()]);
        let joins = graph(&[customers, orders]);
        assert_eq!(joins.len(), 1);
        assert_eq!(joins[0].cardinality, Cardinality::OneToOne);
    }
}
