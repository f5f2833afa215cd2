//! What each way of failing means, in relvec's words.

use crate::error::{Error, ErrorKind};
use crate::source::ConnectionUrl;

/// Says whether an SQLSTATE means that the server gave up, and not only on one statement.
pub(super) fn ends_the_session(code: &str) -> bool {
    ["08", "53", "57", "58", "40"]
        .iter()
        .any(|class| code.starts_with(class))
}

fn server(url: &ConnectionUrl) -> String {
    url.server().unwrap_or_default()
}

pub(super) fn unreachable(url: &ConnectionUrl) -> Error {
    Error::new(
        ErrorKind::Unavailable,
        format!("no PostgreSQL server answers at {}", server(url)),
    )
    .hint("check host and port of the URL, and that the server runs and accepts connections from here")
}

/// Says what failed. A server's text is shown only where it cannot quote a row's value.
pub(super) fn failed(url: &ConnectionUrl, error: sqlx::Error) -> Error {
    match error {
        sqlx::Error::Database(database) => {
            let code = database.code().unwrap_or_default().into_owned();
            refused(url, &code, database.message())
        }
        sqlx::Error::Io(cause) => unreachable(url).because(cause),
        sqlx::Error::Tls(cause) => Error::new(
            ErrorKind::Invalid,
            format!("no encrypted connection to {} as sslmode asks", server(url)),
        )
        .because(cause)
        .hint("check the server's certificate, or choose another sslmode"),
        // Its text has words of whatever answered, which is no PostgreSQL.
        sqlx::Error::Protocol(_) => Error::new(
            ErrorKind::Invalid,
            format!("what answers at {} is not PostgreSQL", server(url)),
        )
        .hint("check host and port of the URL, and what stands between here and the server"),
        // sqlx's own text names its causes already: as a source they would be named twice.
        other => Error::new(ErrorKind::Unavailable, format!("reading {url} failed"))
            .because(other.to_string()),
    }
}

fn refused(url: &ConnectionUrl, code: &str, message: &str) -> Error {
    let of = |kind, text: String| Error::new(kind, text);
    match code {
        "28P01" | "28000" => {
            let error = of(
                ErrorKind::Invalid,
                format!("the server at {} refuses the login: {message}", server(url)),
            );
            if url.password().is_some() {
                error.hint("check user and password in the URL, and the server's pg_hba.conf")
            } else {
                error
                    .hint("the URL has no password: add it, or give the URL by url_env or url_file")
            }
        }
        "3D000" => of(
            ErrorKind::NotFound,
            format!(
                "there is no database `{}` at {}",
                url.database(),
                server(url)
            ),
        )
        .hint("check the database name in the URL; `psql -l` lists those that exist"),
        "42501" => of(ErrorKind::Invalid, format!("{url}: {message}"))
            .hint("grant SELECT to the user, or leave the table out with source.exclude"),
        "57014" => of(
            ErrorKind::Unavailable,
            format!("a statement on {url} took longer than it may, or was cancelled"),
        )
        .hint(
            "leave very large tables out with source.exclude, or try again when the server is idle",
        ),
        "55P03" => of(
            ErrorKind::Unavailable,
            format!("a table of {url} is locked by another session"),
        )
        .hint("wait until the other session is done, and try again"),
        _ if code.starts_with("42") => of(
            ErrorKind::Invalid,
            format!("the source {url} does not have what was planned: {message}"),
        )
        .hint("the schema may have changed since the plan was made: run again from the start"),
        _ if ends_the_session(code) => of(
            ErrorKind::Unavailable,
            format!("the server at {} gave up: {message}", server(url)),
        )
        .hint("try again; if it stays so, look at the server's log"),
        _ => of(
            ErrorKind::Invalid,
            format!("{url} cannot be read (SQLSTATE {code})"),
        )
        .hint("look at the server's log for the whole message"),
    }
}
