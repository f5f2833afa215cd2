//! What a container reaches under which name: in a network of its own, this machine's loopback is not this machine's.

use std::net::IpAddr;

use secrecy::{ExposeSecret as _, SecretString};

use crate::service::docker::HOST_NAME;

/// Gives the URL with which a container of a network of its own reaches a server of this machine, and the host that was written;
/// nothing where the URL names another machine or none.
pub(super) fn from_own_network(url: &SecretString) -> Option<(SecretString, String)> {
    let mut url = url::Url::parse(url.expose_secret()).ok()?;
    let host = url.host_str()?.to_owned();
    if !is_loopback(&host) {
        return None;
    }
    url.set_host(Some(HOST_NAME)).ok()?;
    Some((SecretString::from(url.to_string()), host))
}

fn is_loopback(host: &str) -> bool {
    let bare = host.trim_start_matches('[').trim_end_matches(']');
    match bare.parse::<IpAddr>() {
        Ok(address) => address.to_canonical().is_loopback() || address.is_unspecified(),
        Err(_) => {
            bare.eq_ignore_ascii_case("localhost")
                || bare.to_ascii_lowercase().ends_with(".localhost")
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn rewritten(url: &str) -> Option<String> {
        let (url, _) = from_own_network(&url.into())?;
        Some(url.expose_secret().to_owned())
    }

    #[test]
    fn only_the_host_of_a_loopback_url_changes() {
        for (url, expected) in [
            (
                "postgres://u:p%40ss@127.0.0.1:5433/shop?sslmode=disable",
                "postgres://u:p%40ss@host.docker.internal:5433/shop?sslmode=disable",
            ),
            (
                "mysql://u:p@localhost/shop",
                "mysql://u:p@host.docker.internal/shop",
            ),
            (
                "postgres://u@[::1]:5432/shop",
                "postgres://u@host.docker.internal:5432/shop",
            ),
            (
                "http://127.9.9.9:8080/v1",
                "http://host.docker.internal:8080/v1",
            ),
        ] {
            assert_eq!(rewritten(url).as_deref(), Some(expected));
        }
        for url in [
            "postgres://u:p@db.example/shop",
            "postgres://u:p@10.0.0.7/shop",
            "sqlite:/data/localhost.db",
            "http://localhost.example/v1",
        ] {
            assert_eq!(rewritten(url), None, "{url}");
        }
    }
}
