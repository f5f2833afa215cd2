//! Keeps web pages away from a gateway on loopback: a page can make a browser send requests here, under a name that it
//! bound to 127.0.0.1 or from its own origin, and neither passes.

use std::net::IpAddr;

use axum::extract::Request;
use axum::http::uri::Authority;
use axum::http::{HeaderMap, StatusCode, header};
use axum::middleware::Next;
use axum::response::{IntoResponse, Response};
use url::Url;

use super::problem::Problem;

/// Lets a request pass whose `Host`, and `Origin` where there is one, name this machine's loopback.
pub async fn loopback_only(request: Request, next: Next) -> Response {
    match check(request.headers()) {
        Ok(()) => next.run(request).await,
        Err(problem) => problem.into_response(),
    }
}

fn check(headers: &HeaderMap) -> Result<(), Problem> {
    let mut hosts = headers.get_all(header::HOST).iter();
    let (Some(host), None) = (hosts.next(), hosts.next()) else {
        return Err(Problem::new(
            StatusCode::BAD_REQUEST,
            "a request has one Host header",
        ));
    };
    let is_loopback = host
        .to_str()
        .ok()
        .and_then(|host| host.parse::<Authority>().ok())
        .is_some_and(|authority| is_loopback_name(authority.host()));
    if !is_loopback {
        return Err(Problem::new(
            StatusCode::FORBIDDEN,
            "the Host header does not name loopback",
        )
        .hint("use http://127.0.0.1 and the gateway's port"));
    }
    for origin in headers.get_all(header::ORIGIN) {
        let is_loopback = origin
            .to_str()
            .ok()
            .and_then(|origin| Url::parse(origin).ok())
            .and_then(|origin| origin.host_str().map(is_loopback_name))
            .unwrap_or(false);
        if !is_loopback {
            return Err(Problem::new(
                StatusCode::FORBIDDEN,
                "requests from other origins are refused",
            ));
        }
    }
    Ok(())
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
}
