//! Who may do what: tokens, the tenant that each stands for, and its scopes.
//!
//! A token is `relvec_ID_SECRET`. The id finds it in the store and may be shown; the secret has 256 random bits, is shown once,
//! and only the BLAKE3 hash of the whole text is kept: what cannot be guessed needs no slow hash and no salt.

use std::collections::BTreeSet;
use std::fmt;
use std::str::FromStr;

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use secrecy::{ExposeSecret as _, SecretString};

use crate::error::{Error, ErrorKind, Result};

/// The tenant of the command line, and of a gateway without tokens.
pub const LOCAL: &str = "local";

/// What every token begins with, so that scanners for secrets know one.
const PREFIX: &str = "relvec";

/// Hexadecimal digits of a token's id.
const ID_DIGITS: usize = 12;

/// Random bytes of a token's secret.
const SECRET_BYTES: usize = 32;

/// The most characters of a tenant's name.
const MOST_NAME: usize = 63;

/// What a token allows.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Scope {
    /// Submitting jobs and retrying runs.
    Submit,
    /// Reading runs, their events, logs and files, and graphs.
    Read,
    /// Answering questions and cancelling.
    Answer,
    /// All three of them.
    Admin,
    /// Reading the gateway's figures, which count the runs of all tenants. No other scope holds it.
    Metrics,
}

impl Scope {
    /// Every scope.
    pub const ALL: [Self; 5] = [
        Self::Submit,
        Self::Read,
        Self::Answer,
        Self::Admin,
        Self::Metrics,
    ];

    /// Gives the scope's name.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Submit => "submit",
            Self::Read => "read",
            Self::Answer => "answer",
            Self::Admin => "admin",
            Self::Metrics => "metrics",
        }
    }
}

/// A set of scopes.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Scopes(BTreeSet<Scope>);

impl Scopes {
    /// Gives the set of all scopes.
    #[must_use]
    pub fn all() -> Self {
        Self(Scope::ALL.into())
    }

    /// Says whether a scope is allowed: `admin` holds the others of a tenant, and not `metrics`, which is about all tenants.
    #[must_use]
    pub fn allow(&self, scope: Scope) -> bool {
        let is_held = scope != Scope::Metrics && self.0.contains(&Scope::Admin);
        is_held || self.0.contains(&scope)
    }
}

impl FromStr for Scopes {
    type Err = Error;

    fn from_str(text: &str) -> Result<Self> {
        let scopes = text.split(',').map(|name| {
            let named = |scope: &Scope| scope.name() == name.trim();
            Scope::ALL.into_iter().find(named).ok_or_else(|| {
                let shown: String = name.chars().take(40).collect();
                Error::new(ErrorKind::Usage, format!("`{shown}` is no scope")).hint(
                    "scopes are submit, read, answer, admin and metrics, with commas between them",
                )
            })
        });
        scopes.collect::<Result<_>>().map(Self)
    }
}

impl fmt::Display for Scopes {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let names: Vec<&str> = self.0.iter().map(|scope| scope.name()).collect();
        f.write_str(&names.join(","))
    }
}

/// Checks a tenant's name.
///
/// # Errors
/// It is not made of a to z, 0 to 9, `-` and `_`, beginning with a letter or a digit.
pub fn check_tenant(name: &str) -> Result<()> {
    let plain = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit();
    if (1..=MOST_NAME).contains(&name.len())
        && name.starts_with(plain)
        && name.chars().all(|c| plain(c) || matches!(c, '-' | '_'))
    {
        return Ok(());
    }
    Err(Error::new(
        ErrorKind::Usage,
        "this is no name of a tenant",
    )
    .hint(format!(
        "a tenant has 1 to {MOST_NAME} of a to z, 0 to 9, `-` and `_`, and begins with a letter or a digit"
    )))
}

/// A token that was made just now: the only time that its text is known.
#[derive(Debug)]
pub struct NewToken {
    /// Its id.
    pub id: String,
    /// Its text, for whoever will use it.
    pub text: SecretString,
    /// What is kept of it.
    pub hash: TokenHash,
}

impl NewToken {
    /// Makes a token of the system's random numbers.
    ///
    /// # Errors
    /// The system gives none.
    pub fn make() -> Result<Self> {
        let mut id = [0_u8; ID_DIGITS / 2];
        let mut secret = [0_u8; SECRET_BYTES];
        for bytes in [&mut id[..], &mut secret[..]] {
            getrandom::fill(bytes).map_err(|error| {
                Error::new(ErrorKind::Internal, "the system gives no random numbers")
                    .because(error.to_string())
            })?;
        }
        let id = hex(&id);
        let text = format!("{PREFIX}_{id}_{}", URL_SAFE_NO_PAD.encode(secret));
        Ok(Self {
            hash: TokenHash::of(&text),
            text: text.into(),
            id,
        })
    }
}

fn hex(bytes: &[u8]) -> String {
    use std::fmt::Write as _;
    bytes.iter().fold(String::new(), |mut text, byte| {
        let _ = write!(text, "{byte:02x}");
        text
    })
}

/// The BLAKE3 hash of a token's text. Comparing two takes the same time wherever they differ.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct TokenHash(blake3::Hash);

impl TokenHash {
    fn of(text: &str) -> Self {
        Self(blake3::hash(text.as_bytes()))
    }

    /// Reads a hash as the store keeps it.
    #[must_use]
    pub fn from_hex(text: &str) -> Option<Self> {
        blake3::Hash::from_hex(text).ok().map(Self)
    }

    /// Gives the hash in lower-case hexadecimal.
    #[must_use]
    pub fn to_hex(self) -> String {
        self.0.to_hex().to_string()
    }
}

/// A token as a caller shows it: its id, and the hash of its text.
#[derive(Debug)]
pub struct ShownToken {
    /// The id that it names.
    pub id: String,
    /// The hash to compare with the one that is kept.
    pub hash: TokenHash,
}

impl ShownToken {
    /// Reads a token; none where the text does not have a token's form.
    #[must_use]
    pub fn read(text: &SecretString) -> Option<Self> {
        let text = text.expose_secret();
        let (id, secret) = text
            .strip_prefix(PREFIX)?
            .strip_prefix('_')?
            .split_once('_')?;
        let is_id = id.len() == ID_DIGITS && id.bytes().all(|byte| byte.is_ascii_hexdigit());
        let is_secret = URL_SAFE_NO_PAD
            .decode(secret)
            .is_ok_and(|bytes| bytes.len() == SECRET_BYTES);
        (is_id && is_secret).then(|| Self {
            id: id.to_owned(),
            hash: TokenHash::of(text),
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_token_is_known_by_its_hash_only() {
        let made = NewToken::make().unwrap();
        let other = NewToken::make().unwrap();
        let shown = ShownToken::read(&made.text).unwrap();
        assert_eq!(shown.id, made.id);
        assert_eq!(Some(shown.hash), TokenHash::from_hex(&made.hash.to_hex()));
        assert_ne!(shown.hash, other.hash);
        let text = made.text.expose_secret();
        assert!(!made.hash.to_hex().contains(&text[20..]));
        let mut changed = text.to_owned();
        let last = if changed.pop() == Some('A') { 'E' } else { 'A' };
        changed.push(last);
        let changed = ShownToken::read(&changed.into()).unwrap();
        assert_eq!(changed.id, made.id);
        assert_ne!(changed.hash, made.hash);
    }

    #[test]
    fn what_has_not_the_form_of_a_token_is_none() {
        let made = NewToken::make().unwrap();
        let text = made.text.expose_secret();
        for wrong in [
            "",
            "relvec",
            "relvec__",
            "relvec_0123456789ab_",
            "relvec_0123456789ab_short",
            &text[..text.len() - 1],
            &text[1..],
            &format!("{text}A"),
            &text.replacen("relvec", "RELVEC", 1),
        ] {
            assert!(ShownToken::read(&wrong.into()).is_none(), "{wrong}");
        }
    }

    #[test]
    fn scopes_are_read_and_admin_holds_those_of_its_tenant() {
        let scopes: Scopes = "read, submit".parse().unwrap();
        assert_eq!(scopes.to_string(), "submit,read");
        assert!(scopes.allow(Scope::Read) && !scopes.allow(Scope::Answer));
        let admin: Scopes = "admin".parse().unwrap();
        let held = Scope::ALL.into_iter().filter(|scope| admin.allow(*scope));
        assert_eq!(held.count(), 4);
        assert!(!admin.allow(Scope::Metrics));
        for wrong in ["", "read,", "root", "READ"] {
            assert!(wrong.parse::<Scopes>().is_err(), "{wrong}");
        }
    }

    #[test]
    fn tenants_have_plain_names() {
        for name in ["a", "team-7", "0_x", LOCAL] {
            assert!(check_tenant(name).is_ok(), "{name}");
        }
        for name in ["", "A", "-a", "a b", "a/b", "ä", &"a".repeat(64)] {
            assert!(check_tenant(name).is_err(), "{name}");
        }
    }
}
