//! The statistics of a column's sample, and what its values look like.

use std::collections::{BTreeMap, HashSet};

use serde_json::Value;

use crate::model::metadata::{ColumnMetadata, TableMetadata};
use crate::model::schema_context::{ColumnProfile, TableProfile, ValueClass};

/// The share of values that have to look alike.
const MAJORITY: f64 = 0.8;
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
    }
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
    ColumnProfile {
        name: meta.name.clone(),
        data_type: meta.data_type,
        nullable: meta.nullable,
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
        class: classify(&filled, mean_words, language_score),
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

#[expect(
    clippy::cast_precision_loss,
    reason = "sample sizes are far below 2^52"
)]
fn count(number: usize) -> f64 {
    number as f64
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

/// Scripts without spaces count two characters as a word.
fn word_count(text: &str) -> usize {
    let unspaced = text.chars().filter(|&c| is_unspaced(c)).count();
    text.split_whitespace().count() + unspaced / 2
}

fn is_unspaced(c: char) -> bool {
    matches!(c, '\u{0e00}'..='\u{0eff}' | '\u{3040}'..='\u{30ff}' | '\u{3400}'..='\u{9fff}' | '\u{f900}'..='\u{faff}')
}

/// How much a text looks like natural language: word-like tokens, and enough of them.
fn language(text: &str) -> f64 {
    let tokens: Vec<&str> = text.split_whitespace().collect();
    let word_like = tokens.iter().filter(|token| is_word_like(token)).count();
    let share = count(word_like) / count(tokens.len().max(1));
    share * (1.0 - (-count(word_count(text)) / 4.0).exp())
}

fn is_word_like(token: &str) -> bool {
    let core = token.trim_matches(|c: char| !c.is_alphanumeric());
    let letters = core.chars().filter(|c| c.is_alphabetic()).count();
    let inner = core
        .chars()
        .all(|c| c.is_alphabetic() || matches!(c, '\'' | '’' | '-'));
    letters > 0 && (inner || letters * 4 > core.chars().count() * 3) && core.chars().count() <= 40
}

fn classify(values: &[&str], mean_words: f64, language_score: f64) -> ValueClass {
    if values.is_empty() {
        return ValueClass::Empty;
    }
    let mut counts: BTreeMap<u8, (usize, ValueClass)> = BTreeMap::new();
    for value in values {
        let class = class_of(value);
        counts.entry(class as u8).or_insert((0, class)).0 += 1;
    }
    let of = |class: ValueClass| counts.get(&(class as u8)).map_or(0, |(count, _)| *count);
    let (most, class) = counts
        .values()
        .copied()
        .max_by_key(|(count, _)| *count)
        .unwrap_or((0, ValueClass::Mixed));
    // A column with some addresses or tokens in it is treated as one of them.
    for secret in [ValueClass::Email, ValueClass::Phone, ValueClass::Hash] {
        if ratio(of(secret), values.len()) >= 0.3 {
            return secret;
        }
    }
    if ratio(of(ValueClass::Prose) + of(ValueClass::Phrase), values.len()) >= MAJORITY {
        return if mean_words >= PROSE_WORDS && language_score >= 0.5 {
            ValueClass::Prose
        } else {
            ValueClass::Phrase
        };
    }
    if ratio(most, values.len()) >= MAJORITY {
        class
    } else {
        ValueClass::Mixed
    }
}

/// What one value looks like; the narrow forms are tried first.
fn class_of(value: &str) -> ValueClass {
    let digits = value.chars().filter(char::is_ascii_digit).count();
    let single = !value.contains(char::is_whitespace);
    if value.contains('\u{0}') {
        ValueClass::Mixed
    } else if is_email(value) {
        ValueClass::Email
    } else if single && is_url(value) {
        ValueClass::Url
    } else if uuid::Uuid::try_parse(value).is_ok() && value.len() == 36 {
        ValueClass::Uuid
    } else if is_date(value) {
        ValueClass::Date
    } else if is_card_number(value, digits) {
        ValueClass::Hash
    } else if value.parse::<f64>().is_ok() {
        ValueClass::Number
    } else if is_phone(value, digits) {
        ValueClass::Phone
    } else if single && is_token(value) {
        ValueClass::Hash
    } else if value.starts_with(['{', '['])
        && serde_json::from_str::<Value>(value)
            .is_ok_and(|json| json.is_object() || json.is_array())
    {
        ValueClass::Json
    } else if is_html(value) {
        ValueClass::Html
    } else if single && is_code(value, digits) {
        ValueClass::Code
    } else if word_count(value) >= 6 && language(value) >= 0.4 {
        ValueClass::Prose
    } else if value.chars().any(char::is_alphabetic) {
        ValueClass::Phrase
    } else {
        ValueClass::Mixed
    }
}

fn is_email(value: &str) -> bool {
    let Some((local, domain)) = value.split_once('@') else {
        return false;
    };
    let blank = value.contains(char::is_whitespace) || domain.contains('@');
    !local.is_empty() && !blank && domain.contains('.') && !domain.ends_with('.')
}

fn is_url(value: &str) -> bool {
    let lower = value.to_ascii_lowercase();
    ["http://", "https://", "ftp://", "www.", "s3://", "mailto:"]
        .iter()
        .any(|start| lower.starts_with(start))
}

/// `2024-01-31`, with a time or without.
fn is_date(value: &str) -> bool {
    let bytes = value.as_bytes();
    let digits = |range: std::ops::Range<usize>| {
        bytes
            .get(range)
            .is_some_and(|part| part.iter().all(u8::is_ascii_digit))
    };
    let separator = |at: usize| matches!(bytes.get(at), Some(b'-' | b'/'));
    digits(0..4)
        && separator(4)
        && digits(5..7)
        && separator(7)
        && digits(8..10)
        && bytes.len() <= 35
        && !bytes.iter().skip(11).any(|&b| b.is_ascii_lowercase())
}

/// 13 to 19 digits whose check digit is right, by ISO/IEC 7812 annex B.
fn is_card_number(value: &str, digits: usize) -> bool {
    let plain = value
        .chars()
        .all(|c| c.is_ascii_digit() || matches!(c, ' ' | '-'));
    if !plain || !(13..=19).contains(&digits) {
        return false;
    }
    let sum: u32 = value
        .chars()
        .rev()
        .filter_map(|c| c.to_digit(10))
        .enumerate()
        .map(|(place, digit)| match (place % 2, digit * 2) {
            (0, _) => digit,
            (_, double) if double > 9 => double - 9,
            (_, double) => double,
        })
        .sum();
    sum.is_multiple_of(10)
}

fn is_phone(value: &str, digits: usize) -> bool {
    let allowed =
        |c: char| c.is_ascii_digit() || matches!(c, ' ' | '+' | '-' | '(' | ')' | '.' | '/');
    (7..=15).contains(&digits)
        && value.chars().all(allowed)
        && (value.starts_with(['+', '(', '0']) || value.contains(['-', ' ']))
}

/// Digests, salted hashes, keys and signed tokens.
fn is_token(value: &str) -> bool {
    let length = value.len();
    let has = |test: fn(&char) -> bool| value.chars().filter(test).count();
    let digits = has(char::is_ascii_digit);
    let letters = has(char::is_ascii_alphabetic);
    let hex = value.chars().all(|c| c.is_ascii_hexdigit());
    if [
        "$2a$", "$2b$", "$2y$", "$argon2", "$pbkdf2", "$scrypt$", "pbkdf2_", "eyJ", "sk_", "sk-",
        "ghp_",
    ]
    .iter()
    .any(|start| value.starts_with(start))
        && length >= 16
    {
        return true;
    }
    if hex && length >= 32 {
        return true;
    }
    let alphabet =
        |c: char| c.is_ascii_alphanumeric() || matches!(c, '+' | '/' | '=' | '_' | '-' | '$');
    let both_cases = has(char::is_ascii_uppercase) > 2 && has(char::is_ascii_lowercase) > 2;
    length >= 24 && value.chars().all(alphabet) && digits >= 3 && letters >= 6 && both_cases
}

fn is_html(value: &str) -> bool {
    let lower = value.to_ascii_lowercase();
    ["</", "<p>", "<br", "<div", "<ul>", "<span", "<a href"]
        .iter()
        .any(|tag| lower.contains(tag))
        && lower.contains('>')
}

fn is_code(value: &str, digits: usize) -> bool {
    let plain = value.chars().all(|c| {
        c.is_ascii_uppercase() || c.is_ascii_digit() || matches!(c, '-' | '_' | '.' | '/' | '#')
    });
    let mixed = digits > 0
        && value
            .chars()
            .all(|c| c.is_ascii_alphanumeric() || matches!(c, '-' | '_' | '.' | '/' | '#'));
    value.len() <= 40 && (plain || mixed)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn single_values() {
        for (value, class) in [
            ("ada@example.org", ValueClass::Email),
            ("https://example.org/a", ValueClass::Url),
            ("2024-02-29T10:00:00Z", ValueClass::Date),
            ("4111 1111 1111 1111", ValueClass::Hash),
            ("12.50", ValueClass::Number),
            ("+49 30 901820", ValueClass::Phone),
            ("5d41402abc4b2a76b9719d911017c592", ValueClass::Hash),
            ("$2b$12$abcdefghijklmnopqrstuv", ValueClass::Hash),
            ("{\"a\": 1}", ValueClass::Json),
            ("<p>Hello</p>", ValueClass::Html),
            ("SKU-1234", ValueClass::Code),
            ("Blue enamel mug", ValueClass::Phrase),
            ("shipped", ValueClass::Phrase),
            (
                "Please leave the parcel with the neighbour.",
                ValueClass::Prose,
            ),
            ("6f9619ff-8b86-4011-b42d-00c04fc964ff", ValueClass::Uuid),
        ] {
            assert_eq!(class_of(value), class, "{value}");
        }
    }

    #[test]
    fn a_column_is_what_most_of_its_values_are() {
        let prose = "The handle came off after two weeks of normal use.";
        assert_eq!(
            classify(&[prose, prose, "Fine"], 7.0, 0.8),
            ValueClass::Prose
        );
        assert_eq!(classify(&[], 0.0, 0.0), ValueClass::Empty);
        assert_eq!(classify(&["12", "a b", "X-1"], 1.0, 0.1), ValueClass::Mixed);
        // Some e-mail addresses are enough to keep a column out of texts.
        assert_eq!(
            classify(&["a@b.cc", "call me", "later"], 2.0, 0.2),
            ValueClass::Email
        );
    }

    #[test]
    fn language_needs_words() {
        assert!(language("The handle came off after two weeks of use.") > 0.8);
        assert!(language("AB-12 99 77/1 X9") < 0.3);
        assert!(language("この商品はとても良いです。また買いたい。") > 0.8);
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
            comment: None,
            labels: Vec::new(),
        };
        let values = [
            Value::Null,
            Value::from(" "),
            Value::from("ab"),
            Value::from("ab"),
        ];
        let profile = column(&meta, &values.iter().collect::<Vec<_>>());
        assert_eq!(profile.samples, 4);
        assert!((profile.null_ratio - 0.25).abs() < 1e-9);
        assert!((profile.empty_ratio - 0.25).abs() < 1e-9);
        assert!((profile.distinct_ratio - 0.6667).abs() < 1e-9);
        assert_eq!(profile.max_chars, 2);
    }
}
