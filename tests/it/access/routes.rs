//! Every route that the OpenAPI document has: without a token, with wrong ones, without the scope, and with another tenant's.

use relvec::access::{Scope, Scopes};
use relvec::http::access::routes::{Need, need};
use reqwest::Method;
use serde_json::{Value, json};

use super::served::{failing, problem, token};
use crate::gateway::Gateway;
use crate::relvec::Relvec;

/// A route with the scope that it says it needs.
struct Route {
    method: Method,
    path: String,
    scope: Option<Scope>,
}

/// Gives the routes as the document describes them.
async fn described(gateway: &Gateway) -> Vec<Route> {
    let document: Value = gateway
        .ask("/openapi.json", None)
        .await
        .json()
        .await
        .expect("JSON");
    let scheme = document.pointer("/components/securitySchemes/token/scheme");
    assert_eq!(scheme, Some(&json!("bearer")));
    let mut routes = Vec::new();
    for (path, methods) in document["paths"].as_object().expect("paths") {
        for (method, operation) in methods.as_object().expect("methods") {
            let method: Method = method.to_uppercase().parse().expect("a method");
            let (needed, named) = match need(&method, path).expect("it is in the table") {
                Need::Nothing => (None, None),
                Need::More(scope) => (None, Some(scope)),
                Need::Scope(scope) => (Some(scope), Some(scope)),
            };
            let said = operation["security"].as_array().expect("security");
            let said = said.iter().find_map(|one| one["token"][0].as_str());
            assert_eq!(said, named.map(Scope::name), "{method} {path}");
            for status in ["401", "429"] {
                let described = !operation["responses"][status].is_null();
                assert_eq!(described, needed.is_some(), "{method} {path} {status}");
            }
            routes.push(Route {
                method,
                path: path.clone(),
                scope: needed,
            });
        }
    }
    assert!(routes.len() >= 18, "the document lists its routes");
    routes
}

fn filled(path: &str, run: &str) -> String {
    let stage = if path.starts_with("/artifacts") {
        "migrate.py"
    } else {
        "default"
    };
    path.replace("{run_id}", run)
        .replace("{stage}", "collect_metadata")
        .replace("{name}", stage)
}

#[tokio::test]
async fn every_route_asks_for_a_token_with_its_scope() {
    let relvec = Relvec::alone();
    let admin = token(&relvec, "a", "admin");
    let gateway = Gateway::start(&relvec, &[("RELVEC_RATE", "0")]);
    let run = gateway.submit_allowed(&admin).await;
    let scopes = Scope::ALL.map(|scope| (scope, token(&relvec, "a", scope.name())));
    gateway.until_known(&scopes[0].1).await;
    let mut wrong = admin.clone();
    let last = if wrong.ends_with('A') { "E" } else { "A" };
    wrong.replace_range(wrong.len() - 1.., last);
    let mut closed = 0;
    for route in described(&gateway).await {
        let Route {
            method,
            path,
            scope,
        } = &route;
        let path = filled(path, &run);
        let send = |token: Option<&str>| {
            let request = gateway.request(method, &path, token);
            let request = if *method == Method::POST {
                request.json(&json!({}))
            } else {
                request
            };
            request.send()
        };
        let Some(needed) = scope else {
            for token in [None, Some(wrong.as_str())] {
                let answer = send(token).await.expect("an answer");
                assert_eq!(answer.status(), 200, "{path} is open");
            }
            continue;
        };
        closed += 1;
        let answer = send(None).await.expect("an answer");
        assert_eq!(
            answer.headers()["www-authenticate"],
            "Bearer realm=\"relvec\""
        );
        problem(answer, 401).await;
        let answer = send(Some(&wrong)).await.expect("an answer");
        let challenge = answer.headers()["www-authenticate"].to_str().expect("text");
        assert!(challenge.contains("invalid_token"), "{challenge}");
        let said = problem(answer, 401).await;
        assert!(!said.to_string().contains(&wrong), "{said}");
        for (scope, token) in &scopes {
            let answer = send(Some(token)).await.expect("an answer");
            let status = answer.status().as_u16();
            let allowed: Scopes = scope.name().parse().expect("a scope");
            if allowed.allow(*needed) {
                assert!(status != 401 && status != 403, "{method} {path}: {status}");
            } else {
                let challenge = answer.headers()["www-authenticate"].to_str().expect("text");
                let wanted = format!("insufficient_scope\", scope=\"{}\"", needed.name());
                assert!(challenge.contains(&wanted), "{challenge}");
                problem(answer, 403).await;
            }
        }
    }
    assert!(closed >= 15, "{closed} routes were asked");
    // What is not there, or not with this method, is as closed.
    for (method, path) in [(Method::GET, "/nowhere"), (Method::DELETE, "/jobs")] {
        let request = gateway.request(&method, path, None);
        problem(request.send().await.expect("an answer"), 401).await;
    }
    problem(gateway.ask("/nowhere", Some(&admin)).await, 404).await;
}

#[tokio::test]
async fn another_tenants_run_looks_like_one_that_is_not_there() {
    let relvec = Relvec::alone();
    let (a, b) = (token(&relvec, "a", "admin"), token(&relvec, "b", "admin"));
    let gateway = Gateway::start(&relvec, &[("RELVEC_RATE", "0")]);
    let run = gateway.submit_allowed(&a).await;
    gateway.until_ended(&run, Some(&a)).await;
    let nobodys = "00000000-0000-7000-8000-000000000000";
    let mut asked = 0;
    for route in described(&gateway).await {
        if !route.path.contains("{run_id}") {
            continue;
        }
        asked += 1;
        let mut answers = Vec::new();
        for (run, token) in [(run.as_str(), &b), (nobodys, &b)] {
            let path = filled(&route.path, run);
            let request = gateway.request(&route.method, &path, Some(token));
            // It is part of the answer.
            let mut request = request.header("x-request-id", "the-same");
            if route.method == Method::POST {
                request = request.json(&json!({"question": "q", "choice": "c", "by": "b"}));
            }
            let answer = request.send().await.expect("an answer");
            let headers: Vec<String> = answer.headers().keys().map(ToString::to_string).collect();
            let body = problem(answer, 404).await.to_string().replace(run, "RUN");
            answers.push((headers, body));
        }
        assert_eq!(answers[0], answers[1], "{} {}", route.method, route.path);
        let own = filled(&route.path, &run);
        let own = gateway
            .request(&route.method, &own, Some(&a))
            .json(&json!({}));
        let own = own
            .send()
            .await
            .expect("an answer")
            .text()
            .await
            .expect("text");
        assert!(!own.contains("there is no run"), "{}: {own}", route.path);
    }
    assert!(asked >= 9, "{asked} routes name a run");
}

#[tokio::test]
async fn lists_and_keys_are_a_tenants_own() {
    let relvec = Relvec::alone();
    let (a, b) = (token(&relvec, "a", "admin"), token(&relvec, "b", "admin"));
    let gateway = Gateway::start(&relvec, &[("RELVEC_RATE", "0")]);
    gateway.submit_allowed(&a).await;
    let list = |token: &str| {
        let token = token.to_owned();
        let gateway = &gateway;
        async move {
            let page: Value = gateway
                .ask("/jobs", Some(&token))
                .await
                .json()
                .await
                .expect("JSON");
            page["runs"].as_array().expect("runs").len()
        }
    };
    let before = list(&a).await;
    assert!(before >= 1);
    assert_eq!(list(&b).await, 0);
    let job = json!({"graph": "plan-only", "input": Gateway::allowed_input()});
    let mut runs = Vec::new();
    for token in [&a, &b, &a, &b] {
        let request = gateway.request(&Method::POST, "/jobs", Some(token));
        let request = request.header("Idempotency-Key", "the-same").json(&job);
        let answer = request.send().await.expect("an answer");
        assert_eq!(answer.status(), 202);
        let run: Value = answer.json().await.expect("JSON");
        runs.push(run["run_id"].clone());
    }
    assert!(
        runs[0] == runs[2] && runs[1] == runs[3] && runs[0] != runs[1],
        "{runs:?}"
    );
    assert_eq!((list(&a).await, list(&b).await), (before + 1, 1));
}

impl Gateway {
    /// A job that the rules of a gateway with tokens allow.
    pub fn allowed_input() -> Value {
        json!({"source": {"url": "postgres://reader@db.example.invalid/shop"},
               "target": {"url": "postgres://writer@vectors.example.invalid/vectors"}})
    }

    async fn submit_allowed(&self, token: &str) -> String {
        let input = Self::allowed_input();
        self.submit_as(Some(token), "plan-only", &input).await
    }

    /// Waits until a token that was made while the gateway ran is known to it.
    async fn until_known(&self, token: &str) {
        let deadline = std::time::Instant::now() + crate::gateway::PATIENCE;
        while self.ask("/nowhere", Some(token)).await.status() == 401 {
            assert!(
                std::time::Instant::now() < deadline,
                "the token stays unknown"
            );
            tokio::time::sleep(std::time::Duration::from_millis(50)).await;
        }
    }
}

#[tokio::test]
async fn without_a_token_a_gateway_on_loopback_is_open() {
    let relvec = Relvec::alone();
    let gateway = Gateway::start(&relvec, &[]);
    let run = gateway
        .submit_as(None, "plan-only", &failing(&relvec))
        .await;
    let ended = gateway.until_ended(&run, None).await;
    assert_eq!(ended["status"], "failed", "{ended:#}");
    assert_eq!(gateway.ask("/jobs", None).await.status(), 200);
    // A header that nobody asked for is no reason to refuse.
    assert_eq!(gateway.ask("/jobs", Some("whatever")).await.status(), 200);
}
