//! Keeps secrets out of text that a child process, a driver or a library wrote.
//!
//! Where a text leaves relvec (a problem's body, a run's events, the log, the last error of a command), it goes through [`edge`]: it
//! knows the secrets of every run that executes now ([`keep`]), and what secrets look like. Who has a secret of its own to hide in a
//! text makes a [`Redactor`].

use std::borrow::Cow;
use std::io::{self, Write};
use std::sync::{Arc, LazyLock, PoisonError, RwLock};

use regex::Regex;
use secrecy::{ExposeSecret, SecretString};
use serde_json::Value;

/// What stands in a secret's place.
const MASK: &str = "***";

/// Shorter secrets are replaced only inside their URL: as a word of their own they would blank out ordinary text.
const SHORTEST: usize = 4;

/// The secrets of the runs that execute now, each with how many of them have it.
static KEPT: RwLock<Vec<(u64, Arc<Redactor>)>> = RwLock::new(Vec::new());

/// Secrets that nothing lets out as long as this lives.
#[derive(Debug)]
pub struct Kept(u64);

/// Keeps secrets from leaving through [`edge`].
#[must_use]
pub fn keep<'s>(secrets: impl Iterator<Item = &'s SecretString>) -> Kept {
    let redactor = secrets.fold(Redactor::default(), Redactor::hide);
    let mut kept = KEPT.write().unwrap_or_else(PoisonError::into_inner);
    let number = kept.last().map_or(0, |(last, _)| last + 1);
    kept.push((number, Arc::new(redactor)));
    Kept(number)
}

impl Drop for Kept {
    fn drop(&mut self) {
        let mut kept = KEPT.write().unwrap_or_else(PoisonError::into_inner);
        kept.retain(|(number, _)| *number != self.0);
    }
}

/// What a secret looks like that nobody said to keep: the password in a URL, in the words of a driver, a token.
static LOOKS_SECRET: LazyLock<[(Regex, &str); 4]> = LazyLock::new(|| {
    [
        (
            r"(?i)\b([a-z][a-z0-9+.-]*://[^\s:/?#@]*):[^\s@]+@",
            "$1:***@",
        ),
        (
            r#"(?i)\b((?:password|passwd|pwd|api_?key)\s*[=:]\s*)("[^"]*"|'[^']*'|[^\s,;&'"`]+)"#,
            "${1}***",
        ),
        (r"(?i)\b(bearer\s+)[a-z0-9._~+/-]{8,}=*", "${1}***"),
        (r"\brelvec_[0-9a-f]{12}_[A-Za-z0-9_-]{43}", "***"),
    ]
    .map(|(pattern, with)| (Regex::new(pattern).expect("a pattern that compiles"), with))
});

/// Gives a text as it may leave relvec.
#[must_use]
pub fn edge(text: &str) -> Cow<'_, str> {
    let mut shown = Cow::Borrowed(text);
    let kept: Vec<Arc<Redactor>> = {
        let kept = KEPT.read().unwrap_or_else(PoisonError::into_inner);
        kept.iter()
            .map(|(_, redactor)| Arc::clone(redactor))
            .collect()
    };
    for redactor in kept {
        if redactor.is_in(&shown) {
            shown = Cow::Owned(redactor.clean(&shown));
        }
    }
    for (looks, with) in LOOKS_SECRET.iter() {
        if looks.is_match(&shown) {
            shown = Cow::Owned(looks.replace_all(&shown, *with).into_owned());
        }
    }
    shown
}

/// Makes a text one that may leave relvec.
pub fn clean_in_place(text: &mut String) {
    if let Cow::Owned(clean) = edge(text) {
        *text = clean;
    }
}

/// Standard error, for the log: each line leaves through [`edge`].
#[derive(Debug, Clone, Copy, Default)]
pub struct LogWriter;

impl Write for LogWriter {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let text = String::from_utf8_lossy(bytes);
        io::stderr().lock().write_all(edge(&text).as_bytes())?;
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        io::stderr().lock().flush()
    }
}

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

    fn is_in(&self, text: &str) -> bool {
        self.0
            .iter()
            .any(|secret| text.contains(secret.expose_secret()))
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
    fn the_edge_lets_no_secret_of_a_run_out_while_it_executes() {
        let secrets: [SecretString; 2] = [
            "postgres://u:edge%2Dcanary@h/db".into(),
            "sk-edge-4711".into(),
        ];
        let text = "a edge-canary b edge%2Dcanary c sk-edge-4711";
        assert_eq!(edge(text), text);
        let kept = keep(secrets.iter());
        assert_eq!(edge(text), "a *** b *** c ***");
        let again = keep(secrets.iter());
        drop(kept);
        assert_eq!(edge(text), "a *** b *** c ***");
        drop(again);
        assert_eq!(edge(text), text);
    }

    #[test]
    fn the_edge_knows_what_secrets_look_like() {
        let token = crate::access::NewToken::make().unwrap().text;
        let token = token.expose_secret();
        for (text, shown) in [
            (
                "at postgres://u:p:x/y@h:5432/db now",
                "at postgres://u:***@h:5432/db now",
            ),
            (
                "could not parse mysql://root:hunter2@h",
                "could not parse mysql://root:***@h",
            ),
            (
                "conninfo host=h password=hunter2 dbname=d",
                "conninfo host=h password=*** dbname=d",
            ),
            ("password='two words', user=u", "password=***, user=u"),
            (
                "header Authorization: Bearer abcdefgh12345678==",
                "header Authorization: Bearer ***",
            ),
            (token, "***"),
        ] {
            assert_eq!(edge(text), shown);
        }
        for plain in [
            "https://h/path?a=b and a@b",
            "http://127.0.0.1:7070/jobs",
            "the server refuses the password of user u",
            "password authentication failed for user \"u\"",
            "column password: text",
        ] {
            let shown = edge(plain);
            assert!(shown == plain || plain.starts_with("column"), "{shown}");
        }
    }

    #[test]
    fn leaves_short_words_alone() {
        let redactor = Redactor::default().hide(&"postgres://u:a@h/db".into());
        assert_eq!(redactor.clean("a database"), "a database");
    }
}
