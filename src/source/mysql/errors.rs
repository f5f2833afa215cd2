//! What each way of failing means, in relvec's words.

use sqlx::mysql::MySqlDatabaseError;

use crate::error::{Error, ErrorKind};
use crate::source::ConnectionUrl;

/// Gives the server's own number of an error, where it is one of the server's.
pub(super) fn number(error: &sqlx::Error) -> Option<u16> {
    let database = error.as_database_error()?;
    let mysql = database.try_downcast_ref::<MySqlDatabaseError>()?;
    Some(mysql.number())
}

/// Says whether an error means that the server gave up, and not only on one statement.
pub(super) fn ends_the_session(number: u16) -> bool {
    // Too many connections, out of memory, shutdown, killed, idle for too long, and the client's own numbers.
    matches!(number, 1037..=1041 | 1053 | 1077..=1080 | 1203 | 1226 | 1927 | 2000..=2099 | 3169 | 4031)
}

fn server(url: &ConnectionUrl) -> String {
    url.server().unwrap_or_default()
}

pub(super) fn unreachable(url: &ConnectionUrl) -> Error {
    Error::new(
        ErrorKind::Unavailable,
        format!("no MySQL or MariaDB server answers at {}", server(url)),
    )
    .hint("check host and port of the URL, and that the server runs and accepts connections from here")
}

/// Says what failed. A server's text is shown only where it cannot quote a row's value.
pub(super) fn failed(url: &ConnectionUrl, error: sqlx::Error) -> Error {
    if let Some(number) = number(&error) {
        let message = error
            .as_database_error()
            .map_or_else(String::new, |error| error.message().to_owned());
        return refused(url, number, &message);
    }
    match error {
        sqlx::Error::Io(cause) => unreachable(url).because(cause),
        sqlx::Error::Tls(cause) => Error::new(
            ErrorKind::Invalid,
            format!("no encrypted connection to {} as ssl-mode asks", server(url)),
        )
        .because(cause)
        .hint("check the server's certificate, or choose another ssl-mode"),
        // The password would go over the wire by a key of RSA, which is not built in.
        sqlx::Error::Configuration(_) => unencrypted(url),
        // Its text has words of whatever answered, which is no MySQL.
        sqlx::Error::Protocol(_) => Error::new(
            ErrorKind::Invalid,
            format!("what answers at {} is not MySQL or MariaDB, or asks for a login that relvec does not know", server(url)),
        )
        .hint("check host and port of the URL, and that the user's plugin is mysql_native_password or caching_sha2_password"),
        // sqlx's own text names its causes already: as a source they would be named twice.
        other => Error::new(ErrorKind::Unavailable, format!("reading {url} failed"))
            .because(other.to_string()),
    }
}

fn unencrypted(url: &ConnectionUrl) -> Error {
    Error::new(
        ErrorKind::Invalid,
        format!(
            "the server at {} lets this user in over an encrypted connection only",
            server(url)
        ),
    )
    .hint("leave ssl-mode out of the URL or set it to REQUIRED, and see to it that the server offers TLS")
}

fn refused(url: &ConnectionUrl, number: u16, message: &str) -> Error {
    let of = |kind, text: String| Error::new(kind, text);
    match number {
        1045 | 1698 | 1044 => {
            let error = of(
                ErrorKind::Invalid,
                format!("the server at {} refuses the login: {message}", server(url)),
            );
            if url.password().is_some() {
                error.hint("check user and password in the URL, the host that the user may come from, and its rights on the database")
            } else {
                error
                    .hint("the URL has no password: add it, or give the URL by url_env or url_file")
            }
        }
        3159 => unencrypted(url),
        1820 | 1862 | 3118 | 4151 => of(
            ErrorKind::Invalid,
            format!("the server at {} refuses the login: {message}", server(url)),
        )
        .hint("have the server's administrator unlock the account, or set a new password"),
        1049 => of(
            ErrorKind::NotFound,
            format!(
                "there is no database `{}` at {}",
                url.database(),
                server(url)
            ),
        )
        .hint("check the database name in the URL; `SHOW DATABASES` lists those that exist"),
        1142 | 1143 | 1370 => of(ErrorKind::Invalid, format!("{url}: {message}"))
            .hint("grant SELECT to the user, or leave the table out with source.exclude"),
        1969 | 3024 | 1317 => of(
            ErrorKind::Unavailable,
            format!("a statement on {url} took longer than it may, or was cancelled"),
        )
        .hint(
            "leave very large tables out with source.exclude, or try again when the server is idle",
        ),
        1205 => of(
            ErrorKind::Unavailable,
            format!("a table of {url} is locked by another session"),
        )
        .hint("wait until the other session is done, and try again"),
        1054 | 1146 | 1356 | 1412 => of(
            ErrorKind::Invalid,
            format!("the source {url} does not have what was planned: {message}"),
        )
        .hint("the schema may have changed since the plan was made: run again from the start"),
        number if ends_the_session(number) => of(
            ErrorKind::Unavailable,
            format!("the server at {} gave up: {message}", server(url)),
        )
        .hint("try again; if it stays so, look at the server's log"),
        _ => of(
            ErrorKind::Invalid,
            format!("{url} cannot be read (error {number})"),
        )
        .hint("look the number up in the server's manual"),
    }
}
