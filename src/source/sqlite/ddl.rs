//! What no pragma tells, read from the statements that `sqlite_schema` keeps: names and deferrability of foreign keys, collations of
//! columns, expressions of indexes. `SQLite` has parsed each of them already, so that this only has to find words.

use std::collections::HashMap;

use crate::model::metadata::Deferrability;

/// A foreign key of a CREATE TABLE, in the order of the statement.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct KeyClause {
    pub(super) name: Option<String>,
    pub(super) deferrable: Deferrability,
}

/// What a CREATE TABLE says.
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct TableClauses {
    /// By the column's name in lower case.
    pub(super) collations: HashMap<String, String>,
    pub(super) keys: Vec<KeyClause>,
}

/// What a CREATE INDEX says.
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct IndexClauses {
    /// What stands at each place of the list, without a direction.
    pub(super) parts: Vec<String>,
    pub(super) predicate: Option<String>,
}

#[derive(Debug, Clone, PartialEq, Eq)]
enum Kind {
    /// A word without quotes.
    Word,
    /// A name in quotes, or a string.
    Quoted,
    Symbol(char),
}

#[derive(Debug, Clone)]
struct Token {
    kind: Kind,
    /// A word or the text within quotes.
    text: String,
    /// How deep in parentheses; those themselves belong to what is around them.
    depth: usize,
    start: usize,
    end: usize,
}

impl Token {
    fn is(&self, word: &str) -> bool {
        self.kind == Kind::Word && self.text.eq_ignore_ascii_case(word)
    }

    fn is_symbol(&self, symbol: char) -> bool {
        self.kind == Kind::Symbol(symbol)
    }
}

pub(super) fn table(sql: &str) -> TableClauses {
    let mut clauses = TableClauses::default();
    for item in items(&tokens(sql)) {
        let mut name = None;
        let keys_before = clauses.keys.len();
        let mut tokens = item
            .iter()
            .enumerate()
            .filter(|(_, token)| token.depth == 1);
        let Some((_, first)) = tokens.next() else {
            continue;
        };
        let column = (!is_table_constraint(first)).then(|| first.text.to_lowercase());
        for (at, token) in item
            .iter()
            .enumerate()
            .filter(|(_, token)| token.depth == 1)
        {
            let next = item.get(at + 1);
            if token.is("CONSTRAINT") {
                name = next.map(|next| next.text.clone());
            } else if token.is("REFERENCES") {
                clauses.keys.push(KeyClause {
                    name: name.take(),
                    deferrable: Deferrability::NotDeferrable,
                });
            } else if token.is("DEFERRABLE") {
                let negated = at
                    .checked_sub(1)
                    .is_some_and(|before| item[before].is("NOT"));
                let key = clauses.keys.last_mut();
                if let Some(key) = key.filter(|_| !negated) {
                    let deferred = next.is_some_and(|next| next.is("INITIALLY"))
                        && item.get(at + 2).is_some_and(|word| word.is("DEFERRED"));
                    key.deferrable = if deferred {
                        Deferrability::InitiallyDeferred
                    } else {
                        Deferrability::InitiallyImmediate
                    };
                }
            } else if let (true, Some(column), Some(next)) = (token.is("COLLATE"), &column, next) {
                clauses.collations.insert(column.clone(), next.text.clone());
            }
            if [
                "PRIMARY",
                "UNIQUE",
                "CHECK",
                "NULL",
                "DEFAULT",
                "COLLATE",
                "GENERATED",
                "AS",
            ]
            .iter()
            .any(|word| token.is(word))
            {
                name = None;
            }
        }
        debug_assert!(clauses.keys.len() >= keys_before);
    }
    clauses
}

fn is_table_constraint(token: &Token) -> bool {
    ["CONSTRAINT", "PRIMARY", "UNIQUE", "CHECK", "FOREIGN"]
        .iter()
        .any(|word| token.is(word))
}

pub(super) fn index(sql: &str) -> IndexClauses {
    let all = tokens(sql);
    let parts = items(&all).into_iter().filter_map(|item| {
        let item = match item {
            [rest @ .., last] if last.is("ASC") || last.is("DESC") => rest,
            item => item,
        };
        let (first, last) = (item.first()?, item.last()?);
        Some(sql[first.start..last.end].to_owned())
    });
    let parts = parts.collect();
    let predicate = all
        .iter()
        .find(|token| token.depth == 0 && token.is("WHERE"))
        .map(|word| sql[word.end..].trim().to_owned());
    IndexClauses { parts, predicate }
}

/// What stands between the commas of the first parentheses.
fn items(tokens: &[Token]) -> Vec<&[Token]> {
    let Some(open) = tokens.iter().position(|token| token.is_symbol('(')) else {
        return Vec::new();
    };
    let inside = &tokens[open + 1..];
    let close = inside.iter().position(|token| token.depth == 0);
    let inside = &inside[..close.unwrap_or(inside.len())];
    inside
        .split(|token| token.depth == 1 && token.is_symbol(','))
        .filter(|item| !item.is_empty())
        .collect()
}

fn tokens(sql: &str) -> Vec<Token> {
    let mut tokens = Vec::new();
    let mut depth = 0_usize;
    let mut at = 0;
    while let Some(character) = sql[at..].chars().next() {
        let rest = &sql[at..];
        let (kind, text, length) = if character.is_whitespace() {
            at += character.len_utf8();
            continue;
        } else if let Some(length) = comment(rest) {
            at += length;
            continue;
        } else if let Some(close) = closing(character) {
            let (text, length) = quoted(rest, close);
            (Kind::Quoted, text, length)
        } else if is_word(character) {
            let length = rest.find(|c| !is_word(c)).unwrap_or(rest.len());
            (Kind::Word, rest[..length].to_owned(), length)
        } else {
            (Kind::Symbol(character), String::new(), character.len_utf8())
        };
        if kind == Kind::Symbol(')') {
            depth = depth.saturating_sub(1);
        }
        let opens = kind == Kind::Symbol('(');
        tokens.push(Token {
            kind,
            text,
            depth,
            start: at,
            end: at + length,
        });
        if opens {
            depth += 1;
        }
        at += length;
    }
    tokens
}

fn is_word(character: char) -> bool {
    character.is_alphanumeric() || matches!(character, '_' | '$') || !character.is_ascii()
}

const fn closing(open: char) -> Option<char> {
    match open {
        '"' | '\'' | '`' => Some(open),
        '[' => Some(']'),
        _ => None,
    }
}

fn comment(rest: &str) -> Option<usize> {
    if rest.starts_with("--") {
        return Some(rest.find('\n').map_or(rest.len(), |end| end + 1));
    }
    let body = rest.strip_prefix("/*")?;
    Some(body.find("*/").map_or(rest.len(), |end| end + 4))
}

/// Reads a quoted text; a doubled quote stands for itself, but not within brackets.
fn quoted(rest: &str, close: char) -> (String, usize) {
    let mut text = String::new();
    let mut characters = rest.char_indices().skip(1).peekable();
    while let Some((at, character)) = characters.next() {
        if character != close {
            text.push(character);
            continue;
        }
        let doubled = close != ']' && characters.peek().is_some_and(|(_, next)| *next == close);
        if !doubled {
            return (text, at + character.len_utf8());
        }
        text.push(close);
        characters.next();
    }
    (text, rest.len())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn key(name: Option<&str>, deferrable: Deferrability) -> KeyClause {
        KeyClause {
            name: name.map(str::to_owned),
            deferrable,
        }
    }

    #[test]
    fn names_collations_and_deferrability_are_found() {
        let clauses = table(
            r#"CREATE TABLE "a (x," /* ( */ (
              id INTEGER PRIMARY KEY, -- DEFERRABLE, REFERENCES
              "Name, (y" TEXT COLLATE NOCASE CONSTRAINT nn NOT NULL DEFAULT 'REFERENCES (',
              [p] INT CONSTRAINT `to p` REFERENCES p(id) ON DELETE CASCADE DEFERRABLE INITIALLY DEFERRED,
              q INT CONSTRAINT uq UNIQUE REFERENCES "REFERENCES" NOT DEFERRABLE INITIALLY IMMEDIATE,
              CHECK (id > 0 AND "Name, (y" COLLATE RTRIM <> ''),
              CONSTRAINT "it""s" FOREIGN KEY (p, q) REFERENCES pq(a, b) DEFERRABLE
              FOREIGN KEY (q) REFERENCES r
            )"#,
        );
        assert_eq!(
            clauses.keys,
            [
                key(Some("to p"), Deferrability::InitiallyDeferred),
                key(None, Deferrability::NotDeferrable),
                key(Some("it\"s"), Deferrability::InitiallyImmediate),
                key(None, Deferrability::NotDeferrable),
            ]
        );
        let collation = clauses.collations.get("name, (y").map(String::as_str);
        assert_eq!((clauses.collations.len(), collation), (1, Some("NOCASE")));
    }

    #[test]
    fn expressions_and_predicates_are_found() {
        let clauses = index(
            "CREATE UNIQUE INDEX \"WHERE (\" ON t(lower(a) || ',' DESC, b, coalesce(c, 'x, y')) WHERE a > 1 AND b IN (1, 2)",
        );
        assert_eq!(
            clauses.parts,
            ["lower(a) || ','", "b", "coalesce(c, 'x, y')"]
        );
        assert_eq!(clauses.predicate.as_deref(), Some("a > 1 AND b IN (1, 2)"));
        assert_eq!(index("CREATE INDEX i ON t(a)").predicate, None);
    }

    #[test]
    fn what_is_not_a_statement_does_no_harm() {
        for odd in [
            "",
            "(",
            ")",
            "CREATE TABLE t(a REFERENCES",
            "'",
            "\"é",
            "t([é",
            "/*",
            "x'",
        ] {
            table(odd);
            index(odd);
        }
    }
}
