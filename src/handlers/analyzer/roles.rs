//! What each column is for: names say something, values say more.

use crate::handlers::normalize_schema::names::words;
use crate::model::metadata::{DataType, TableRef};
use crate::model::schema_context::{ColumnProfile, TableProfile, ValueClass};

/// From this score on, a column is worth embedding.
pub(super) const TEXT_THRESHOLD: f64 = 0.4;
/// The share of values in a score; names have the rest.
const VALUE_WEIGHT: f64 = 0.7;

/// What a column is for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Role {
    /// Sentences: what people search for.
    Prose,
    /// What a row is called.
    Label,
    /// One of few values.
    Category,
    /// A number, a date, a flag, a short code.
    Fact,
    /// A secret or a personal identifier: in no text and no metadata.
    Sensitive,
    /// None of these.
    Other,
}

/// A column with its role.
#[derive(Debug, Clone)]
pub(super) struct Assessed<'a> {
    pub(super) table: &'a TableRef,
    pub(super) column: &'a ColumnProfile,
    pub(super) role: Role,
    /// 0 to 1: how much it is worth as text.
    pub(super) score: f64,
    pub(super) reasons: Vec<String>,
}

impl Assessed<'_> {
    /// Whether its name is one that rows are called by, as `name` or `title`.
    pub(super) fn is_named_label(&self) -> bool {
        self.role != Role::Sensitive
            && self.column.data_type == DataType::Text
            && has(&words(&self.column.name), LABEL_NAMES)
    }

    /// Whether it is a category that says what a thing is about.
    pub(super) fn is_topic(&self) -> bool {
        self.role == Role::Category
            && self.column.data_type == DataType::Text
            && has(&words(&self.column.name), TOPIC_NAMES)
    }

    /// Whether it is worth embedding as a part of its own row's text.
    pub(super) fn is_text(&self) -> bool {
        self.score >= TEXT_THRESHOLD && matches!(self.role, Role::Prose | Role::Label)
    }
}

/// Never in a text: whatever the values look like.
const SECRET: &[&str] = &[
    "password",
    "passwd",
    "pwd",
    "passphrase",
    "secret",
    "salt",
    "credential",
    "credentials",
    "ssn",
    "iban",
    "cvv",
    "cvc",
    "passport",
    "otp",
    "apikey",
    "hash",
    "digest",
    "checksum",
    "privatekey",
    "birthday",
    "birthdate",
    "birth",
    "dob",
];
/// Pairs of words that are secrets together.
const SECRET_PAIRS: &[(&str, &str)] = &[
    ("card", "number"),
    ("card", "no"),
    ("credit", "card"),
    ("account", "number"),
    ("bank", "account"),
    ("api", "key"),
    ("private", "key"),
    ("social", "security"),
    ("tax", "id"),
    ("tax", "number"),
    ("access", "token"),
    ("refresh", "token"),
    ("session", "token"),
    ("auth", "token"),
    ("security", "answer"),
    ("pin", "code"),
    ("ip", "address"),
];
/// Personal, unless the values are sentences or titles.
const PERSONAL: &[&str] = &[
    "email",
    "mail",
    "phone",
    "telephone",
    "mobile",
    "cell",
    "fax",
    "tel",
    "token",
    "ip",
];
/// Where somebody lives: not for the text.
const ADDRESS: &[&str] = &[
    "address",
    "street",
    "zip",
    "postcode",
    "postal",
    "zipcode",
    "house",
    "latitude",
    "longitude",
];
const PROSE_NAMES: &[&str] = &[
    "description",
    "comment",
    "comments",
    "body",
    "note",
    "notes",
    "content",
    "text",
    "message",
    "review",
    "summary",
    "bio",
    "biography",
    "abstract",
    "detail",
    "details",
    "question",
    "answer",
    "feedback",
    "remark",
    "remarks",
    "instructions",
    "story",
    "transcript",
    "resolution",
    "explanation",
    "synopsis",
    "plot",
    "article",
    "overview",
    "observation",
    "diagnosis",
    "about",
];
const LABEL_NAMES: &[&str] = &[
    "name",
    "title",
    "subject",
    "label",
    "headline",
    "caption",
    "topic",
    "company",
    "composer",
    "author",
    "artist",
    "brand",
    "firstname",
    "lastname",
    "fullname",
    "surname",
];
const TECHNICAL_NAMES: &[&str] = &[
    "id", "uuid", "guid", "code", "path", "file", "filename", "url", "uri", "link", "slug",
    "version", "locale", "language", "lang", "timezone", "currency", "mime", "key", "ref", "sku",
    "ean", "isbn", "username", "login", "user", "created", "updated", "country", "city", "state",
    "region", "unit",
];
const CATEGORY_NAMES: &[&str] = &[
    "status", "type", "kind", "category", "state", "priority", "level", "role", "channel",
    "gender", "method", "stage", "severity", "tier", "segment", "country", "city", "region",
    "currency", "language", "lang", "source",
];

/// Categories that say what a thing is about, so that they belong to its text too.
const TOPIC_NAMES: &[&str] = &[
    "category",
    "genre",
    "topic",
    "brand",
    "department",
    "collection",
    "series",
    "material",
    "industry",
    "cuisine",
    "style",
    "species",
];

/// Gives every column of a table with its role.
pub(super) fn assess(table: &TableProfile) -> Vec<Assessed<'_>> {
    let columns = table.columns.iter();
    columns
        .map(|column| {
            let names = words(&column.name);
            let mut reasons = Vec::new();
            let (role, score) = if let Some(reason) = sensitive(column, &names) {
                reasons.push(reason);
                (Role::Sensitive, 0.0)
            } else {
                role(column, &names, &mut reasons)
            };
            Assessed {
                table: &table.table,
                column,
                role,
                score: (score * 1000.0).round() / 1000.0,
                reasons,
            }
        })
        .collect()
}

fn has(names: &[String], list: &[&str]) -> bool {
    names.iter().any(|name| list.contains(&name.as_str()))
}

fn sensitive(column: &ColumnProfile, names: &[String]) -> Option<String> {
    let pair = |&(a, b): &(&str, &str)| {
        names.windows(2).any(|two| two[0] == a && two[1] == b)
            || (names.len() == 3 && names[0] == a && names[2] == b)
    };
    let readable = matches!(
        column.class,
        ValueClass::Prose | ValueClass::Phrase | ValueClass::Html
    );
    let by_name = has(names, SECRET)
        || SECRET_PAIRS.iter().any(pair)
        || (has(names, PERSONAL) && !readable && can_identify(column.data_type));
    if by_name {
        return Some("its name says that it holds a secret or a personal identifier".to_owned());
    }
    let what = match column.class {
        ValueClass::Email => "e-mail addresses",
        ValueClass::Phone => "telephone numbers",
        ValueClass::Hash => "digests or tokens",
        ValueClass::Personal => "card, account or identity numbers",
        ValueClass::Prose
        | ValueClass::Phrase
        | ValueClass::Code
        | ValueClass::Url
        | ValueClass::Uuid
        | ValueClass::Base64
        | ValueClass::Json
        | ValueClass::Html
        | ValueClass::Number
        | ValueClass::Date
        | ValueClass::Empty
        | ValueClass::Mixed => return None,
    };
    Some(format!("its values look like {what}"))
}

const fn can_identify(data_type: DataType) -> bool {
    matches!(
        data_type,
        DataType::Text | DataType::Integer | DataType::Decimal | DataType::Other
    )
}

fn role(column: &ColumnProfile, names: &[String], reasons: &mut Vec<String>) -> (Role, f64) {
    match column.data_type {
        DataType::Text => text_role(column, names, reasons),
        DataType::Enum => {
            reasons.push("it is one of a declared list of labels".to_owned());
            (Role::Category, 0.1)
        }
        DataType::Integer
        | DataType::Decimal
        | DataType::Float
        | DataType::Boolean
        | DataType::Date
        | DataType::Time
        | DataType::Timestamp
        | DataType::Uuid => (Role::Fact, 0.0),
        DataType::Interval
        | DataType::Json
        | DataType::Bytes
        | DataType::Array
        | DataType::Other => (Role::Other, 0.0),
    }
}

fn text_role(column: &ColumnProfile, names: &[String], reasons: &mut Vec<String>) -> (Role, f64) {
    if has(names, ADDRESS) {
        reasons.push("its name says that it is a part of an address".to_owned());
        return (Role::Other, 0.1);
    }
    let (by_name, name_reason) = name_score(names);
    reasons.push(name_reason.to_owned());
    let few = is_category(column, names);
    let (role, by_value, reason) = match column.class {
        ValueClass::Prose | ValueClass::Html => (
            Role::Prose,
            column.language_score.max(0.6),
            "its values are sentences",
        ),
        ValueClass::Phrase if few => (Role::Category, 0.15, "its values repeat: a category"),
        ValueClass::Phrase => (Role::Label, 0.5, "its values are a few words each"),
        ValueClass::Mixed if column.mean_words >= 4.0 && column.language_score >= 0.4 => (
            Role::Prose,
            column.language_score * 0.8,
            "most of its values are sentences",
        ),
        ValueClass::Code => (Role::Fact, 0.05, "its values are codes"),
        ValueClass::Number | ValueClass::Date | ValueClass::Uuid => (
            Role::Fact,
            0.0,
            "its values are numbers, dates or identifiers",
        ),
        ValueClass::Empty => return unseen(column, names, by_name, reasons),
        ValueClass::Mixed
        | ValueClass::Url
        | ValueClass::Json
        | ValueClass::Email
        | ValueClass::Phone
        | ValueClass::Personal
        | ValueClass::Base64
        | ValueClass::Hash => (Role::Other, 0.1, "its values are not words"),
    };
    if matches!(role, Role::Prose | Role::Label) {
        reasons.push(format!(
            "{reason}: {:.1} words and {:.0} characters on average, language score {:.2}",
            column.mean_words, column.mean_chars, column.language_score
        ));
    } else {
        reasons.push(reason.to_owned());
    }
    // A title that is long enough to read like a sentence is still what the row is called.
    let titled = role == Role::Prose && has(names, LABEL_NAMES) && column.mean_chars < 80.0;
    let role = if titled { Role::Label } else { role };
    let filled = 1.0 - (column.null_ratio + column.empty_ratio).min(1.0);
    let score = VALUE_WEIGHT * by_value + (1.0 - VALUE_WEIGHT) * by_name;
    // Seldom filled texts count a little less; what is written there is still worth finding.
    (role, score * (0.85 + 0.15 * filled))
}

fn name_score(names: &[String]) -> (f64, &'static str) {
    if has(names, PROSE_NAMES) {
        (1.0, "its name promises text")
    } else if has(names, LABEL_NAMES) {
        (0.9, "its name says what a row is called")
    } else if has(names, TECHNICAL_NAMES) || has(names, CATEGORY_NAMES) {
        (0.0, "its name is a technical one")
    } else {
        (0.4, "its name says little")
    }
}

/// Few distinct values among many, or a name that says so where there are too few values to tell.
fn is_category(column: &ColumnProfile, names: &[String]) -> bool {
    let titled = has(names, LABEL_NAMES) && !has(names, CATEGORY_NAMES);
    if titled && (column.distinct_ratio > 0.05 || column.mean_words >= 2.0) {
        return false;
    }
    let says_so = has(names, CATEGORY_NAMES) || has(names, TECHNICAL_NAMES);
    let repeats = column.samples >= 20 && column.distinct_ratio <= 0.25 && column.mean_words < 4.0;
    repeats || (says_so && column.mean_words < 3.0)
}

/// No value was seen, so the name alone decides, with less weight.
fn unseen(
    column: &ColumnProfile,
    names: &[String],
    by_name: f64,
    reasons: &mut Vec<String>,
) -> (Role, f64) {
    if column.samples > 0 {
        reasons.push("all sampled values are empty".to_owned());
        return (Role::Other, 0.1);
    }
    reasons.push("no value was sampled".to_owned());
    if has(names, PROSE_NAMES) {
        (Role::Prose, by_name * 0.6)
    } else if has(names, LABEL_NAMES) {
        (Role::Label, by_name * 0.5)
    } else {
        (Role::Other, 0.1)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::schema_context::{CharacterShares, Spread};

    fn column(
        name: &str,
        class: ValueClass,
        mean_words: f64,
        distinct_ratio: f64,
    ) -> ColumnProfile {
        ColumnProfile {
            name: name.to_owned(),
            data_type: DataType::Text,
            nullable: true,
            comment: None,
            labels: Vec::new(),
            samples: 100,
            null_ratio: 0.0,
            empty_ratio: 0.0,
            distinct_ratio,
            mean_chars: mean_words * 6.0,
            max_chars: 200,
            mean_words,
            language_score: if mean_words > 5.0 { 0.9 } else { 0.3 },
            class,
            chars: Spread::default(),
            words: Spread::default(),
            characters: CharacterShares::default(),
            classes: Vec::new(),
        }
    }

    fn assessed(column: &ColumnProfile) -> (Role, f64) {
        let names = words(&column.name);
        if sensitive(column, &names).is_some() {
            return (Role::Sensitive, 0.0);
        }
        role(column, &names, &mut Vec::new())
    }

    #[test]
    fn values_count_more_than_names() {
        let (role, prose) = assessed(&column("x7", ValueClass::Prose, 14.0, 1.0));
        assert_eq!(role, Role::Prose);
        let (_, code) = assessed(&column("description", ValueClass::Code, 1.0, 1.0));
        assert!(prose >= TEXT_THRESHOLD && code < TEXT_THRESHOLD && prose > code);
    }

    #[test]
    fn secrets_and_personal_identifiers_are_never_text() {
        for (name, class) in [
            ("password_hash", ValueClass::Phrase),
            ("CreditCardNumber", ValueClass::Number),
            ("e", ValueClass::Email),
            ("contact", ValueClass::Phone),
            ("reset_token", ValueClass::Mixed),
            ("note", ValueClass::Hash),
            ("api_key", ValueClass::Prose),
        ] {
            assert_eq!(
                assessed(&column(name, class, 1.0, 1.0)).0,
                Role::Sensitive,
                "{name}"
            );
        }
        assert_eq!(
            assessed(&column("phone_model", ValueClass::Phrase, 2.0, 0.9)).0,
            Role::Label
        );
    }

    #[test]
    fn repeated_words_are_categories_and_titles_are_labels() {
        assert_eq!(
            assessed(&column("status", ValueClass::Phrase, 1.0, 0.04)).0,
            Role::Category
        );
        assert_eq!(
            assessed(&column("subject", ValueClass::Phrase, 3.5, 0.04)).0,
            Role::Label
        );
        let (role, score) = assessed(&column("title", ValueClass::Prose, 7.0, 0.9));
        assert_eq!(role, Role::Label);
        assert!(score >= TEXT_THRESHOLD);
    }
}
