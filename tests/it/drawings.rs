//! `relvec graph` by the built binary: the shipped graph, and a run on it. No service is needed.

use roxmltree::Document;
use serde_json::{Value, json};

use crate::relvec::{Relvec, job, shop_sql, sqlite};

fn parsed(text: &str) -> Value {
    serde_json::from_str(text).unwrap_or_else(|error| panic!("{error}: {text}"))
}

#[test]
fn a_graph_is_drawn_in_every_format() {
    let relvec = Relvec::new();
    for (format, expected) in [
        ("mermaid", "s6 -->|\"else\"| s7"),
        (
            "dot",
            "\"executor\" -> \"run_validation\" [label=\"else\"];",
        ),
        ("svg", "<text class=\"small\""),
        ("json", "\"from\": \"executor\""),
        ("toml", "name = \"default\""),
    ] {
        let ended = relvec.call(&["graph", "default", "--format", format]);
        assert_eq!(ended.code, 0, "{ended:?}");
        assert!(ended.stdout.contains(expected), "{format}: {ended:?}");
    }
    let svg = relvec.call(&["graph", "default", "--format", "svg"]).stdout;
    let document = Document::parse(&svg).expect("XML");
    let said: Vec<&str> = document
        .descendants()
        .filter_map(|node| node.text())
        .collect();
    let whole = "executor → gate_review\non succeeded, failed, timed_out\nwhen stages.executor.status != 'succeeded' \
                 || job.require_review || open_questions.exists(q, q.blocking)";
    assert!(said.contains(&whole), "{said:?}");
}

#[tokio::test]
async fn a_run_is_drawn_on_its_own_graph() {
    let relvec = Relvec::new();
    let source = sqlite(&relvec.path("shop.db"), &shop_sql()).await;
    let mut job = job(&source, "postgres://nobody@127.0.0.1:9/nothing");
    // Nobody answers there: its execution fails, and that is what the gate is for.
    job["execution"]["mode"] = json!("process");
    let (code, run) = relvec.run(&job);
    assert_eq!(code, 3, "{run:#}");
    let id = run["run_id"].as_str().expect("an id");

    let drawn = relvec.call(&["graph", "--run", id, "--format", "json"]);
    let drawn = parsed(&drawn.stdout);
    let stages = drawn["stages"].as_array().expect("stages");
    let status = |id: &str| {
        let stage = stages.iter().find(|stage| stage["id"] == id);
        stage.expect(id)["status"].clone()
    };
    assert_eq!(status("code_generator"), "succeeded");
    assert_eq!(status("llm_advisor"), "skipped");
    assert_eq!(status("executor"), "failed");
    assert_eq!(status("run_validation"), "not_taken");
    assert_eq!(status("gate_review"), "waiting");
    let edges = drawn["edges"].as_array().expect("edges");
    let edge = |from: &str, to: &str| {
        let edge = edges
            .iter()
            .find(|edge| edge["from"] == from && edge["to"] == to);
        edge.expect(to).clone()
    };
    let gate = edge("executor", "gate_review");
    assert_eq!(gate["taken"], true);
    assert_eq!(
        gate["because"]["values"]["stages.executor.status"],
        "failed"
    );
    assert_eq!(edge("executor", "run_validation")["taken"], false);
    assert_eq!(edge("run_validation", "gate_review")["taken"], false);

    for (format, expected) in [
        ("mermaid", "s6[\"executor<br/><b>failed</b>\"]"),
        ("mermaid", "s6 -.->|\"else\"| s7"),
        ("dot", "\"executor\" [label=\"executor\\nfailed\""),
        ("svg", "<g class=\"stage failed\">"),
        ("svg", "stages.executor.status = &quot;failed&quot;"),
        ("toml", "name = \"default\""),
    ] {
        let ended = relvec.call(&["graph", "default", "--run", id, "--format", format]);
        assert_eq!(ended.code, 0, "{ended:?}");
        assert!(ended.stdout.contains(expected), "{format}: {ended:?}");
    }
    let svg = relvec
        .call(&["graph", "--run", id, "--format", "svg"])
        .stdout;
    Document::parse(&svg).expect("XML");
}

#[test]
fn what_cannot_be_drawn_is_said() {
    let relvec = Relvec::new();
    assert_eq!(relvec.call(&["graph"]).code, 2);
    let nobody = relvec.call(&["graph", "--run", "018f0000-0000-7000-8000-000000000000"]);
    assert_eq!(nobody.code, 1, "{nobody:?}");
    assert!(nobody.stderr.contains("there is no run"), "{nobody:?}");
}
