//! What each column is for: names say something, values say more.

use super::words::{self, Name};
use crate::handlers::normalize_schema::names::PERSON_NAMES;
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
    pub(super) name: Name,
    pub(super) role: Role,
    /// Whether nobody may put it into a text, not even by the job.
    pub(super) is_secret: bool,
    /// Whether the job leaves it out.
    is_excluded: bool,
    /// 0 to 1: how much it is worth as text.
    pub(super) score: f64,
    pub(super) reasons: Vec<String>,
}

impl Assessed<'_> {
    /// Whether its name is one that rows are called by, as `name` or `title`.
    pub(super) fn is_named_label(&self) -> bool {
        self.role != Role::Sensitive
            && !self.is_excluded
            && self.column.data_type == DataType::Text
            && is_label_name(&self.name)
    }

    /// Whether it may tell rows without a key apart: nobody wants it left out, and it is neither a secret nor personal.
    pub(super) fn tells_rows_apart(&self) -> bool {
        self.role != Role::Sensitive && !self.is_excluded
    }

    /// Puts it into the text, because the job says so.
    pub(super) fn include(&mut self) {
        if self.role != Role::Label {
            self.role = Role::Prose;
        }
        self.score = 1.0;
        self.reasons = vec!["the job wants it (analysis.include_columns)".to_owned()];
    }

    /// Keeps it out of texts and metadata, because the job says so.
    pub(super) fn exclude(&mut self) {
        self.role = Role::Other;
        self.is_excluded = true;
        self.score = 0.0;
        self.reasons = vec!["the job leaves it out (analysis.exclude_columns)".to_owned()];
    }

    /// Whether it is a category that says what a thing is about.
    pub(super) fn is_topic(&self) -> bool {
        self.role == Role::Category
            && self.column.data_type == DataType::Text
            && self.name.has(&words::TOPICS)
    }

    /// Whether it is a part of an address.
    pub(super) fn is_address(&self) -> bool {
        self.column.class == ValueClass::Address
            || self.name.has(&words::ADDRESSES)
            || self.name.contains(&words::ADDRESS_PARTS)
    }

    /// Whether programs write it and programs read it.
    pub(super) fn is_machine(&self) -> bool {
        let typed = matches!(self.column.data_type, DataType::Json | DataType::Bytes);
        let values = matches!(
            self.column.class,
            ValueClass::Json | ValueClass::Hash | ValueClass::Base64
        );
        typed || values || is_machine(&self.name, self.column.class)
    }

    /// Whether it is worth embedding as a part of its own row's text.
    pub(super) fn is_text(&self) -> bool {
        self.score >= TEXT_THRESHOLD && matches!(self.role, Role::Prose | Role::Label)
    }
}

/// What a table holds, as far as it matters for its columns.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(super) struct Holds {
    /// Rows are persons.
    pub(super) people: bool,
    /// Rows are accounts or cards.
    pub(super) accounts: bool,
}

impl Holds {
    pub(super) fn of(table: &TableProfile) -> Self {
        let names: Vec<Name> = table
            .columns
            .iter()
            .map(|column| Name::new(&column.name))
            .collect();
        let is_person = names
            .iter()
            .take(6)
            .any(|name| PERSON_NAMES.iter().any(|person| name.words() == *person));
        let people = Name::new(&table.table.name).ends_in(&words::PEOPLE) || is_person;
        let account = |(column, name): (&ColumnProfile, &Name)| {
            let numbers = column.class == ValueClass::Personal
                && column.chars.min >= 13
                && column.characters.symbols < 0.05;
            numbers || name.has(&words::ACCOUNTS)
        };
        Self {
            people,
            accounts: !people && table.columns.iter().zip(&names).any(account),
        }
    }
}

/// Gives every column of a table with its role.
pub(super) fn assess(table: &TableProfile, holds: Holds) -> Vec<Assessed<'_>> {
    let columns = table.columns.iter();
    columns
        .map(|column| {
            let name = Name::new(&column.name);
            let mut reasons = Vec::new();
            let (role, score) = if let Some(reason) = sensitive(column, &name, holds) {
                reasons.push(reason.to_owned());
                (Role::Sensitive, 0.0)
            } else {
                role(column, &name, &mut reasons)
            };
            Assessed {
                table: &table.table,
                column,
                is_secret: role == Role::Sensitive && is_secret(column, &name),
                name,
                role,
                is_excluded: false,
                score: (score * 1000.0).round() / 1000.0,
                reasons,
            }
        })
        .collect()
}

/// Whether a sensitive column is a secret or a number of an account, rather than a way to reach somebody.
fn is_secret(column: &ColumnProfile, name: &Name) -> bool {
    name.has(&words::SECRETS)
        || name.contains(&words::SECRET_PARTS)
        || matches!(column.class, ValueClass::Hash | ValueClass::Personal)
}

/// Says why a column must be in no text and no metadata, if so.
fn sensitive(column: &ColumnProfile, name: &Name, holds: Holds) -> Option<&'static str> {
    let readable = matches!(
        column.class,
        ValueClass::Prose | ValueClass::Phrase | ValueClass::Html
    );
    let (secret, identity) = (
        can_be_secret(column.data_type),
        can_identify(column.data_type),
    );
    if secret && (name.has(&words::SECRETS) || name.contains(&words::SECRET_PARTS)) {
        return Some("its name says that it holds a secret");
    }
    let rate = name.has(&words::RATES);
    if identity && !rate && (name.has(&words::IDENTITIES) || name.contains(&words::IDENTITY_PARTS))
    {
        return Some("its name says that it identifies a person or an account");
    }
    let contact = name.has(&words::CONTACTS) || name.contains(&words::CONTACT_PARTS);
    let reference = column.data_type == DataType::Integer
        && name.words().last().is_some_and(|last| last == "id");
    if secret && contact && !readable && !reference {
        return Some("its name says that it reaches a person");
    }
    let earns = name.has(&words::EARNINGS) || holds.people && name.has(&words::INCOMES);
    if earns && !name.has(&words::RANGES) {
        return Some("its name says what a person earns");
    }
    if holds.accounts && column.data_type == DataType::Text && !name.has(&words::PROSE) {
        return Some("it stands beside an account's number");
    }
    match column.class {
        ValueClass::Email => Some("its values look like e-mail addresses"),
        ValueClass::Phone => Some("its values look like telephone numbers"),
        ValueClass::Hash => Some("its values look like digests or tokens"),
        ValueClass::Personal => {
            Some("its values look like card, account, tax, identity or network numbers")
        }
        ValueClass::Address if holds.people => {
            Some("its values look like the addresses of persons")
        }
        ValueClass::Prose
        | ValueClass::Address
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
        | ValueClass::Mixed => None,
    }
}

const fn can_be_secret(data_type: DataType) -> bool {
    match data_type {
        DataType::Text
        | DataType::Integer
        | DataType::Uuid
        | DataType::Json
        | DataType::Bytes
        | DataType::Array
        | DataType::Other => true,
        DataType::Decimal
        | DataType::Float
        | DataType::Boolean
        | DataType::Date
        | DataType::Time
        | DataType::Timestamp
        | DataType::Interval
        | DataType::Enum => false,
    }
}

const fn can_identify(data_type: DataType) -> bool {
    match data_type {
        DataType::Text
        | DataType::Integer
        | DataType::Uuid
        | DataType::Json
        | DataType::Bytes
        | DataType::Array
        | DataType::Date
        | DataType::Timestamp
        | DataType::Other => true,
        DataType::Decimal
        | DataType::Float
        | DataType::Boolean
        | DataType::Time
        | DataType::Interval
        | DataType::Enum => false,
    }
}

fn role(column: &ColumnProfile, name: &Name, reasons: &mut Vec<String>) -> (Role, f64) {
    match column.data_type {
        DataType::Text => text_role(column, name, reasons),
        DataType::Integer if name.has(&words::ADDRESSES) => (Role::Other, 0.0),
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

fn text_role(column: &ColumnProfile, name: &Name, reasons: &mut Vec<String>) -> (Role, f64) {
    if name.has(&words::ADDRESSES) || name.contains(&words::ADDRESS_PARTS) {
        reasons.push("its name says that it is a part of an address".to_owned());
        return (Role::Other, 0.1);
    }
    if is_machine(name, column.class) {
        reasons.push("its name says that a program wrote it".to_owned());
        return (Role::Other, 0.1);
    }
    let (by_name, name_reason) = name_score(name);
    reasons.push(name_reason.to_owned());
    let few = is_category(column, name);
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
        ValueClass::Empty => return unseen(column, name, by_name, reasons),
        ValueClass::Mixed
        | ValueClass::Url
        | ValueClass::Json
        | ValueClass::Email
        | ValueClass::Phone
        | ValueClass::Personal
        | ValueClass::Address
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
    let titled = role == Role::Prose && is_label_name(name) && column.mean_chars < 80.0;
    let role = if titled { Role::Label } else { role };
    let filled = 1.0 - (column.null_ratio + column.empty_ratio).min(1.0);
    let score = VALUE_WEIGHT * by_value + (1.0 - VALUE_WEIGHT) * by_name;
    // Seldom filled texts count a little less; what is written there is still worth finding.
    (role, score * (0.85 + 0.15 * filled))
}

/// Whether the name says that a program wrote the values, and for programs. Where a name promises sentences of a person beside, as
/// `error_description` does, it does not.
fn is_machine(name: &Name, class: ValueClass) -> bool {
    let sentences = matches!(class, ValueClass::Prose | ValueClass::Html);
    name.contains(&words::MACHINE_PARTS)
        || name.has(&words::MACHINE) && !(sentences && is_prose_name(name))
        || name.has(&words::MACHINE_CODES) && !sentences
}

fn is_label_name(name: &Name) -> bool {
    name.has(&words::LABELS) || name.ends_with(&words::LABEL_ENDS)
}

fn is_prose_name(name: &Name) -> bool {
    name.has(&words::PROSE) || name.ends_with(&words::PROSE_ENDS)
}

fn name_score(name: &Name) -> (f64, &'static str) {
    if is_prose_name(name) {
        (1.0, "its name promises text")
    } else if is_label_name(name) {
        (0.9, "its name says what a row is called")
    } else if name.has(&words::TECHNICAL) || name.has(&words::CATEGORIES) {
        (0.0, "its name is a technical one")
    } else {
        (0.4, "its name says little")
    }
}

/// Few distinct values among many, or a name that says so where there are too few values to tell.
fn is_category(column: &ColumnProfile, name: &Name) -> bool {
    let titled = is_label_name(name) && !name.has(&words::CATEGORIES);
    if titled && (column.distinct_ratio > 0.05 || column.mean_words >= 2.0) {
        return false;
    }
    let says_so = name.has(&words::CATEGORIES) || name.has(&words::TECHNICAL);
    let repeats = column.samples >= 20 && column.distinct_ratio <= 0.25 && column.mean_words < 4.0;
    repeats || (says_so && column.mean_words < 3.0)
}

/// No value was seen, so the name alone decides, with less weight.
fn unseen(
    column: &ColumnProfile,
    name: &Name,
    by_name: f64,
    reasons: &mut Vec<String>,
) -> (Role, f64) {
    if column.samples > 0 {
        reasons.push("all sampled values are empty".to_owned());
        return (Role::Other, 0.1);
    }
    reasons.push("no value was sampled".to_owned());
    if is_prose_name(name) {
        (Role::Prose, by_name * 0.6)
    } else if is_label_name(name) {
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
            byte_order: false,
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
        let name = Name::new(&column.name);
        if sensitive(column, &name, Holds::default()).is_some() {
            return (Role::Sensitive, 0.0);
        }
        role(column, &name, &mut Vec::new())
    }

    #[test]
    fn values_count_more_than_names() {
        let (role, prose) = assessed(&column("x7", ValueClass::Prose, 14.0, 1.0));
        assert_eq!(role, Role::Prose);
        for name in ["raw text", "customer_request", "error_description"] {
            assert_eq!(
                assessed(&column(name, ValueClass::Prose, 14.0, 1.0)).0,
                Role::Prose,
                "{name}"
            );
        }
        for name in ["last_error", "payload", "StackTrace"] {
            assert_eq!(
                assessed(&column(name, ValueClass::Prose, 14.0, 1.0)).0,
                Role::Other,
                "{name}"
            );
        }
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
            ("kontoinhaber", ValueClass::Phrase),
            ("FechaNacimiento", ValueClass::Date),
            ("nif", ValueClass::Code),
            ("telefon_privat", ValueClass::Mixed),
            ("c4", ValueClass::Personal),
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
