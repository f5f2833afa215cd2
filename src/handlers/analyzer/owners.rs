//! Which table's documents hold another table's rows.

use super::tables::{Schema, Standing, Table};
use super::words;
use crate::handlers::normalize_schema::names::{same, singular, singular_words, words as split};
use crate::model::schema_context::{Cardinality, Join};

/// Numbers of lines repeat from row to row of the owner.
const LINE_NUMBERS: f64 = 0.5;

/// How a table's rows depend on another table's.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Dependence {
    /// The owner's key and a number, or a language.
    Lines,
    /// At most one row for each of the owner's.
    Extension,
    /// A pair of references.
    Pair,
    /// Its name says so: comments, notes.
    Detail,
    /// Nothing but names, of one thing only, and nobody refers to it: photographs with captions.
    Captions,
}

impl<'a> Schema<'a> {
    /// The join to the entity whose documents hold this table's rows, and why.
    pub(super) fn owner(
        &self,
        table: &Table<'a>,
        standings: &[Standing<'a>],
    ) -> Option<(&'a Join, Dependence)> {
        let entity = |join: &&'a Join| self.is_entity(standings, &join.to);
        if let Some(join) = self.lines_of(table).filter(entity) {
            return Some((join, Dependence::Lines));
        }
        let joins: Vec<&'a Join> = self.joins_from(&table.profile.table).collect();
        if is_junction(table, &joins) {
            return self
                .side(table, &joins, standings)
                .map(|join| (join, Dependence::Pair));
        }
        let extends = |join: &&&'a Join| {
            join.cardinality == Cardinality::OneToOne
                && entity(join)
                && self
                    .table(&join.to)
                    .is_some_and(|to| to.has_prose() || !to.is_contact())
        };
        if let Some(join) = joins.iter().find(extends) {
            return Some((join, Dependence::Extension));
        }
        if let Some(join) = self.commented(table, &joins).filter(entity) {
            return Some((join, Dependence::Detail));
        }
        self.captioned(table, &joins)
            .filter(entity)
            .map(|join| (join, Dependence::Captions))
    }

    /// The one thing that a table without sentences names parts of.
    fn captioned(&self, table: &Table<'a>, joins: &[&'a Join]) -> Option<&'a Join> {
        let referred = self
            .context
            .joins
            .iter()
            .any(|join| join.to == table.profile.table && join.from != table.profile.table);
        if referred || table.has_prose() || !table.has_text() || table.is_contact() {
            return None;
        }
        let mut things = joins.iter().filter(|join| {
            self.table(&join.to)
                .is_some_and(|to| !to.is_contact() && !self.is_lookup(to))
        });
        let thing = things.next()?;
        things.next().is_none().then_some(*thing)
    }

    /// The owner of lines: the table whose key is a part of this table's key, beside a number that repeats.
    pub(super) fn lines_of(&self, table: &Table<'a>) -> Option<&'a Join> {
        let key = &table.profile.primary_key;
        let joins: Vec<&'a Join> = self.joins_from(&table.profile.table).collect();
        let in_key = |join: &&'a Join| join.from_columns.iter().all(|column| key.contains(column));
        let mut owners = joins.iter().copied().filter(in_key);
        let owner = owners.next()?;
        let owner = owners.fold(owner, |a, b| {
            if b.from_columns.len() > a.from_columns.len() {
                b
            } else {
                a
            }
        });
        let rest: Vec<&String> = key
            .iter()
            .filter(|column| !owner.from_columns.contains(column))
            .collect();
        let numbers = rest.iter().all(|column| {
            let refers = joins.iter().any(|join| join.from_columns.contains(column));
            let profile = table.profile_of(column);
            let repeats =
                profile.is_some_and(|c| c.samples < 20 || c.distinct_ratio < LINE_NUMBERS);
            repeats && !refers
        });
        (!rest.is_empty() && numbers).then_some(owner)
    }

    /// The side of a table of pairs whose documents hold the pairs: an entity, the one that the name begins with, the first one.
    fn side(
        &self,
        table: &Table<'a>,
        joins: &[&'a Join],
        standings: &[Standing<'a>],
    ) -> Option<&'a Join> {
        let mut sides: Vec<&'a Join> = joins
            .iter()
            .copied()
            .filter(|join| self.is_entity(standings, &join.to))
            .collect();
        let things = sides
            .iter()
            .filter(|join| self.table(&join.to).is_some_and(|to| !to.is_contact()));
        if things.count() > 0 {
            sides.retain(|join| self.table(&join.to).is_some_and(|to| !to.is_contact()));
        }
        let first = table.profile.primary_key.first();
        let named = sides.iter().find(|join| is_named_after(table, join));
        let keyed = sides.iter().find(|join| join.from_columns.first() == first);
        named.or(keyed).or(sides.first()).copied()
    }

    /// What a table of comments, notes, items is about: what its name begins with, or the only thing that it refers to.
    fn commented(&self, table: &Table<'a>, joins: &[&'a Join]) -> Option<&'a Join> {
        let detail = table.name.ends_in(&words::DETAILS)
            || table.name.begins_in(&words::DETAILS)
            || table.name.ends_with(&words::DETAIL_ENDS);
        if !detail {
            return None;
        }
        if let Some(join) = joins.iter().find(|join| is_named_after(table, join)) {
            return Some(join);
        }
        // `comments` belong to what is commented on, not to the person who wrote them.
        let things: Vec<&&'a Join> = joins
            .iter()
            .filter(|join| self.table(&join.to).is_some_and(|to| !to.is_contact()))
            .collect();
        match things.as_slice() {
            [join] => Some(join),
            [..] => None,
        }
    }
}

/// Whether the table's name begins, or in Spanish ends, with the other one's: `order_lines`, `notas_de_pedido`.
fn is_named_after(table: &Table<'_>, join: &Join) -> bool {
    let name = split(&table.profile.table.name);
    let owner = singular_words(&join.to.name);
    let begins = name.len() > owner.len() && name.iter().zip(&owner).all(|(a, b)| same(a, b));
    let last = owner.last();
    let either = [name.first(), name.last(), name.get(1)];
    begins
        || last.is_some_and(|last| {
            name.len() > 1
                && either
                    .iter()
                    .flatten()
                    .any(|word| same(word, last) || singular(word) == *last)
        })
}

/// Every key column refers to another table, or the table has nothing but references.
fn is_junction(table: &Table<'_>, joins: &[&Join]) -> bool {
    let key = &table.profile.primary_key;
    let refers = |column: &String| joins.iter().any(|join| join.from_columns.contains(column));
    let pairs = key.len() >= 2 && joins.len() >= 2 && key.iter().all(refers);
    let only = joins.len() == 2
        && !table.has_text()
        && table
            .profile
            .columns
            .iter()
            .all(|column| refers(&column.name) || key.contains(&column.name));
    pairs || only
}
