//! The one parser of connection URLs: an allow-list of schemes and parameters, before any driver sees them.
//!
//! A database driver's own parser starts from `PG*` variables and `~/.pgpass` and accepts sockets and key files. This one
//! takes what stands in the URL and nothing else, and none of its errors repeats a part of the URL that may be a password.

use std::fmt;
use std::path::{Path, PathBuf};
use std::time::Duration;

use secrecy::{ExposeSecret, SecretString};
use sqlx::postgres::{PgConnectOptions, PgSslMode};

use crate::error::{Error, ErrorKind, Result};
use crate::model::metadata::Dialect;
use crate::settings::variable;

const SUPPORTED: &str = "supported are postgres://USER:PASSWORD@HOST:PORT/DATABASE and sqlite:PATH";
const ENCODE: &str = "write `@`, `:`, `/`, `?`, `#` and `%` in a user, password or database name \
                      as %40, %3A, %2F, %3F, %23 and %25";
const PARAMETERS: [&str; 3] = ["sslmode", "application_name", "connect_timeout"];
const SSL_MODES: [(&str, PgSslMode); 6] = [
    ("disable", PgSslMode::Disable),
    ("allow", PgSslMode::Allow),
    ("prefer", PgSslMode::Prefer),
    ("require", PgSslMode::Require),
    ("verify-ca", PgSslMode::VerifyCa),
    ("verify-full", PgSslMode::VerifyFull),
];

/// A checked connection URL. Neither `Debug` nor `Display` shows its password.
#[derive(Clone)]
pub struct ConnectionUrl(Parts);

#[derive(Clone)]
enum Parts {
    Postgres(PostgresParts),
    Sqlite(PathBuf),
}

#[derive(Clone)]
struct PostgresParts {
    user: String,
    password: Option<SecretString>,
    host: String,
    port: u16,
    database: String,
    ssl_mode: &'static str,
    application_name: Option<String>,
    connect_timeout: Duration,
    without_password: String,
}

impl ConnectionUrl {
    /// Reads a URL.
    ///
    /// # Errors
    /// The scheme is not supported, a parameter is not on the list, or a part is missing or malformed.
    pub fn parse(text: &str) -> Result<Self> {
        let text = text.trim();
        let Some((scheme, rest)) = text.split_once(':') else {
            return Err(invalid("the connection URL has no scheme").hint(SUPPORTED));
        };
        match scheme.to_ascii_lowercase().as_str() {
            "sqlite" => sqlite(rest).map(|path| Self(Parts::Sqlite(path))),
            "postgres" | "postgresql" => postgres(text).map(|parts| Self(Parts::Postgres(parts))),
            "mysql" | "mariadb" => {
                Err(invalid("MySQL and MariaDB are not supported as a source yet").hint(SUPPORTED))
            }
            other if is_word(other) => Err(invalid(format!(
                "the scheme `{other}:` of the connection URL is not supported"
            ))
            .hint(SUPPORTED)),
            _ => Err(invalid("the connection URL has no scheme").hint(SUPPORTED)),
        }
    }

    /// Gives the sort of database.
    #[must_use]
    pub const fn dialect(&self) -> Dialect {
        match &self.0 {
            Parts::Postgres(_) => Dialect::Postgres,
            Parts::Sqlite(_) => Dialect::Sqlite,
        }
    }

    /// Gives the URL for messages and logs: without its password.
    #[must_use]
    pub fn redacted(&self) -> String {
        self.without_password()
    }

    /// Gives the password, if the URL has one.
    #[must_use]
    pub const fn password(&self) -> Option<&SecretString> {
        match &self.0 {
            Parts::Postgres(parts) => parts.password.as_ref(),
            Parts::Sqlite(_) => None,
        }
    }

    /// Gives an equal URL without its password.
    #[must_use]
    pub fn without_password(&self) -> String {
        match &self.0 {
            Parts::Postgres(parts) => parts.without_password.clone(),
            Parts::Sqlite(path) => format!("sqlite:{}", path.display()),
        }
    }

    /// Gives the database's name (PostgreSQL) or the file's name (SQLite).
    #[must_use]
    pub fn database(&self) -> String {
        match &self.0 {
            Parts::Postgres(parts) => parts.database.clone(),
            Parts::Sqlite(path) => path.file_name().map_or_else(
                || path.display().to_string(),
                |name| name.to_string_lossy().into_owned(),
            ),
        }
    }

    /// Gives `host:port` (PostgreSQL) for messages; nothing for a file.
    #[must_use]
    pub fn server(&self) -> Option<String> {
        match &self.0 {
            Parts::Postgres(parts) => Some(format!("{}:{}", parts.host, parts.port)),
            Parts::Sqlite(_) => None,
        }
    }

    /// Gives the longest time that connecting may take.
    #[must_use]
    pub const fn connect_timeout(&self) -> Duration {
        match &self.0 {
            Parts::Postgres(parts) => parts.connect_timeout,
            Parts::Sqlite(_) => Duration::from_secs(10),
        }
    }

    /// Gives sqlx's options with every field from this URL: no `PG*` variable and no password file has a say in them.
    /// Where the URL has no password, the empty one is sent.
    ///
    /// # Errors
    /// It is not a PostgreSQL URL, or a variable is set that sqlx would obey whatever the URL says.
    pub fn pg_options(&self) -> Result<PgConnectOptions> {
        let parts = match &self.0 {
            Parts::Postgres(parts) => parts,
            Parts::Sqlite(path) => {
                return Err(invalid(format!(
                    "PostgreSQL is needed here, and `sqlite:{}` is a SQLite file",
                    path.display()
                ))
                .hint("give postgres://USER:PASSWORD@HOST:PORT/DATABASE"));
            }
        };
        let mode = SSL_MODES
            .iter()
            .find(|(name, _)| *name == parts.ssl_mode)
            .map_or(PgSslMode::Prefer, |(_, mode)| *mode);
        refuse_variables(mode, variable)?;
        Ok(PgConnectOptions::new_without_pgpass()
            .host(&parts.host)
            .port(parts.port)
            .username(&parts.user)
            .password(
                parts
                    .password
                    .as_ref()
                    .map_or("", ExposeSecret::expose_secret),
            )
            .database(&parts.database)
            .ssl_mode(mode)
            .application_name(parts.application_name.as_deref().unwrap_or("relvec"))
            .extra_float_digits(1))
    }

    /// Gives the path of the SQLite file; it need not exist.
    ///
    /// # Errors
    /// It is not a SQLite URL.
    pub fn sqlite_path(&self) -> Result<&Path> {
        match &self.0 {
            Parts::Sqlite(path) => Ok(path),
            Parts::Postgres(parts) => Err(invalid(format!(
                "a SQLite file is needed here, and `{}` is a PostgreSQL database",
                parts.without_password
            ))
            .hint("give sqlite:PATH")),
        }
    }
}

impl fmt::Display for ConnectionUrl {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.redacted())
    }
}

impl fmt::Debug for ConnectionUrl {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "ConnectionUrl({})", self.redacted())
    }
}

fn invalid(message: impl Into<String>) -> Error {
    Error::new(ErrorKind::Invalid, message)
}

/// Refuses the variables that sqlx reads where no option can take their effect back.
fn refuse_variables(mode: PgSslMode, variable: fn(&str) -> Option<String>) -> Result<()> {
    let certificates = ["PGSSLROOTCERT", "PGSSLCERT", "PGSSLKEY"];
    let obeyed = match mode {
        PgSslMode::Disable => &[][..],
        PgSslMode::Allow
        | PgSslMode::Prefer
        | PgSslMode::Require
        | PgSslMode::VerifyCa
        | PgSslMode::VerifyFull => &certificates[..],
    };
    let mut refused = std::iter::once(&"PGOPTIONS").chain(obeyed);
    match refused.find(|name| variable(name).is_some()) {
        None => Ok(()),
        Some(name) => Err(Error::new(
            ErrorKind::Configuration,
            format!("{name} is set in the environment and would change the connection that the URL describes"),
        )
        .hint(format!("unset {name} and run again"))),
    }
}

fn is_word(text: &str) -> bool {
    (1..=40).contains(&text.len())
        && text
            .chars()
            .all(|c| c.is_ascii_alphanumeric() || matches!(c, '_' | '-'))
}

fn sqlite(rest: &str) -> Result<PathBuf> {
    let (path, query) = match rest.split_once('?') {
        Some((path, query)) => (path, Some(query)),
        None => (rest, None),
    };
    if let Some(query) = query {
        let name = query.split(['=', '&']).next().unwrap_or_default();
        return Err(refused_parameter(name, "SQLite").hint(
            "relvec opens SQLite files read-only and takes no parameters; write `?` in a path as %3F",
        ));
    }
    let path = decode(path.strip_prefix("//").unwrap_or(path), "path")?;
    if path.is_empty() {
        return Err(invalid("the SQLite URL names no file").hint("give sqlite:PATH"));
    }
    if path == ":memory:" {
        return Err(invalid(
            "a SQLite database in memory cannot be a source: it is empty and nobody else sees it",
        )
        .hint("give the path of a file: sqlite:PATH"));
    }
    Ok(PathBuf::from(path))
}

fn postgres(text: &str) -> Result<PostgresParts> {
    let url = url::Url::parse(text).map_err(|error| {
        invalid(format!("the PostgreSQL URL is malformed: {error}")).hint(ENCODE)
    })?;
    let user = decode(url.username(), "user")?;
    if user.is_empty() {
        return Err(invalid("the PostgreSQL URL names no user")
            .hint("give postgres://USER:PASSWORD@HOST:PORT/DATABASE")
            .hint(ENCODE));
    }
    if url.fragment().is_some() {
        return Err(invalid("the PostgreSQL URL has a `#` part").hint(ENCODE));
    }
    let host = url.host_str().unwrap_or_default();
    let host = host
        .strip_prefix('[')
        .and_then(|host| host.strip_suffix(']'))
        .unwrap_or(host);
    let plain = |c: char| c.is_ascii_alphanumeric() || matches!(c, '.' | '-' | '_' | ':');
    if host.is_empty() || !host.chars().all(plain) {
        return Err(invalid(
            "the PostgreSQL URL does not name one host: a name or an address, no socket folder, no list",
        )
        .hint("give postgres://USER:PASSWORD@HOST:PORT/DATABASE")
        .hint(ENCODE));
    }
    let raw_database = url.path().strip_prefix('/').unwrap_or_default();
    if raw_database.is_empty() || raw_database.contains(['/', '@']) {
        return Err(invalid("the PostgreSQL URL does not name one database")
            .hint("give postgres://USER:PASSWORD@HOST:PORT/DATABASE")
            .hint(ENCODE));
    }
    let mut parts = PostgresParts {
        user,
        password: url
            .password()
            .map(|password| decode(password, "password"))
            .transpose()?
            .map(SecretString::from),
        host: host.to_owned(),
        port: url.port().unwrap_or(5432),
        database: decode(raw_database, "database name")?,
        ssl_mode: "prefer",
        application_name: None,
        connect_timeout: Duration::from_secs(10),
        without_password: String::new(),
    };
    for (name, value) in url.query_pairs() {
        parts.set(&name, &value)?;
    }
    let mut shown = url;
    // A URL that has a host accepts this; one without was refused above.
    let _ = shown.set_password(None);
    parts.without_password = shown.to_string();
    Ok(parts)
}

impl PostgresParts {
    fn set(&mut self, name: &str, value: &str) -> Result<()> {
        match name {
            "sslmode" => {
                let modes = SSL_MODES.map(|(name, _)| name);
                self.ssl_mode = modes
                    .into_iter()
                    .find(|mode| *mode == value)
                    .ok_or_else(|| {
                        invalid("the parameter `sslmode` has a value that PostgreSQL does not know")
                            .hint(format!("one of {}", modes.join(", ")))
                    })?;
            }
            "application_name" if !value.contains(char::is_control) => {
                self.application_name = Some(value.chars().take(63).collect());
            }
            "application_name" => {
                return Err(invalid(
                    "the parameter `application_name` has control characters",
                ));
            }
            "connect_timeout" => {
                let seconds = value
                    .parse::<u64>()
                    .ok()
                    .filter(|seconds| (1..=300).contains(seconds))
                    .ok_or_else(|| {
                        invalid("the parameter `connect_timeout` is not 1 to 300 seconds")
                    })?;
                self.connect_timeout = Duration::from_secs(seconds);
            }
            _ => return Err(refused_parameter(name, "PostgreSQL")),
        }
        Ok(())
    }
}

fn refused_parameter(name: &str, database: &str) -> Error {
    // What is no plain word may be the end of a password with a `?` in it.
    let message = if is_word(name) {
        format!("the parameter `{name}` is not allowed in a {database} URL")
    } else {
        format!("a parameter of the {database} URL is not allowed")
    };
    let error = invalid(message);
    if database == "PostgreSQL" {
        error
            .hint(format!("allowed are {}", PARAMETERS.join(", ")))
            .hint(ENCODE)
    } else {
        error
    }
}

/// Undoes percent-encoding; a `%` without two digits stands for itself.
fn decode(text: &str, part: &str) -> Result<String> {
    let bytes = text.as_bytes();
    let mut decoded = Vec::with_capacity(bytes.len());
    let mut at = 0;
    while let Some(&byte) = bytes.get(at) {
        let escape = (byte == b'%')
            .then(|| bytes.get(at + 1..at + 3))
            .flatten()
            .and_then(|digits| std::str::from_utf8(digits).ok())
            .filter(|digits| digits.bytes().all(|digit| digit.is_ascii_hexdigit()))
            .and_then(|digits| u8::from_str_radix(digits, 16).ok());
        decoded.push(escape.unwrap_or(byte));
        at += if escape.is_some() { 3 } else { 1 };
    }
    match String::from_utf8(decoded) {
        Ok(text) if !text.contains('\0') => Ok(text),
        _ => Err(invalid(format!(
            "the {part} in the connection URL is not UTF-8 text without NUL"
        ))),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn error_of(text: &str) -> String {
        let error = ConnectionUrl::parse(text).expect_err("refused");
        format!("{error} {}", error.hints().join(" "))
    }

    #[test]
    fn reads_every_part_and_never_shows_the_password() {
        let url = ConnectionUrl::parse(
            "postgresql://al%40ice:s%3Acret%2F@db.example:6543/my%20shop?sslmode=require&connect_timeout=3",
        )
        .expect("valid");
        assert_eq!(
            url.password().map(ExposeSecret::expose_secret),
            Some("s:cret/")
        );
        assert_eq!(
            url.to_string(),
            "postgresql://al%40ice@db.example:6543/my%20shop?sslmode=require&connect_timeout=3"
        );
        assert!(!format!("{url:?}").contains("cret"));
        let options = url.pg_options().expect("PostgreSQL");
        assert_eq!(options.get_host(), "db.example");
        assert_eq!(options.get_port(), 6543);
        assert_eq!(options.get_username(), "al@ice");
        assert_eq!(options.get_database(), Some("my shop"));
        assert_eq!(options.get_application_name(), Some("relvec"));
        assert_eq!(url.connect_timeout(), Duration::from_secs(3));
        assert!(matches!(options.get_ssl_mode(), PgSslMode::Require));
        assert!(url.sqlite_path().is_err());
    }

    #[test]
    fn refuses_parameters_by_name() {
        for name in ["host", "sslkey", "options", "passfile", "service"] {
            let message = error_of(&format!("postgres://u@h/d?{name}=/etc/x"));
            assert!(message.contains(&format!("`{name}`")), "{message}");
            assert!(!message.contains("/etc/x"), "{message}");
        }
        assert!(error_of("sqlite:a.db?mode=rwc").contains("`mode`"));
    }

    #[test]
    fn a_password_that_is_not_encoded_is_never_repeated() {
        for text in [
            "postgres://u:12/hunter2@h/d",
            "postgres://u:12?hunter2@h/d",
            "postgres://u:12#hunter2@h/d",
            "postgres://u:hun/hunter2@h/d",
            "postgres://u:hunter2@/d",
            "postgres://u:hunter2@h/d?sslmode=hunter2",
            "postgres://u:hunter2@h:99999/d",
            "u:hunter2@h",
        ] {
            assert!(!error_of(text).contains("hunter2"), "{text}");
        }
    }

    #[test]
    fn refuses_sockets_lists_and_what_is_missing() {
        for text in [
            "postgres://u@%2Fvar%2Frun/d",
            "postgres://u@a,b/d",
            "postgres://u@/d",
            "postgres://h/d",
            "postgres://u@h",
            "postgres://u@h/",
            "postgres://u@h/a%00b",
            "mysql://u@h/d",
            "sqlite:",
            "sqlite::memory:",
            "sqlite:a%00b",
            "nothing",
        ] {
            assert_eq!(
                ConnectionUrl::parse(text).expect_err(text).kind(),
                ErrorKind::Invalid
            );
        }
        assert!(error_of("mysql://u:hunter2@h/d").contains("sqlite:PATH"));
    }

    #[test]
    fn reads_the_three_forms_of_a_sqlite_path() {
        for (text, path) in [
            ("sqlite:a/b.db", "a/b.db"),
            ("sqlite://a/b.db", "a/b.db"),
            ("sqlite:///a/b%3F100%.db", "/a/b?100%.db"),
            ("sqlite:/a/b.db", "/a/b.db"),
        ] {
            let url = ConnectionUrl::parse(text).expect(text);
            assert_eq!(url.sqlite_path().expect("SQLite"), Path::new(path));
            assert_eq!(url.dialect(), Dialect::Sqlite);
            assert!(url.pg_options().is_err());
        }
    }

    #[test]
    fn variables_that_the_driver_would_obey_are_refused() {
        let options = |name: &str| (name == "PGOPTIONS").then(|| "-c x=y".to_owned());
        let certificate = |name: &str| (name == "PGSSLROOTCERT").then(|| "/x".to_owned());
        let nothing = |_: &str| None;
        let refused = |mode, variable: fn(&str) -> Option<String>| {
            refuse_variables(mode, variable)
                .err()
                .map(|error| error.to_string())
        };
        assert_eq!(refused(PgSslMode::Prefer, nothing), None);
        assert_eq!(refused(PgSslMode::Disable, certificate), None);
        let message = refused(PgSslMode::Disable, options).unwrap();
        assert!(message.contains("PGOPTIONS"), "{message}");
        let message = refused(PgSslMode::VerifyFull, certificate).unwrap();
        assert!(message.contains("PGSSLROOTCERT"), "{message}");
    }
}
