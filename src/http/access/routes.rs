//! What each route needs. What is not in the table needs `admin`: a route that somebody forgot is closed.

use axum::http::Method;

use crate::access::Scope;

/// What a route needs.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Need {
    /// Nothing: it says nothing about anybody's runs.
    Nothing,
    /// Nothing either, and who has the scope is told more.
    More(Scope),
    /// A token with a scope.
    Scope(Scope),
}

/// Every route, as `OpenAPI` writes it, with what it needs.
pub const ROUTES: &[(Method, &str, Need)] = &[
    (Method::POST, "/jobs", Need::Scope(Scope::Submit)),
    (Method::GET, "/jobs", Need::Scope(Scope::Read)),
    (Method::GET, "/jobs/{run_id}", Need::Scope(Scope::Read)),
    (
        Method::GET,
        "/jobs/{run_id}/events",
        Need::Scope(Scope::Read),
    ),
    (Method::GET, "/jobs/{run_id}/logs", Need::Scope(Scope::Read)),
    (
        Method::GET,
        "/jobs/{run_id}/stages/{stage}",
        Need::Scope(Scope::Read),
    ),
    (
        Method::GET,
        "/jobs/{run_id}/answers",
        Need::Scope(Scope::Read),
    ),
    (
        Method::POST,
        "/jobs/{run_id}/answers",
        Need::Scope(Scope::Answer),
    ),
    (
        Method::POST,
        "/jobs/{run_id}/cancel",
        Need::Scope(Scope::Answer),
    ),
    (
        Method::POST,
        "/jobs/{run_id}/retry",
        Need::Scope(Scope::Submit),
    ),
    (
        Method::POST,
        "/jobs/{run_id}/validate",
        Need::Scope(Scope::Submit),
    ),
    (Method::GET, "/artifacts/{run_id}", Need::Scope(Scope::Read)),
    (
        Method::GET,
        "/artifacts/{run_id}/{name}",
        Need::Scope(Scope::Read),
    ),
    // As it is described: it is served under the route of its run.
    (
        Method::GET,
        "/artifacts/{run_id}.tar.gz",
        Need::Scope(Scope::Read),
    ),
    (Method::GET, "/graphs", Need::Scope(Scope::Read)),
    (Method::GET, "/graphs/{name}", Need::Scope(Scope::Read)),
    (Method::POST, "/graphs/validate", Need::Scope(Scope::Read)),
    (
        Method::POST,
        "/graphs/{name}/plan",
        Need::Scope(Scope::Submit),
    ),
    (Method::GET, "/metrics", Need::Scope(Scope::Metrics)),
    (Method::GET, "/healthz", Need::Nothing),
    (Method::GET, "/readyz", Need::More(Scope::Read)),
    (Method::GET, "/openapi.json", Need::Nothing),
];

/// Gives what a route needs: that of its path and method, `admin` for a path that is not in the table, nothing for a method that
/// its path does not take.
#[must_use]
pub fn need(method: &Method, path: &str) -> Option<Need> {
    // HEAD is GET without the body.
    let method = if *method == Method::HEAD {
        &Method::GET
    } else {
        method
    };
    let mut of_path = ROUTES
        .iter()
        .filter(|(_, known, _)| *known == path)
        .peekable();
    if of_path.peek().is_none() {
        return Some(Need::Scope(Scope::Admin));
    }
    let found = of_path.find(|(known, _, _)| known == method);
    found.map(|(_, _, need)| *need)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_table_has_the_routes_that_are_described_and_no_others() {
        let document = crate::http::openapi::describe();
        let paths = document["paths"].as_object().unwrap();
        let mut described: Vec<(String, &str)> = paths
            .iter()
            .flat_map(|(path, methods)| {
                let methods = methods.as_object().unwrap().keys();
                methods.map(move |method| (method.to_uppercase(), path.as_str()))
            })
            .collect();
        let mut known: Vec<(String, &str)> = ROUTES
            .iter()
            .map(|(method, path, _)| (method.to_string(), *path))
            .collect();
        described.sort();
        known.sort();
        assert_eq!(described, known);
    }

    #[test]
    fn a_path_that_is_not_in_the_table_is_closed() {
        let admin = Some(Need::Scope(Scope::Admin));
        assert_eq!(need(&Method::GET, "/forgotten"), admin);
        assert_eq!(need(&Method::HEAD, "/jobs"), Some(Need::Scope(Scope::Read)));
        assert_eq!(need(&Method::DELETE, "/jobs"), None);
        assert_eq!(need(&Method::GET, "/healthz"), Some(Need::Nothing));
    }
}
