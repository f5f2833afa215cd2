//! The URLs of servers: what those of PostgreSQL and MySQL have in common, and the parameters that each may have.

use std::time::Duration;

use secrecy::{ExposeSecret, SecretString};
use sqlx::mysql::{MySqlConnectOptions, MySqlSslMode};
use sqlx::postgres::{PgConnectOptions, PgSslMode};

use super::{decode, invalid, is_word};
use crate::error::{Error, ErrorKind, Result};
use crate::settings::variable;

/// Longest time that connecting may take where the URL names none.
pub(super) const CONNECT_TIMEOUT: Duration = Duration::from_secs(10);
const ENCODE: &str = "write `@`, `:`, `/`, `?`, `#` and `%` in a user, password or database name \
                      as %40, %3A, %2F, %3F, %23 and %25";
const PG_SSL_MODES: [(&str, PgSslMode); 6] = [
    ("disable", PgSslMode::Disable),
    ("allow", PgSslMode::Allow),
    ("prefer", PgSslMode::Prefer),
    ("require", PgSslMode::Require),
    ("verify-ca", PgSslMode::VerifyCa),
    ("verify-full", PgSslMode::VerifyFull),
];
const MYSQL_SSL_MODES: [(&str, MySqlSslMode); 5] = [
    ("DISABLED", MySqlSslMode::Disabled),
    ("PREFERRED", MySqlSslMode::Preferred),
    ("REQUIRED", MySqlSslMode::Required),
    ("VERIFY_CA", MySqlSslMode::VerifyCa),
    ("VERIFY_IDENTITY", MySqlSslMode::VerifyIdentity),
];

/// How the URLs of a sort of server are written.
pub(super) struct Style {
    name: &'static str,
    pub(super) example: &'static str,
    port: u16,
    parameters: &'static str,
}

pub(super) const POSTGRES: Style = Style {
    name: "PostgreSQL",
    example: "postgres://USER:PASSWORD@HOST:PORT/DATABASE",
    port: 5432,
    parameters: "allowed are sslmode, application_name, connect_timeout",
};
pub(super) const MYSQL: Style = Style {
    name: "MySQL",
    example: "mysql://USER:PASSWORD@HOST:PORT/DATABASE",
    port: 3306,
    parameters: "allowed are ssl-mode, connect_timeout",
};

/// What the URL of any server says.
#[derive(Clone)]
pub(super) struct Server {
    user: String,
    pub(super) password: Option<SecretString>,
    pub(super) host: String,
    pub(super) port: u16,
    pub(super) database: String,
    pub(super) connect_timeout: Duration,
    pub(super) without_password: String,
}

impl Server {
    /// Reads everything but the parameters, which are handed to `set` one by one.
    fn parse(
        style: &Style,
        text: &str,
        mut set: impl FnMut(&mut Self, &str, &str) -> Result<()>,
    ) -> Result<Self> {
        let Style {
            name,
            example,
            port,
            ..
        } = style;
        let url = url::Url::parse(text).map_err(|error| {
            invalid(format!("the {name} URL is malformed: {error}")).hint(ENCODE)
        })?;
        let wrong = |message: String| {
            invalid(message)
                .hint(format!("give {example}"))
                .hint(ENCODE)
        };
        let user = decode(url.username(), "user")?;
        if user.is_empty() {
            return Err(wrong(format!("the {name} URL names no user")));
        }
        if url.fragment().is_some() {
            return Err(invalid(format!("the {name} URL has a `#` part")).hint(ENCODE));
        }
        let host = url.host_str().unwrap_or_default();
        let host = host
            .strip_prefix('[')
            .and_then(|host| host.strip_suffix(']'))
            .unwrap_or(host);
        let plain = |c: char| c.is_ascii_alphanumeric() || matches!(c, '.' | '-' | '_' | ':');
        if host.is_empty() || !host.chars().all(plain) {
            return Err(wrong(format!(
                "the {name} URL does not name one host: a name or an address, no socket folder, no list"
            )));
        }
        let raw_database = url.path().strip_prefix('/').unwrap_or_default();
        if raw_database.is_empty() || raw_database.contains(['/', '@']) {
            return Err(wrong(format!("the {name} URL does not name one database")));
        }
        let password = url.password().map(|password| decode(password, "password"));
        let mut parts = Self {
            user,
            password: password.transpose()?.map(SecretString::from),
            host: host.to_owned(),
            port: url.port().unwrap_or(*port),
            database: decode(raw_database, "database name")?,
            connect_timeout: CONNECT_TIMEOUT,
            without_password: String::new(),
        };
        for (name, value) in url.query_pairs() {
            set(&mut parts, &name, &value)?;
        }
        let mut shown = url;
        // A URL that has a host accepts this; one without was refused above.
        let _ = shown.set_password(None);
        parts.without_password = shown.to_string();
        Ok(parts)
    }

    fn set_connect_timeout(&mut self, value: &str) -> Result<()> {
        let seconds = value.parse::<u64>().ok();
        let seconds = seconds
            .filter(|seconds| (1..=300).contains(seconds))
            .ok_or_else(|| invalid("the parameter `connect_timeout` is not 1 to 300 seconds"))?;
        self.connect_timeout = Duration::from_secs(seconds);
        Ok(())
    }

    fn password(&self) -> &str {
        self.password
            .as_ref()
            .map_or("", ExposeSecret::expose_secret)
    }
}

/// What the URL of a PostgreSQL server says.
#[derive(Clone)]
pub(super) struct Postgres {
    pub(super) server: Server,
    ssl_mode: PgSslMode,
    application_name: Option<String>,
}

impl Postgres {
    pub(super) fn parse(text: &str) -> Result<Self> {
        let mut ssl_mode = PgSslMode::Prefer;
        let mut application_name = None;
        let server = Server::parse(&POSTGRES, text, |server, name, value| match name {
            "sslmode" => {
                ssl_mode = mode(&PG_SSL_MODES, name, value, &POSTGRES)?;
                Ok(())
            }
            "application_name" if !value.contains(char::is_control) => {
                application_name = Some(value.chars().take(63).collect());
                Ok(())
            }
            "application_name" => Err(invalid(
                "the parameter `application_name` has control characters",
            )),
            "connect_timeout" => server.set_connect_timeout(value),
            _ => Err(refused(name, &POSTGRES)),
        })?;
        Ok(Self {
            server,
            ssl_mode,
            application_name,
        })
    }

    pub(super) fn options(&self) -> Result<PgConnectOptions> {
        refuse_variables(self.ssl_mode, variable)?;
        let server = &self.server;
        Ok(PgConnectOptions::new_without_pgpass()
            .host(&server.host)
            .port(server.port)
            .username(&server.user)
            .password(server.password())
            .database(&server.database)
            .ssl_mode(self.ssl_mode)
            .application_name(self.application_name.as_deref().unwrap_or("relvec"))
            .extra_float_digits(1))
    }
}

/// What the URL of a MySQL or MariaDB server says.
#[derive(Clone)]
pub(super) struct Mysql {
    pub(super) server: Server,
    ssl_mode: MySqlSslMode,
}

impl Mysql {
    pub(super) fn parse(text: &str) -> Result<Self> {
        let mut ssl_mode = MySqlSslMode::Preferred;
        let server = Server::parse(&MYSQL, text, |server, name, value| match name {
            "ssl-mode" => {
                ssl_mode = mode(&MYSQL_SSL_MODES, name, value, &MYSQL)?;
                Ok(())
            }
            "connect_timeout" => server.set_connect_timeout(value),
            _ => Err(refused(name, &MYSQL)),
        })?;
        Ok(Self { server, ssl_mode })
    }

    /// The session's settings are those of `mysql/session.sql`, so sqlx's own are turned off.
    pub(super) fn options(&self) -> MySqlConnectOptions {
        let server = &self.server;
        let options = MySqlConnectOptions::new()
            .host(&server.host)
            .port(server.port)
            .username(&server.user)
            .database(&server.database)
            .ssl_mode(self.ssl_mode)
            .pipes_as_concat(false)
            .no_engine_substitution(false)
            .timezone(None)
            .statement_cache_capacity(0);
        // An empty password is no password here: a digest of it would be refused.
        match server.password() {
            "" => options,
            password => options.password(password),
        }
    }
}

/// Finds a mode by its name, written as the database's own programs want it.
fn mode<M: Copy>(modes: &[(&str, M)], name: &str, value: &str, style: &Style) -> Result<M> {
    let found = modes.iter().find(|(mode, _)| *mode == value);
    found.map(|(_, mode)| *mode).ok_or_else(|| {
        let names: Vec<&str> = modes.iter().map(|(mode, _)| *mode).collect();
        invalid(format!(
            "the parameter `{name}` has a value that {} does not know",
            style.name
        ))
        .hint(format!("one of {}", names.join(", ")))
    })
}

fn refused(name: &str, style: &Style) -> Error {
    refused_parameter(name, style.name)
        .hint(style.parameters)
        .hint(ENCODE)
}

pub(super) fn refused_parameter(name: &str, database: &str) -> Error {
    // What is no plain word may be the end of a password with a `?` in it.
    if is_word(name) {
        invalid(format!(
            "the parameter `{name}` is not allowed in a {database} URL"
        ))
    } else {
        invalid(format!("a parameter of the {database} URL is not allowed"))
    }
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

#[cfg(test)]
mod tests {
    use super::*;

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
