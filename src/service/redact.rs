//! Keeps secrets out of text that a child process or a driver wrote.

use secrecy::{ExposeSecret, SecretString};
use serde_json::Value;

/// What stands in a secret's place.
const MASK: &str = "***";

/// Shorter secrets are replaced only inside their URL: as a word of their own they would blank out ordinary text.
const SHORTEST: usize = 4;

/// Replaces every known secret by `***`.
#[derive(Debug, Default)]
pub struct Redactor(Vec<SecretString>);

impl Redactor {
    /// Adds a secret: itself, and the password in it if it is a URL, as written and percent-decoded.
    #[must_use]
    pub fn hide(mut self, secret: &SecretString) -> Self {
        let text = secret.expose_secret();
        self.add(text);
        if let Ok(url) = url::Url::parse(text)
            && let Some(password) = url.password()
        {
            self.add(password);
            let decoded = decode(password);
            self.add(&decoded);
        }
        // The longest first, so that a URL goes whole before its password goes alone.
        self.0
            .sort_by_key(|secret| std::cmp::Reverse(secret.expose_secret().len()));
        self
    }

    fn add(&mut self, text: &str) {
        if text.len() >= SHORTEST {
            self.0.push(text.into());
        }
    }

    /// Gives the text without the secrets.
    #[must_use]
    pub fn clean(&self, text: &str) -> String {
        self.0.iter().fold(text.to_owned(), |text, secret| {
            text.replace(secret.expose_secret(), MASK)
        })
    }

    /// Says whether a key, a text or a number of the JSON value has one of the secrets in it.
    #[must_use]
    pub fn finds(&self, value: &Value) -> bool {
        let has = |text: &str| {
            self.0
                .iter()
                .any(|secret| text.contains(secret.expose_secret()))
        };
        match value {
            Value::Null | Value::Bool(_) => false,
            Value::Number(number) => has(&number.to_string()),
            Value::String(text) => has(text),
            Value::Array(items) => items.iter().any(|item| self.finds(item)),
            Value::Object(members) => members
                .iter()
                .any(|(key, value)| has(key) || self.finds(value)),
        }
    }
}

fn decode(text: &str) -> String {
    let mut bytes = Vec::with_capacity(text.len());
    let mut rest = text.as_bytes();
    while let Some((first, tail)) = rest.split_first() {
        let hex = tail.get(..2).filter(|_| *first == b'%');
        let value = hex
            .and_then(|hex| std::str::from_utf8(hex).ok())
            .and_then(|hex| u8::from_str_radix(hex, 16).ok());
        bytes.push(value.unwrap_or(*first));
        rest = if value.is_some() { &tail[2..] } else { tail };
    }
    String::from_utf8_lossy(&bytes).into_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn hides_the_url_and_its_password_in_both_forms() {
        let redactor = Redactor::default()
            .hide(&"postgres://u:p%40ssw%C3%B6rd@h/db".into())
            .hide(&"sk-12345".into());
        let text = "a postgres://u:p%40ssw%C3%B6rd@h/db b p@sswörd c p%40ssw%C3%B6rd d sk-12345";
        assert_eq!(redactor.clean(text), "a *** b *** c *** d ***");
    }

    #[test]
    fn finds_a_secret_wherever_json_holds_it() {
        let redactor = Redactor::default()
            .hide(&"a\"b\u{e9}c".into())
            .hide(&"123456".into());
        for (text, found) in [
            (r#"{"a": ["x a\"b\u00e9c y"]}"#, true),
            (r#"{"a\"b\u00e9c": 1}"#, true),
            (r"[[123456]]", true),
            (r#"{"a": ["b", 12345, null, true]}"#, false),
        ] {
            let value = serde_json::from_str(text).unwrap();
            assert_eq!(redactor.finds(&value), found, "{text}");
        }
    }

    #[test]
    fn leaves_short_words_alone() {
        let redactor = Redactor::default().hide(&"postgres://u:a@h/db".into());
        assert_eq!(redactor.clean("a database"), "a database");
    }
}
