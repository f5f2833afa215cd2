//! What runs and graphs say when they are asked: `relvec diff`, `runs explain`, `logs`, `cancel` and `retry`. No service is needed.

use serde_json::{Value, json};

use crate::relvec::{Ended, Relvec, sqlite, stage};

const GRAPH: &str = r#"
name = "mine"
input = "job"
[[edges]]
chain = ["collect_metadata", "normalize_schema", "analyzer"]
[[edges]]
from = "normalize_schema"
to = "gate_review"
when = "job.require_review"
"#;

fn write(relvec: &Relvec, name: &str, text: &str) -> String {
    let path = relvec.path(name);
    std::fs::write(&path, text).unwrap();
    path.to_str().unwrap().to_owned()
}

fn json_of(ended: &Ended) -> Value {
    serde_json::from_str(&ended.stdout).unwrap_or_else(|error| panic!("{error}: {ended:?}"))
}

#[test]
fn a_diff_tells_what_a_run_would_do_otherwise() {
    let relvec = Relvec::new();
    let one = write(&relvec, "one.toml", GRAPH);
    let words = GRAPH.replace("[[edges]]\nfrom", "# the same\n\n[[edges]]\nfrom");
    let same = write(&relvec, "same.toml", &words);
    let ended = relvec.call(&["diff", &one, &same]);
    assert_eq!(
        (ended.code, ended.stdout.as_str()),
        (0, "the graphs mean the same\n")
    );
    let text = GRAPH.replace("job.require_review", "!job.require_review")
        + "[stages.analyzer]\ntimeout = \"1m\"\n";
    let other = write(&relvec, "other.toml", &text);
    let ended = relvec.call(&["diff", &one, &other]);
    assert_eq!(ended.code, 1);
    assert_eq!(
        ended.stdout,
        "stage `analyzer` changed\n  timeout: 5m -> 1m\n\
         edge from `normalize_schema` to `gate_review` changed\n  when: job.require_review -> !job.require_review\n"
    );
    let ended = relvec.call(&["diff", &one, &other, "--format", "json"]);
    assert_eq!(ended.code, 1);
    let diff = json_of(&ended);
    assert_eq!(diff["stages"][0]["differences"][0]["what"], "timeout");
    let schema = relvec.call(&["schema", "diff"]);
    assert!(jsonschema::is_valid(&json_of(&schema), &diff));
    let ended = relvec.call(&["diff", "default", "defualt"]);
    assert_eq!(ended.code, 1);
    assert!(
        ended.stderr.contains("did you mean `default`?"),
        "{ended:?}"
    );
}

/// A source that is not there fails the first stage.
fn failed(relvec: &Relvec) -> (String, Value) {
    let graph = write(relvec, "mine.toml", GRAPH);
    let source = format!("sqlite:{}", relvec.path("shop.db").display());
    let input = write(
        relvec,
        "job.json",
        &json!({"source": {"url": source}}).to_string(),
    );
    let ended = relvec.call(&["run", &graph, "--input", &input, "--format", "json"]);
    assert_eq!(ended.code, 1, "{ended:?}");
    let run = json_of(&ended);
    (run["run_id"].as_str().unwrap().to_owned(), run)
}

#[test]
fn a_stage_is_explained_for_people_and_for_programs() {
    let relvec = Relvec::new();
    let (run, _) = failed(&relvec);
    let ended = relvec.call(&["runs", "explain", &run, "collect_metadata"]);
    assert_eq!(ended.code, 0, "{ended:?}");
    for line in [
        "collect_metadata of run",
        ": failed\n",
        "reason: error: ",
        "1 of execution 1, ",
        "failed (permanent): ",
    ] {
        assert!(ended.stdout.contains(line), "{line} in {}", ended.stdout);
    }
    let arguments = ["runs", "explain", &run, "analyzer", "--format", "json"];
    let explained = json_of(&relvec.call(&arguments));
    assert_eq!(explained["status"], "cancelled");
    assert_eq!(explained["reason"]["cause"], "stage_failed");
    assert_eq!(explained["causes"][0]["stage"], "collect_metadata");
    let schema = json_of(&relvec.call(&["schema", "explanation"]));
    assert!(jsonschema::is_valid(&schema, &explained));
    let ended = relvec.call(&["runs", "explain", &run, "analyser"]);
    assert_eq!(ended.code, 1);
    assert!(
        ended.stderr.contains("did you mean `analyzer`?"),
        "{ended:?}"
    );
    let ended = relvec.call(&["runs", "show", &run]);
    assert!(ended.stdout.contains("[run_ended]"), "{ended:?}");
}

#[test]
fn a_failure_that_was_taken_over_says_where_it_was_tried() {
    let relvec = Relvec::new();
    let graph = r#"
name = "taken"
input = "job"
[[edges]]
chain = ["optional", "needed"]
[stages.optional]
handler = "command"
on_error = "skip"
with = { program = "false", kind = "hint" }
[stages.needed]
handler = "command"
with = { program = "echo", args = ["{}"], kind = "note" }
"#;
    let graph = write(&relvec, "taken.toml", graph);
    let job = json!({"source": {"url": "sqlite:not-opened.db"}}).to_string();
    let input = write(&relvec, "job.json", &job);
    let run = json_of(&relvec.call(&["run", &graph, "--input", &input, "--format", "json"]));
    let run = run["run_id"].as_str().unwrap();
    let arguments = ["runs", "retry", run, "--only", "needed", "--format", "json"];
    let retry = json_of(&relvec.call(&arguments));
    let retry = retry["run_id"].as_str().unwrap();
    let line = format!("its attempts: relvec runs explain {run} optional\n");
    for (run, is_told) in [(run, false), (retry, true)] {
        let ended = relvec.call(&["runs", "explain", run, "optional"]);
        assert!(ended.stdout.contains("reason: error_skipped"), "{ended:?}");
        assert_eq!(ended.stdout.contains(&line), is_told, "{ended:?}");
    }
}

#[tokio::test]
async fn a_run_is_retried_where_it_failed() {
    let relvec = Relvec::new();
    let (run, _) = failed(&relvec);
    let table = "CREATE TABLE notes (id INTEGER PRIMARY KEY, note TEXT)";
    sqlite(&relvec.path("shop.db"), table).await;
    let retry = |more: &[&str]| {
        let mut arguments = vec!["runs", "retry", &run, "--format", "json"];
        arguments.extend(more);
        relvec.call(&arguments)
    };
    // What failed runs again; with an empty table, it then asks what there is to embed.
    let again = json_of(&retry(&[]));
    assert_eq!(again["retry_of"], *run);
    assert_eq!(stage(&again, "collect_metadata")["status"], "succeeded");
    let second = again["run_id"].as_str().unwrap();
    assert_eq!(again["status"], "waiting");
    assert_eq!(relvec.call(&["runs", "cancel", second]).code, 0);
    let third = json_of(&relvec.call(&[
        "runs",
        "retry",
        second,
        "--from",
        "normalize_schema",
        "--format",
        "json",
    ]));
    let reused = &stage(&third, "collect_metadata")["reason"];
    assert_eq!(*reused, json!({"code": "reused", "run_id": second}));
    assert_eq!(stage(&third, "normalize_schema")["reason"]["code"], "ran");
    let alone = json_of(&relvec.call(&[
        "runs",
        "retry",
        second,
        "--only",
        "collect_metadata",
        "--format",
        "json",
    ]));
    assert_eq!(alone["status"], "succeeded", "{alone:#}");

    let ended = retry(&["--from", "analyzer", "--only", "analyzer"]);
    assert_eq!(ended.code, 2, "{ended:?}");
    // The run is taken for a stage: the usage says where it belongs.
    let ended = relvec.call(&["runs", "retry", "--from", "analyzer", second]);
    assert_eq!(ended.code, 2, "{ended:?}");
    assert!(ended.stderr.contains("retry <RUN> [OPTIONS]"), "{ended:?}");
    let ended = retry(&["--from", "analyser"]);
    assert!(
        ended.stderr.contains("did you mean `analyzer`?"),
        "{ended:?}"
    );

    write(
        &relvec,
        "mine.toml",
        &GRAPH.replace("job.require_review", "!job.require_review"),
    );
    let ended = retry(&[]);
    assert_eq!(ended.code, 1);
    assert_eq!(json_of(&ended)["edges"][0]["change"], "changed");
    assert!(ended.stderr.contains("--accept-drift"), "{ended:?}");
    let drifted = json_of(&retry(&["--accept-drift"]));
    assert_ne!(stage(&drifted, "gate_review")["status"], "not_taken");
}

#[test]
fn a_run_that_is_over_is_not_cancelled() {
    let relvec = Relvec::new();
    let (run, document) = failed(&relvec);
    let ended = relvec.call(&["runs", "cancel", &run]);
    assert_eq!(ended.code, 1);
    assert!(ended.stderr.contains("is over: failed"), "{ended:?}");
    let shown = json_of(&relvec.call(&["runs", "show", &run, "--format", "json"]));
    assert_eq!(shown, document);
}

#[test]
fn the_log_of_a_stage_can_be_read() {
    let relvec = Relvec::new();
    let (run, _) = failed(&relvec);
    let ended = relvec.call(&["runs", "logs", &run, "--format", "json"]);
    assert_eq!(ended.code, 0, "{ended:?}");
    assert!(json_of(&ended).is_array());
    let ended = relvec.call(&["runs", "logs", &run, "--stage", "nothing"]);
    assert_eq!(
        ended.code, 1,
        "a stage that is not there is not a stage without lines"
    );
}
