//! The one parser of connection URLs: an allow-list of schemes and parameters, before any driver sees them.
//!
//! A database driver's own parser starts from `PG*` variables and `~/.pgpass` and accepts sockets and key files. This one
//! takes what stands in the URL and nothing else, and none of its errors repeats a part of the URL that may be a password.

use std::fmt;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::time::Duration;

use secrecy::SecretString;
use sqlx::mysql::MySqlConnectOptions;
use sqlx::postgres::PgConnectOptions;

use crate::allowed::relay::Relay;
use crate::allowed::{Allowed, Role};
use crate::error::{Error, ErrorKind, Result};
use crate::model::metadata::Dialect;

mod server;

use server::{CONNECT_TIMEOUT, MYSQL, Mysql, POSTGRES, Postgres, Server};

const SUPPORTED: &str = "supported are postgres://USER:PASSWORD@HOST:PORT/DATABASE, \
                         mysql://USER:PASSWORD@HOST:PORT/DATABASE (MariaDB too) and sqlite:PATH";

/// A checked connection URL. Neither `Debug` nor `Display` shows its password.
#[derive(Clone)]
pub struct ConnectionUrl {
    parts: Parts,
    role: Role,
    allowed: Allowed,
}

#[derive(Clone)]
enum Parts {
    Postgres(Postgres),
    Mysql(Mysql),
    Sqlite(PathBuf),
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
            "sqlite" => sqlite(rest).map(|path| Self::of(Parts::Sqlite(path))),
            "postgres" | "postgresql" => {
                Postgres::parse(text).map(|parts| Self::of(Parts::Postgres(parts)))
            }
            "mysql" | "mariadb" => Mysql::parse(text).map(|parts| Self::of(Parts::Mysql(parts))),
            other if is_word(other) => Err(invalid(format!(
                "the scheme `{other}:` of the connection URL is not supported"
            ))
            .hint(SUPPORTED)),
            _ => Err(invalid("the connection URL has no scheme").hint(SUPPORTED)),
        }
    }

    const fn of(parts: Parts) -> Self {
        Self {
            parts,
            role: Role::Source,
            allowed: Allowed::everything(),
        }
    }

    /// Keeps to what is allowed, in a role, wherever the URL is connected with.
    #[must_use]
    pub fn within(mut self, role: Role, allowed: &Allowed) -> Self {
        self.role = role;
        self.allowed = allowed.clone();
        self
    }

    /// Checks the server or the file as it is written; a name is checked again when it is connected to.
    ///
    /// # Errors
    /// It is not allowed.
    pub fn check_allowed(&self) -> Result<()> {
        match (self.parts(), &self.parts) {
            (Some(server), _) => self
                .allowed
                .check_host(self.role, &server.host, server.port),
            (None, Parts::Sqlite(path)) => self.allowed.file(path).map(drop),
            (None, Parts::Postgres(_) | Parts::Mysql(_)) => Ok(()),
        }
    }

    /// Gives the sort of database.
    #[must_use]
    pub const fn dialect(&self) -> Dialect {
        match &self.parts {
            Parts::Postgres(_) => Dialect::Postgres,
            Parts::Mysql(_) => Dialect::Mysql,
            Parts::Sqlite(_) => Dialect::Sqlite,
        }
    }

    /// What the URL of a server says; nothing for a file.
    const fn parts(&self) -> Option<&Server> {
        match &self.parts {
            Parts::Postgres(parts) => Some(&parts.server),
            Parts::Mysql(parts) => Some(&parts.server),
            Parts::Sqlite(_) => None,
        }
    }

    /// Gives the URL for messages and logs: without its password.
    #[must_use]
    pub fn redacted(&self) -> String {
        self.without_password()
    }

    /// Gives the password, if the URL has one.
    #[must_use]
    pub fn password(&self) -> Option<&SecretString> {
        self.parts()?.password.as_ref()
    }

    /// Gives an equal URL without its password.
    #[must_use]
    pub fn without_password(&self) -> String {
        match &self.parts {
            Parts::Postgres(Postgres { server, .. }) | Parts::Mysql(Mysql { server, .. }) => {
                server.without_password.clone()
            }
            Parts::Sqlite(path) => format!("sqlite:{}", path.display()),
        }
    }

    /// Gives the database's name (PostgreSQL, MySQL) or the file's name (SQLite).
    #[must_use]
    pub fn database(&self) -> String {
        match &self.parts {
            Parts::Postgres(Postgres { server, .. }) | Parts::Mysql(Mysql { server, .. }) => {
                server.database.clone()
            }
            Parts::Sqlite(path) => path.file_name().map_or_else(
                || path.display().to_string(),
                |name| name.to_string_lossy().into_owned(),
            ),
        }
    }

    /// Gives `host:port` of a server for messages; nothing for a file.
    #[must_use]
    pub fn server(&self) -> Option<String> {
        let server = self.parts()?;
        Some(format!("{}:{}", server.host, server.port))
    }

    /// Gives the longest time that connecting may take.
    #[must_use]
    pub fn connect_timeout(&self) -> Duration {
        self.parts()
            .map_or(CONNECT_TIMEOUT, |server| server.connect_timeout)
    }

    /// Gives sqlx's options with every field from this URL: no `PG*` variable and no password file has a say in them.
    /// Where the URL has no password, the empty one is sent.
    ///
    /// # Errors
    /// It is not a PostgreSQL URL, or a variable is set that sqlx would obey whatever the URL says.
    pub fn pg_options(&self) -> Result<PgConnectOptions> {
        match &self.parts {
            Parts::Postgres(parts) => parts.options(),
            Parts::Mysql(_) | Parts::Sqlite(_) => {
                Err(self.of_another_sort("PostgreSQL", POSTGRES.example))
            }
        }
    }

    /// Gives sqlx's options with every field from this URL, for a session that is not changed behind relvec's back.
    ///
    /// # Errors
    /// It is not a URL of MySQL or MariaDB.
    pub fn mysql_options(&self) -> Result<MySqlConnectOptions> {
        match &self.parts {
            Parts::Mysql(parts) => Ok(parts.options()),
            Parts::Postgres(_) | Parts::Sqlite(_) => {
                Err(self.of_another_sort("MySQL", MYSQL.example))
            }
        }
    }

    /// Gives sqlx's options of [`Self::pg_options`] for one connection, at an address that is allowed now.
    ///
    /// # Errors
    /// As [`Self::pg_options`]; and the server is not allowed, or does not answer.
    pub async fn pg_route(&self) -> Result<PgConnectOptions> {
        let options = self.pg_options()?;
        Ok(match self.relay().await? {
            Some(relay) => options.socket(relay.folder()),
            None => options,
        })
    }

    /// Gives sqlx's options of [`Self::mysql_options`] for one connection, at an address that is allowed now.
    ///
    /// # Errors
    /// As [`Self::mysql_options`]; and the server is not allowed, or does not answer.
    pub async fn mysql_route(&self) -> Result<MySqlConnectOptions> {
        let options = self.mysql_options()?;
        Ok(match self.relay().await? {
            Some(relay) => options.socket(relay.socket()),
            None => options,
        })
    }

    /// Connects to an allowed address; nothing where every address is.
    async fn relay(&self) -> Result<Option<Relay>> {
        let Some(addresses) = self.addresses().await? else {
            return Ok(None);
        };
        let Some(Server { host, port, .. }) = self.parts() else {
            return Ok(None);
        };
        Relay::open(host, *port, &addresses, self.connect_timeout())
            .await
            .map(Some)
    }

    /// Gives the addresses of the server that are allowed; nothing where every address is, or the URL is a file's.
    ///
    /// # Errors
    /// The host cannot be looked up in time, or has no address that is allowed.
    pub async fn addresses(&self) -> Result<Option<Vec<SocketAddr>>> {
        let Some(Server { host, port, .. }) = self.parts() else {
            return Ok(None);
        };
        let looking = self.allowed.addresses(self.role, host, *port);
        tokio::time::timeout(self.connect_timeout(), looking)
            .await
            .unwrap_or_else(|_| {
                Err(Error::new(
                    ErrorKind::Unavailable,
                    format!("the host `{host}` cannot be looked up in time"),
                ))
            })
    }

    /// Gives the host of a server; nothing for a file.
    #[must_use]
    pub fn host(&self) -> Option<&str> {
        self.parts().map(|server| server.host.as_str())
    }

    /// Gives the path of the SQLite file, if it is allowed; without symbolic links in it where there are rules.
    ///
    /// # Errors
    /// It is not a SQLite URL, or the file is not in an allowed folder.
    pub fn sqlite_file(&self) -> Result<PathBuf> {
        self.allowed.file(self.sqlite_path()?)
    }

    /// Gives the path of the SQLite file; it need not exist.
    ///
    /// # Errors
    /// It is not a SQLite URL.
    pub fn sqlite_path(&self) -> Result<&Path> {
        match &self.parts {
            Parts::Sqlite(path) => Ok(path),
            Parts::Postgres(_) | Parts::Mysql(_) => {
                Err(self.of_another_sort("SQLite", "sqlite:PATH"))
            }
        }
    }

    fn of_another_sort(&self, wanted: &str, example: &str) -> Error {
        let found = match &self.parts {
            Parts::Postgres(_) => "a PostgreSQL database",
            Parts::Mysql(_) => "a MySQL database",
            Parts::Sqlite(_) => "a SQLite file",
        };
        invalid(format!("{wanted} is needed here, and `{self}` is {found}"))
            .hint(format!("give {example}"))
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
        return Err(server::refused_parameter(name, "SQLite").hint(
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
    use secrecy::ExposeSecret;
    use sqlx::postgres::PgSslMode;

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
    fn reads_the_parts_of_a_mysql_url() {
        for scheme in ["mysql", "mariadb"] {
            let url = ConnectionUrl::parse(&format!(
                "{scheme}://al%40ice:s%3Acret%2F@db.example/my%20shop?ssl-mode=VERIFY_CA&connect_timeout=3"
            ))
            .expect("valid");
            assert_eq!(url.dialect(), Dialect::Mysql);
            assert_eq!(
                url.password().map(ExposeSecret::expose_secret),
                Some("s:cret/")
            );
            assert_eq!(
                url.to_string(),
                format!(
                    "{scheme}://al%40ice@db.example/my%20shop?ssl-mode=VERIFY_CA&connect_timeout=3"
                )
            );
            assert!(!format!("{url:?}").contains("cret"));
            assert_eq!(url.server().as_deref(), Some("db.example:3306"));
            assert_eq!(url.database(), "my shop");
            assert_eq!(url.connect_timeout(), Duration::from_secs(3));
            let options = url.mysql_options().expect("MySQL");
            assert_eq!(
                (options.get_host(), options.get_port()),
                ("db.example", 3306)
            );
            assert!(options.get_socket().is_none());
            assert!(url.pg_options().is_err() && url.sqlite_path().is_err());
        }
    }

    #[test]
    fn refuses_parameters_by_name() {
        for name in ["host", "sslkey", "options", "passfile", "service"] {
            let message = error_of(&format!("postgres://u@h/d?{name}=/etc/x"));
            assert!(message.contains(&format!("`{name}`")), "{message}");
            assert!(!message.contains("/etc/x"), "{message}");
        }
        assert!(error_of("sqlite:a.db?mode=rwc").contains("`mode`"));
        for name in [
            "socket",
            "ssl-ca",
            "ssl-key",
            "charset",
            "statement-cache-capacity",
        ] {
            let message = error_of(&format!("mysql://u@h/d?{name}=/etc/x"));
            assert!(
                message.contains(&format!("`{name}`")) && message.contains("ssl-mode"),
                "{message}"
            );
            assert!(!message.contains("/etc/x"), "{message}");
        }
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
            "mysql://u:12/hunter2@h/d",
            "mariadb://u:12?hunter2@h/d",
            "mysql://u:hunter2@h/d?ssl-mode=hunter2",
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
            "mysql://u@%2Frun%2Fmysqld.sock/d",
            "mysql://u@h/",
            "mariadb://h/d",
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
        assert!(error_of("oracle://u:hunter2@h/d").contains("sqlite:PATH"));
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
}
