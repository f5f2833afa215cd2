//! Bad input ends in one clear message with the next step and the exit code of the design. No service is needed.

use serde_json::{Value, json};

use crate::relvec::{Ended, Relvec, job, sqlite, stage};

/// A target that no test here may get as far as to reach.
const NOWHERE: &str = "postgres://nobody@127.0.0.1:9/nothing";

fn failed_stage<'a>(run: &'a Value, id: &str) -> &'a str {
    assert_eq!(run["status"], "failed", "{run:#}");
    let stage = stage(run, id);
    assert_eq!(stage["status"], "failed", "{run:#}");
    stage["reason"]["error"].as_str().expect("an error")
}

fn run_input(relvec: &Relvec, graph: &str, input: &str) -> Ended {
    let file = relvec.path("job.json");
    std::fs::write(&file, input).unwrap();
    relvec.call(&["run", graph, "--input", file.to_str().unwrap()])
}

#[test]
fn a_job_without_a_source_names_what_is_missing() {
    let ended = run_input(&Relvec::new(), "default", "{}");
    assert_eq!(ended.code, 1, "{ended:?}");
    assert!(ended.stderr.contains("source"), "{ended:?}");
    assert!(ended.stderr.contains("next:"), "{ended:?}");
}

#[test]
fn a_job_that_is_no_json_is_unreadable_configuration() {
    let ended = run_input(&Relvec::new(), "default", "{not json");
    assert_eq!(ended.code, 78, "{ended:?}");
    assert!(ended.stderr.contains("job.json"), "{ended:?}");
}

#[test]
fn a_misspelt_key_of_the_job_is_named() {
    let input = r#"{"source": {"url": "sqlite:x.db"}, "embeding": {}}"#;
    let ended = run_input(&Relvec::new(), "default", input);
    assert_eq!(ended.code, 1, "{ended:?}");
    assert!(
        ended.stderr.contains("embeding") && ended.stderr.contains("embedding"),
        "{ended:?}"
    );
}

#[test]
fn a_misspelt_graph_is_named_with_what_was_meant() {
    let ended = run_input(
        &Relvec::new(),
        "defualt",
        r#"{"source": {"url": "sqlite:x.db"}}"#,
    );
    assert_ne!(ended.code, 0);
    assert!(
        ended.stderr.contains("defualt") && ended.stderr.contains("`default`"),
        "{ended:?}"
    );
}

#[test]
fn a_graph_with_a_cycle_or_an_unknown_handler_does_not_run() {
    let relvec = Relvec::new();
    let cases = [
        (
            "name = \"cycle\"\ninput = \"job\"\n[[edges]]\nchain = [\"collect_metadata\", \"normalize_schema\", \"collect_metadata\"]\n",
            "cycle",
        ),
        (
            "name = \"typo\"\ninput = \"job\"\n[[edges]]\nchain = [\"collect_metadata\", \"normalise_schema\"]\n",
            "normalize_schema",
        ),
    ];
    for (text, expected) in cases {
        let file = relvec.path("graph.toml");
        std::fs::write(&file, text).unwrap();
        let file = file.to_str().unwrap();
        for ended in [
            relvec.call(&["validate", file]),
            run_input(&relvec, file, r#"{"source": {"url": "sqlite:x.db"}}"#),
        ] {
            assert_eq!(ended.code, 1, "{ended:?}");
            let text = format!("{}{}", ended.stdout, ended.stderr);
            assert!(
                text.contains(expected) && text.contains("graph.toml:"),
                "{ended:?}"
            );
        }
    }
}

#[test]
fn a_file_that_is_not_there_is_unreadable_configuration() {
    let ended = Relvec::new().call(&["validate", "no-such-graph.toml"]);
    assert_eq!(ended.code, 78, "{ended:?}");
}

#[test]
fn an_unknown_command_is_a_usage_error() {
    assert_eq!(Relvec::new().call(&["migrat"]).code, 2);
}

#[test]
fn a_source_that_cannot_be_reached_is_named() {
    let relvec = Relvec::new();
    let missing = relvec.path("missing.db");
    for (source, place) in [
        (format!("sqlite:{}", missing.display()), "missing.db"),
        (
            "postgres://reader:c4n4ry@127.0.0.1:9/shop".to_owned(),
            "127.0.0.1:9",
        ),
    ] {
        let (code, run) = relvec.run(&job(&source, NOWHERE));
        assert_eq!(code, 1);
        let error = failed_stage(&run, "collect_metadata");
        assert!(error.contains(place) && error.contains("next:"), "{error}");
        assert!(!error.contains("c4n4ry"));
    }
}

#[tokio::test]
async fn a_pattern_that_matches_no_table_is_named_with_what_was_meant() {
    let relvec = Relvec::new();
    let source = sqlite(&relvec.path("shop.db"), &crate::relvec::shop_sql()).await;
    let mut job = job(&source, NOWHERE);
    job["source"]["include"] = json!(["ordres"]);
    let (code, run) = relvec.run(&job);
    assert_eq!(code, 1);
    let error = failed_stage(&run, "collect_metadata");
    assert!(
        error.contains("ordres") && error.contains("orders"),
        "{error}"
    );
}

#[tokio::test]
async fn an_empty_database_and_one_without_text_say_so() {
    let relvec = Relvec::new();
    let cases = [
        ("empty.db", "PRAGMA user_version = 1", "no table"),
        (
            "numbers.db",
            "CREATE TABLE n (id INTEGER PRIMARY KEY, value INTEGER NOT NULL); INSERT INTO n VALUES (1, 2)",
            "text",
        ),
    ];
    for (name, sql, expected) in cases {
        let source = sqlite(&relvec.path(name), sql).await;
        let (code, run) = relvec.run(&job(&source, NOWHERE));
        assert_eq!(code, 1, "{run:#}");
        assert_eq!(run["status"], "failed");
        let error = run["error"].as_str().expect("an error");
        assert!(
            error.contains(expected) && error.contains("next:"),
            "{error}"
        );
    }
}

#[tokio::test]
async fn a_container_without_a_daemon_is_asked_about() {
    let relvec = Relvec::new();
    let source = sqlite(&relvec.path("shop.db"), &crate::relvec::shop_sql()).await;
    let mut job = job(&source, NOWHERE);
    job["execution"]["mode"] = json!("container");
    let (code, run) = relvec.run_with(&job, &[("DOCKER_HOST", "unix:///nowhere/docker.sock")]);
    assert_eq!(code, 3, "{run:#}");
    let error = stage(&run, "executor")["reason"]["message"]
        .as_str()
        .unwrap();
    assert!(
        error.contains("unix:///nowhere/docker.sock") && error.contains("`process`"),
        "{error}"
    );
}

#[test]
fn a_person_reads_one_message_with_the_next_step() {
    let relvec = Relvec::new();
    let ended = run_input(
        &relvec,
        "default",
        r#"{"source": {"url": "sqlite:no-such.db"}}"#,
    );
    assert_eq!(ended.code, 1, "{ended:?}");
    let text = format!("{}{}", ended.stdout, ended.stderr);
    assert_eq!(text.matches("there is no file").count(), 1, "{ended:?}");
    assert_eq!(text.matches("next:").count(), 1, "{ended:?}");
}

#[test]
fn a_value_that_is_no_choice_is_answered_with_the_choices() {
    let input = r#"{"source": {"url": "sqlite:x.db"}, "execution": {"mode": "proces"}}"#;
    let ended = run_input(&Relvec::new(), "default", input);
    assert_eq!(ended.code, 1, "{ended:?}");
    let expected = "execution.mode is none of `container`, `process`, `simulate`";
    assert!(ended.stderr.contains(expected), "{ended:?}");
}

#[tokio::test]
async fn a_variable_that_changes_the_connection_to_the_target_is_refused() {
    let relvec = Relvec::new();
    let source = sqlite(&relvec.path("shop.db"), &crate::relvec::shop_sql()).await;
    let (code, run) = relvec.run_with(&job(&source, NOWHERE), &[("PGOPTIONS", "-c x=y")]);
    assert_eq!(code, 3, "{run:#}");
    let error = stage(&run, "executor")["reason"]["error"].as_str().unwrap();
    assert!(error.contains("PGOPTIONS"), "{error}");
}

#[tokio::test]
async fn an_empty_database_has_nothing_to_inspect() {
    let relvec = Relvec::new();
    let source = sqlite(&relvec.path("empty.db"), "PRAGMA user_version = 1").await;
    let ended = relvec.call(&["inspect", &source]);
    assert_eq!(ended.code, 1, "{ended:?}");
    assert!(
        ended.stderr.contains("has no tables") && ended.stderr.contains("next:"),
        "{ended:?}"
    );
}

#[test]
fn warnings_of_a_sound_graph_go_to_standard_error() {
    let relvec = Relvec::new();
    let graph = relvec.path("graph.toml");
    let text = "name = \"g\"\ninput = \"job\"\nedges = [{ chain = [\"collect_metadata\"] }]\n[stages.analyzer]\n";
    std::fs::write(&graph, text).unwrap();
    let input = relvec.path("job.json");
    std::fs::write(&input, r#"{"source": {"url": "sqlite:x.db"}}"#).unwrap();
    for command in ["plan", "run"] {
        let ended = relvec.call(&[
            command,
            graph.to_str().unwrap(),
            "--input",
            input.to_str().unwrap(),
            "--format",
            "json",
        ]);
        assert!(ended.stderr.contains("stage-not-in-graph"), "{ended:?}");
        let printed: Result<Value, _> = serde_json::from_str(&ended.stdout);
        assert!(printed.is_ok(), "{ended:?}");
    }
}

/// A reader that ends early, as `head` does, and what is said on standard error meanwhile.
#[test]
fn a_reader_that_went_away_is_no_panic() {
    use std::process::Stdio;

    let relvec = Relvec::new();
    let mut command = relvec.command(&["schema", "job"]);
    let (reader, writer) = std::io::pipe().unwrap();
    drop(reader);
    let ended = command
        .stdout(writer)
        .stderr(Stdio::piped())
        .output()
        .unwrap();
    assert_eq!(ended.status.code(), Some(0));
    assert!(
        ended.stderr.is_empty(),
        "{}",
        String::from_utf8_lossy(&ended.stderr)
    );
}
