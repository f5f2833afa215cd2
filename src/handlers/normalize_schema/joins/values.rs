//! What the values say about a join: whether they are contained, and how surprising that is.
//!
//! Numbers 1 to n are contained in every other table's keys, so containment is weighed by its chance: the share of the possible
//! values that are keys, once for each distinct value that was found among them.

use std::cell::OnceCell;
use std::collections::BTreeSet;

use serde_json::Value;

use crate::handlers::normalize_schema::classes::{class_of, count};
use crate::model::metadata::{ColumnMetadata, DataType, TableMetadata};
use crate::model::schema_context::ValueClass;

/// With fewer distinct values, containment says little.
const FEW_VALUES: usize = 3;
/// The share of values without a key that a schema without foreign keys is forgiven, if there are enough to tell.
const ORPHANS: f64 = 0.05;
/// With so many distinct values, a few without a key can be told from another table's.
const MANY_VALUES: usize = 20;
/// Logarithms of a chance from which on containment is no accident.
const UNLIKELY: f64 = -2.0;
const NO_ACCIDENT: f64 = -6.0;

/// The sampled values of a column.
#[derive(Debug)]
pub(super) struct Values {
    /// Distinct, without NULL and blanks.
    pub(super) distinct: BTreeSet<String>,
    /// The same as numbers, where all of them are whole ones, or texts of one length that differ in their digits only.
    numbers: Option<Numbers>,
    /// Sampled rows with a value.
    pub(super) filled: usize,
    /// Whether every row was sampled.
    complete: bool,
    rows: u64,
    /// Whether the values are names, sentences, addresses: nothing that refers.
    pub(super) is_text: bool,
}

/// Values as numbers. Texts such as `0000100012` or `U000017` are numbers behind what all of them begin with.
#[derive(Debug, PartialEq)]
struct Numbers {
    /// The letters before the digits, and the number of digits; absent for numbers by type.
    form: Option<(String, usize)>,
    values: BTreeSet<i128>,
}

fn numbers(data_type: DataType, distinct: &BTreeSet<String>) -> Option<Numbers> {
    if matches!(data_type, DataType::Integer | DataType::Decimal) {
        let values: Option<BTreeSet<i128>> =
            distinct.iter().map(|text| text.parse().ok()).collect();
        return values.map(|values| Numbers { form: None, values });
    }
    let first = distinct.first()?;
    let letters = first.trim_end_matches(|c: char| c.is_ascii_digit());
    let digits = first.len() - letters.len();
    let values: Option<BTreeSet<i128>> = distinct
        .iter()
        .map(|text| {
            let rest = text.strip_prefix(letters)?;
            let plain = rest.len() == digits && rest.bytes().all(|byte| byte.is_ascii_digit());
            if plain { rest.parse().ok() } else { None }
        })
        .collect();
    Some(Numbers {
        form: Some((letters.to_owned(), digits)),
        values: values?,
    })
}

/// What containment says.
#[derive(Debug, Clone)]
pub(super) struct Contained {
    /// What it adds to a confidence.
    pub(super) weight: f64,
    /// The logarithm to base 10 of the chance that unrelated values are contained.
    pub(super) log_chance: f64,
    /// How much of the keys' range the values take up, 0 to 1.
    pub(super) coverage: f64,
    /// Whether a value has no key.
    pub(super) orphans: bool,
    pub(super) evidence: String,
}

/// The values of every column, each taken from the samples when it is first asked for.
pub(super) struct AllValues<'a> {
    tables: &'a [TableMetadata],
    cells: Vec<Vec<OnceCell<Values>>>,
}

impl<'a> AllValues<'a> {
    pub(super) fn new(tables: &'a [TableMetadata]) -> Self {
        let cells = tables.iter().map(|table| {
            let columns = table.columns.iter();
            columns.map(|_| OnceCell::new()).collect()
        });
        Self {
            tables,
            cells: cells.collect(),
        }
    }

    /// The values of a column of a table, both by their place.
    pub(super) fn of(&self, table: usize, column: usize) -> &Values {
        self.cells[table][column].get_or_init(|| Values::of(&self.tables[table], column))
    }
}

impl Values {
    fn of(table: &TableMetadata, column: usize) -> Self {
        let distinct: BTreeSet<String> = table
            .sample_rows
            .iter()
            .filter_map(|row| row.get(column))
            .filter_map(scalar)
            .collect();
        let meta: &ColumnMetadata = &table.columns[column];
        Self {
            numbers: numbers(meta.data_type, &distinct),
            filled: table
                .sample_rows
                .iter()
                .filter_map(|row| row.get(column))
                .filter(|value| scalar(value).is_some())
                .count(),
            complete: table.row_count_exact && table.row_count <= table.sample_rows.len() as u64,
            rows: table.row_count.max(table.sample_rows.len() as u64),
            is_text: meta.data_type == DataType::Text && is_text(&distinct),
            distinct,
        }
    }

    /// Whether every value is one of the other column's, as far as both were sampled.
    pub(super) fn within(&self, keys: &Values) -> bool {
        keys.complete && self.distinct.is_subset(&keys.distinct)
    }
}

/// A value that can refer to something.
pub(super) fn scalar(value: &Value) -> Option<String> {
    match value {
        Value::String(text) => {
            let text = text.trim_end();
            (!text.is_empty()).then(|| text.to_owned())
        }
        Value::Number(number) => Some(number.to_string()),
        Value::Null | Value::Bool(_) | Value::Array(_) | Value::Object(_) => None,
    }
}

/// Sentences, dates and contact data refer to nothing, whatever they are contained in.
fn is_text(values: &BTreeSet<String>) -> bool {
    let texts = values.iter().filter(|value| match class_of(value) {
        ValueClass::Prose
        | ValueClass::Email
        | ValueClass::Url
        | ValueClass::Phone
        | ValueClass::Address
        | ValueClass::Json
        | ValueClass::Html
        | ValueClass::Base64
        | ValueClass::Date => true,
        ValueClass::Phrase => value.split_whitespace().count() > 3,
        ValueClass::Code
        | ValueClass::Uuid
        | ValueClass::Hash
        | ValueClass::Personal
        | ValueClass::Number
        | ValueClass::Empty
        | ValueClass::Mixed => false,
    });
    texts.count() * 2 > values.len()
}

/// Compares a column's values with a key's; nothing if they speak against a join or there are none.
pub(super) fn contained(from: &Values, keys: &Values) -> Option<Contained> {
    if from.distinct.is_empty() || keys.distinct.is_empty() {
        return None;
    }
    let found = match (&from.numbers, &keys.numbers) {
        (Some(numbers), Some(key_numbers)) if numbers.form == key_numbers.form => {
            numbers_contained(numbers, key_numbers, keys)?
        }
        _ => texts_contained(from, keys)?,
    };
    Some(weighed(found, from.distinct.len()))
}

fn weighed(mut found: Contained, distinct: usize) -> Contained {
    found.weight = if distinct < FEW_VALUES {
        0.22
    } else if found.log_chance > UNLIKELY {
        0.30
    } else if found.log_chance > NO_ACCIDENT {
        0.40
    } else {
        0.47
    };
    if found.orphans {
        found.weight -= 0.08;
    }
    found
}

/// Without its few orphans: `None` if there are too many. 0 and -1 stand for nothing where they are no keys.
fn orphans(missing: usize, all: usize) -> Option<bool> {
    let few = all >= MANY_VALUES && count(missing) <= ORPHANS * count(all);
    (missing == 0 || few).then_some(missing > 0)
}

fn numbers_contained(from: &Numbers, to: &Numbers, keys: &Values) -> Option<Contained> {
    let (from, to) = (&from.values, &to.values);
    let (low, high) = (*to.first()?, *to.last()?);
    let real: Vec<i128> = from
        .iter()
        .copied()
        .filter(|number| to.contains(number) || !matches!(number, 0 | -1))
        .collect();
    let (first, last) = (*real.first()?, *real.last()?);
    let coverage = share(last - first + 1, high - low + 1);
    if keys.complete {
        let missing = real.iter().filter(|number| !to.contains(number)).count();
        let orphans = orphans(missing, real.len())?;
        let there = to.range(first.min(last)..=last).count();
        return Some(Contained {
            weight: 0.0,
            log_chance: log_chance(count(there) / float(last - first + 1), real.len()),
            coverage,
            orphans,
            evidence: format!(
                "{} of {} sampled values are among the {} keys",
                real.len() - missing,
                real.len(),
                to.len()
            ),
        });
    }
    // A sample seldom has the smallest and the largest key, and may be of one end of the table.
    let slack = (high - low) / i128::try_from(to.len()).ok()? * 6 + 1;
    let range = low - slack..=(high + slack).max(low + i128::from(keys.rows));
    let missing = real.iter().filter(|number| !range.contains(number)).count();
    let orphans = orphans(missing, real.len())?;
    #[expect(clippy::cast_precision_loss, reason = "an estimate")]
    let density = keys.rows as f64 / float(high - low + 1);
    let hits = real.iter().filter(|number| to.contains(number)).count();
    let log_chance = if density > 0.5 {
        log_chance(density, real.len())
    } else {
        hits_chance(hits, real.len(), to.len(), keys.rows, density)?
    };
    Some(Contained {
        weight: 0.0,
        log_chance,
        coverage,
        orphans,
        evidence: format!(
            "{} of {} sampled values lie in the range of the {} sampled keys, and {hits} are among them",
            real.len() - missing,
            real.len(),
            to.len()
        ),
    })
}

fn texts_contained(from: &Values, keys: &Values) -> Option<Contained> {
    let all = from.distinct.len();
    let hits = from.distinct.intersection(&keys.distinct).count();
    let density = density(&from.distinct, &keys.distinct);
    let coverage = (count(all) / count(keys.distinct.len())).min(1.0);
    if keys.complete {
        let orphans = orphans(all - hits, all)?;
        return Some(Contained {
            weight: 0.0,
            log_chance: log_chance(density, hits),
            coverage,
            orphans,
            evidence: format!(
                "{hits} of {all} sampled values are among the {} keys",
                keys.distinct.len()
            ),
        });
    }
    Some(Contained {
        weight: 0.0,
        log_chance: hits_chance(hits, all, keys.distinct.len(), keys.rows, density)?,
        coverage,
        orphans: false,
        evidence: format!(
            "{hits} of {all} sampled values are among the {} sampled keys of {}",
            keys.distinct.len(),
            keys.rows
        ),
    })
}

/// What it means that so many of a column's values were met in a sample of the keys; `None` if too few were met.
fn hits_chance(hits: usize, values: usize, sampled: usize, rows: u64, density: f64) -> Option<f64> {
    #[expect(clippy::cast_precision_loss, reason = "an estimate")]
    let share = (count(sampled) / rows as f64).min(1.0);
    let expected = count(values) * share;
    // Two and a half standard deviations: one true join in two hundred is missed.
    if count(hits) < expected - 2.5 * (expected * (1.0 - share)).sqrt() {
        return None;
    }
    Some(log_chance(density, hits))
}

fn log_chance(density: f64, values: usize) -> f64 {
    density.clamp(1e-9, 1.0).log10() * count(values)
}

/// The share of the possible texts that are keys: at each place, the characters that were seen there are possible.
fn density(from: &BTreeSet<String>, keys: &BTreeSet<String>) -> f64 {
    let mut places: Vec<BTreeSet<char>> = Vec::new();
    for text in from.iter().chain(keys) {
        for (place, c) in text.chars().enumerate() {
            if places.len() == place {
                places.push(BTreeSet::new());
            }
            places[place].insert(c);
        }
    }
    let possible = places.iter().fold(1.0, |product: f64, place| {
        (product * count(place.len())).min(1e30)
    });
    (count(keys.len()) / possible).min(1.0)
}

fn share(part: i128, whole: i128) -> f64 {
    (float(part) / float(whole.max(1))).min(1.0)
}

#[expect(clippy::cast_precision_loss, reason = "an estimate")]
fn float(number: i128) -> f64 {
    number as f64
}

#[cfg(test)]
mod tests {
    use super::*;

    fn values(texts: &[&str], rows: u64, numeric: bool) -> Values {
        let distinct: BTreeSet<String> = texts.iter().map(|text| (*text).to_owned()).collect();
        let data_type = if numeric {
            DataType::Integer
        } else {
            DataType::Text
        };
        Values {
            numbers: numbers(data_type, &distinct),
            filled: distinct.len(),
            complete: rows <= texts.len() as u64,
            rows,
            is_text: false,
            distinct,
        }
    }

    #[test]
    fn padded_texts_are_numbers() {
        let keys = values(
            &["0000100001", "0000100002", "0000100003", "0000100004"],
            4,
            false,
        );
        let found =
            contained(&values(&["0000100001", "0000100004"], 9, false), &keys).expect("contained");
        assert!(
            found.log_chance > UNLIKELY && found.coverage > 0.9,
            "{found:?}"
        );
        let other = values(&["U0001", "U0002"], 2, false);
        assert!(contained(&values(&["V0001", "V0002"], 2, false), &other).is_none());
    }

    #[test]
    fn small_numbers_are_contained_by_chance_and_codes_are_not() {
        let keys = values(&["1", "2", "3", "4", "5", "6"], 6, true);
        let found = contained(&values(&["1", "3", "6"], 9, true), &keys).expect("contained");
        assert!(
            found.log_chance > UNLIKELY && found.weight < 0.35,
            "{found:?}"
        );
        let sparse = values(&["1040", "2077", "3150", "4801", "5523"], 5, true);
        let found =
            contained(&values(&["1040", "3150", "5523"], 9, true), &sparse).expect("contained");
        assert!(found.log_chance < NO_ACCIDENT, "{found:?}");
        let codes = values(&["KX7Q", "LM2A", "PZ9C", "QW4T"], 4, false);
        let found =
            contained(&values(&["KX7Q", "PZ9C", "QW4T"], 9, false), &codes).expect("contained");
        assert!(found.log_chance < UNLIKELY, "{found:?}");
    }

    #[test]
    fn a_value_without_a_key_speaks_against_it_but_for_zero() {
        let keys = values(&["1", "2", "3"], 3, true);
        assert!(contained(&values(&["1", "77", "2"], 9, true), &keys).is_none());
        assert!(contained(&values(&["0", "1", "2"], 9, true), &keys).is_some());
        assert!(contained(&values(&[], 9, true), &keys).is_none());
    }

    #[test]
    fn a_sample_of_the_keys_has_to_meet_its_share() {
        let texts: Vec<String> = (0..100).map(|n| format!("K{:05}", n * 37)).collect();
        let keys: Vec<&str> = texts.iter().step_by(2).map(String::as_str).collect();
        let keys = values(&keys, 100, false);
        let all: Vec<&str> = texts.iter().map(String::as_str).collect();
        assert!(contained(&values(&all, 500, false), &keys).is_some());
        let others: Vec<String> = (0..100).map(|n| format!("K{:05}", n * 41 + 7)).collect();
        let others: Vec<&str> = others.iter().map(String::as_str).collect();
        assert!(contained(&values(&others, 500, false), &keys).is_none());
    }
}
