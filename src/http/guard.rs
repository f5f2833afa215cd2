//! Keeps web pages away from a gateway: a page can make a browser send requests under a name that it bound to the gateway's
//! address, or from its own origin, and neither passes unless the operator says so.

use std::net::IpAddr;
use std::sync::Arc;

use axum::extract::{Request, State};
use axum::http::uri::Authority;
use axum::http::{HeaderMap, StatusCode, header};
use axum::middleware::Next;
use axum::response::{IntoResponse, Response};
use url::Url;

use super::problem::Problem;
use crate::settings::AccessSettings;

/// Which names and origins a gateway answers to. Clones share it.
#[derive(Debug, Clone)]
pub struct Guard(Arc<Names>);

#[derive(Debug)]
struct Names {
    /// Whether only programs of this machine reach the gateway.
    loopback: bool,
    hosts: Vec<String>,
    origins: Vec<String>,
}

impl Guard {
    /// Makes the guard of a gateway that listens on an address.
    #[must_use]
    pub fn new(settings: &AccessSettings, address: IpAddr) -> Self {
        let lower = |names: &[String]| names.iter().map(|name| name.to_lowercase()).collect();
        Self(Arc::new(Names {
            loopback: address.is_loopback(),
            hosts: lower(&settings.server_names),
            origins: lower(&settings.origins),
        }))
    }
}

/// Lets a request pass whose `Host`, and `Origin` where there is one, are of this gateway.
pub async fn known_names(State(guard): State<Guard>, request: Request, next: Next) -> Response {
    match guard.0.check(request.headers()) {
        Ok(()) => next.run(request).await,
        Err(problem) => problem.into_response(),
    }
}

impl Names {
    fn check(&self, headers: &HeaderMap) -> Result<(), Problem> {
        let mut hosts = headers.get_all(header::HOST).iter();
        let (Some(host), None) = (hosts.next(), hosts.next()) else {
            return Err(Problem::new(
                StatusCode::BAD_REQUEST,
                "a request has one Host header",
            ));
        };
        let host = host
            .to_str()
            .ok()
            .and_then(|host| host.parse::<Authority>().ok());
        if !host.is_some_and(|authority| self.knows(authority.host())) {
            return Err(Problem::new(
                StatusCode::FORBIDDEN,
                "the Host header does not name this gateway",
            )
            .hint("use http://127.0.0.1 and the gateway's port; the operator lists other names in RELVEC_SERVER_NAMES"));
        }
        for origin in headers.get_all(header::ORIGIN) {
            let origin = origin.to_str().unwrap_or_default();
            if !self.takes_from(origin) {
                return Err(Problem::new(
                    StatusCode::FORBIDDEN,
                    "requests from other origins are refused",
                ));
            }
        }
        Ok(())
    }

    fn knows(&self, host: &str) -> bool {
        is_loopback_name(host)
            || self.hosts.contains(&host.to_lowercase())
            // Every request there has to show a token, which a page of another name does not have.
            || (!self.loopback && self.hosts.is_empty())
    }

    fn takes_from(&self, origin: &str) -> bool {
        let of_this_machine = || {
            Url::parse(origin).is_ok_and(|origin| origin.host_str().is_some_and(is_loopback_name))
        };
        self.origins.contains(&origin.to_lowercase()) || (self.loopback && of_this_machine())
    }
}

fn is_loopback_name(host: &str) -> bool {
    let bare = host.trim_start_matches('[').trim_end_matches(']');
    host.eq_ignore_ascii_case("localhost")
        || bare
            .parse::<IpAddr>()
            .is_ok_and(|address| address.is_loopback())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn headers(host: &str, origin: Option<&str>) -> HeaderMap {
        let mut headers = HeaderMap::new();
        headers.insert(header::HOST, host.parse().unwrap());
        if let Some(origin) = origin {
            headers.insert(header::ORIGIN, origin.parse().unwrap());
        }
        headers
    }

    fn check(headers: &HeaderMap) -> Result<(), Problem> {
        let guard = Guard::new(&AccessSettings::default(), "127.0.0.1".parse().unwrap());
        guard.0.check(headers)
    }

    #[test]
    fn names_of_loopback_pass() {
        for host in [
            "localhost:7070",
            "127.0.0.1:7070",
            "127.8.8.8",
            "[::1]:7070",
            "LOCALHOST",
        ] {
            assert!(check(&headers(host, None)).is_ok(), "{host}");
        }
        assert!(check(&headers("localhost", Some("http://localhost:3000"))).is_ok());
    }

    #[test]
    fn other_names_and_origins_do_not() {
        for host in [
            "example.com",
            "127.0.0.1.example.com",
            "localhost.example.com",
            "10.0.0.1",
            "0.0.0.0",
        ] {
            assert!(check(&headers(host, None)).is_err(), "{host}");
        }
        for origin in [
            "http://example.com",
            "null",
            "https://127.0.0.1.example.com",
        ] {
            assert!(
                check(&headers("localhost", Some(origin))).is_err(),
                "{origin}"
            );
        }
        assert!(check(&HeaderMap::new()).is_err());
    }

    #[test]
    fn the_operator_adds_names_and_origins() {
        let settings = AccessSettings {
            server_names: vec!["Relvec.example".to_owned()],
            origins: vec!["https://app.example".to_owned()],
            ..AccessSettings::default()
        };
        for address in ["127.0.0.1", "0.0.0.0"] {
            let guard = Guard::new(&settings, address.parse().unwrap());
            let check = |host, origin| guard.0.check(&headers(host, origin)).is_ok();
            assert!(check("relvec.example:7070", Some("https://app.example")));
            assert!(!check("other.example", None));
            assert!(!check("relvec.example", Some("https://evil.example")));
            assert!(!check("relvec.example", Some("http://app.example")));
        }
        let usual = AccessSettings::default();
        let beyond = Guard::new(&usual, "0.0.0.0".parse().unwrap());
        assert!(beyond.0.check(&headers("any.example", None)).is_ok());
        let from_page = headers("any.example", Some("http://localhost"));
        assert!(beyond.0.check(&from_page).is_err());
    }
}
