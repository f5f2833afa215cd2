//! Who asks a gateway, for what, and what it answers.

use reqwest::Response;
use serde_json::{Value, json};

use crate::relvec::Relvec;

/// Makes a token with the command line and gives its text.
pub fn token(relvec: &Relvec, tenant: &str, scopes: &str) -> String {
    let made = relvec.call(&["token", "create", "--tenant", tenant, "--scope", scopes]);
    assert_eq!(made.code, 0, "{made:?}");
    let text = made.stdout.trim().to_owned();
    assert!(text.starts_with("relvec_"), "{made:?}");
    text
}

/// Writes the graph `waiting`, which waits for a person and does nothing else.
pub fn waiting_graph(relvec: &Relvec) {
    let folder = relvec.path("graphs");
    std::fs::create_dir_all(&folder).expect("a folder");
    let text = "name = \"waiting\"\ninput = \"job\"\n[stages.gate_review]\n";
    std::fs::write(folder.join("waiting.toml"), text).expect("a graph");
}

/// A job that fails at once, because its source is not there.
pub fn failing(relvec: &Relvec) -> Value {
    let missing = relvec.path("missing.db");
    json!({"source": {"url": format!("sqlite:{}", missing.display())},
           "target": {"url": "postgres://nobody@127.0.0.1:9/nothing"}})
}

/// Gives a problem after its status and its form are checked.
pub async fn problem(answer: Response, status: u16) -> Value {
    let url = answer.url().clone();
    assert_eq!(answer.status().as_u16(), status, "{url}");
    assert_eq!(
        answer.headers()["content-type"],
        "application/problem+json",
        "{url}"
    );
    let problem: Value = answer.json().await.expect("JSON");
    assert_eq!(problem["status"], status, "{url}");
    problem
}
