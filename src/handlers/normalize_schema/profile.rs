//! The statistics of a column's sample. What a single value looks like is for `classes` to say.

use std::collections::{BTreeMap, HashSet};

use serde_json::Value;

use super::classes::{class_of, count, language, word_count};
use crate::model::metadata::{ColumnMetadata, TableMetadata};
use crate::model::schema_context::{
    CharacterShares, ClassShare, ColumnProfile, Spread, TableProfile, ValueClass,
};

/// The share of values that have to look alike.
const MAJORITY: f64 = 0.8;
/// With this share of secrets or contact data, a column is treated as nothing else.
const SOME: f64 = 0.3;
/// From this mean number of words on, text is prose.
const PROSE_WORDS: f64 = 6.0;

pub(super) fn table(table: &TableMetadata) -> TableProfile {
    let columns = table.columns.iter().enumerate();
    TableProfile {
        table: table.table.clone(),
        kind: table.kind,
        comment: table.comment.clone(),
        row_count: table.row_count,
        primary_key: table.primary_key.clone(),
        unique_keys: table.unique_keys.clone(),
        columns: columns
            .map(|(index, meta)| {
                let values = table.sample_rows.iter().filter_map(|row| row.get(index));
                column(meta, &values.collect::<Vec<_>>())
            })
            .collect(),
        equal_rows: has_equal_rows(table),
    }
}

fn has_equal_rows(table: &TableMetadata) -> bool {
    let rows: HashSet<String> = table
        .sample_rows
        .iter()
        .map(|row| Value::from(row.clone()).to_string())
        .collect();
    rows.len() < table.sample_rows.len()
}

fn column(meta: &ColumnMetadata, values: &[&Value]) -> ColumnProfile {
    let texts: Vec<String> = values.iter().filter_map(|value| text(value)).collect();
    let filled: Vec<&str> = texts
        .iter()
        .map(|text| text.trim())
        .filter(|text| !text.is_empty())
        .collect();
    let nulls = values.iter().filter(|value| value.is_null()).count();
    let distinct: HashSet<&String> = texts.iter().collect();
    let chars: Vec<usize> = texts.iter().map(|text| text.chars().count()).collect();
    let words: Vec<usize> = filled.iter().map(|text| word_count(text)).collect();
    let mean_words = ratio(words.iter().sum(), texts.len());
    // An empty sum of floats is -0.
    let language = filled
        .iter()
        .map(|text| language(text))
        .fold(0.0, |a, b| a + b);
    let language_score = rounded(language / count(filled.len().max(1)));
    let classes = shares(&filled);
    ColumnProfile {
        name: meta.name.clone(),
        data_type: meta.data_type,
        nullable: meta.nullable,
        byte_order: meta.byte_order,
        comment: meta.comment.clone(),
        labels: meta.labels.clone(),
        samples: values.len() as u64,
        null_ratio: ratio(nulls, values.len()),
        empty_ratio: ratio(texts.len() - filled.len(), values.len()),
        distinct_ratio: ratio(distinct.len(), texts.len()),
        mean_chars: ratio(chars.iter().sum(), texts.len()),
        max_chars: chars.iter().copied().max().unwrap_or_default() as u64,
        mean_words,
        language_score,
        class: class(&classes, mean_words, language_score),
        chars: spread(chars),
        words: spread(words),
        characters: characters(&filled),
        classes,
    }
}

/// A value as text; byte strings count as filled, with no text to look at.
fn text(value: &Value) -> Option<String> {
    match value {
        Value::Null => None,
        Value::String(text) => Some(text.clone()),
        Value::Object(tagged) => Some(
            tagged
                .get("value")
                .and_then(Value::as_str)
                .unwrap_or("\u{0}")
                .to_owned(),
        ),
        Value::Bool(_) | Value::Number(_) | Value::Array(_) => Some(value.to_string()),
    }
}

fn ratio(part: usize, whole: usize) -> f64 {
    if whole == 0 {
        0.0
    } else {
        rounded(count(part) / count(whole))
    }
}

/// Four places are enough, and keep outputs readable.
fn rounded(number: f64) -> f64 {
    (number * 10_000.0).round() / 10_000.0
}

fn spread(mut numbers: Vec<usize>) -> Spread {
    numbers.sort_unstable();
    let last = numbers.len().saturating_sub(1);
    let at = |percent: usize| numbers.get(last * percent / 100).copied().unwrap_or(0) as u64;
    Spread {
        min: at(0),
        median: at(50),
        p95: at(95),
        max: at(100),
    }
}

fn characters(values: &[&str]) -> CharacterShares {
    let (mut lower, mut upper, mut digits, mut space, mut all) = (0, 0, 0, 0, 0);
    for c in values.iter().flat_map(|value| value.chars()) {
        all += 1;
        if c.is_uppercase() {
            upper += 1;
        } else if c.is_alphabetic() {
            lower += 1;
        } else if c.is_numeric() {
            digits += 1;
        } else if c.is_whitespace() {
            space += 1;
        }
    }
    CharacterShares {
        lower: ratio(lower, all),
        upper: ratio(upper, all),
        digits: ratio(digits, all),
        space: ratio(space, all),
        symbols: ratio(all - lower - upper - digits - space, all),
    }
}

/// What the values look like one by one, most frequent first.
fn shares(values: &[&str]) -> Vec<ClassShare> {
    let mut counts: BTreeMap<ValueClass, usize> = BTreeMap::new();
    for value in values {
        *counts.entry(class_of(value)).or_default() += 1;
    }
    let mut shares: Vec<ClassShare> = counts
        .into_iter()
        .map(|(class, number)| ClassShare {
            class,
            share: ratio(number, values.len()),
        })
        .collect();
    shares.sort_by(|a, b| b.share.total_cmp(&a.share));
    shares
}

/// What the values look like together.
fn class(shares: &[ClassShare], mean_words: f64, language_score: f64) -> ValueClass {
    let of = |class: ValueClass| {
        let found = shares.iter().find(|found| found.class == class);
        found.map_or(0.0, |found| found.share)
    };
    let Some(most) = shares.first() else {
        return ValueClass::Empty;
    };
    for secret in [
        ValueClass::Email,
        ValueClass::Phone,
        ValueClass::Personal,
        ValueClass::Hash,
        ValueClass::Address,
    ] {
        if of(secret) >= SOME {
            return secret;
        }
    }
    if of(ValueClass::Prose) + of(ValueClass::Phrase) >= MAJORITY {
        return if mean_words >= PROSE_WORDS && language_score >= 0.5 {
            ValueClass::Prose
        } else {
            ValueClass::Phrase
        };
    }
    if most.share >= MAJORITY {
        most.class
    } else {
        ValueClass::Mixed
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn classified(values: &[&str]) -> ValueClass {
        let words: usize = values.iter().map(|value| word_count(value)).sum();
        let languages: f64 = values.iter().map(|value| language(value)).sum();
        let number = count(values.len().max(1));
        class(&shares(values), count(words) / number, languages / number)
    }

    #[test]
    fn a_column_is_what_most_of_its_values_are() {
        let prose = "The handle came off after two weeks of normal use.";
        assert_eq!(
            classified(&[prose, prose, prose, "Fine"]),
            ValueClass::Prose
        );
        assert_eq!(classified(&[]), ValueClass::Empty);
        assert_eq!(classified(&["12", "a b", "X-1"]), ValueClass::Mixed);
        // Some e-mail addresses are enough to keep a column out of texts.
        assert_eq!(
            classified(&["a@b.cc", "call me", "later"]),
            ValueClass::Email
        );
    }

    #[test]
    fn statistics() {
        let meta = ColumnMetadata {
            name: "note".to_owned(),
            declared_type: "TEXT".to_owned(),
            domain_base: None,
            data_type: crate::model::metadata::DataType::Text,
            nullable: true,
            default: None,
            generated: false,
            identity: None,
            collation: None,
            byte_order: false,
            comment: None,
            labels: Vec::new(),
        };
        let values = [
            Value::Null,
            Value::from(" "),
            Value::from("ab"),
            Value::from("ab"),
            Value::from("Some words 12."),
        ];
        let profile = column(&meta, &values.iter().collect::<Vec<_>>());
        assert_eq!(profile.samples, 5);
        assert!((profile.null_ratio - 0.2).abs() < 1e-9);
        assert!((profile.empty_ratio - 0.2).abs() < 1e-9);
        assert!((profile.distinct_ratio - 0.75).abs() < 1e-9);
        assert_eq!(profile.max_chars, 14);
        assert_eq!(
            (profile.chars.min, profile.chars.median, profile.chars.max),
            (1, 2, 14)
        );
        assert_eq!((profile.words.min, profile.words.max), (1, 3));
        let characters = profile.characters;
        let all = characters.lower
            + characters.upper
            + characters.digits
            + characters.space
            + characters.symbols;
        assert!(
            (all - 1.0).abs() < 1e-3 && characters.digits > 0.1,
            "{characters:?}"
        );
        assert!(
            profile
                .classes
                .iter()
                .all(|found| found.class == ValueClass::Phrase)
        );
    }
}
