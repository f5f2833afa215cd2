//! `relvec runs` and `relvec run` against a gateway: they print what they print of the store itself.

use std::process::Stdio;

use serde_json::{Value, json};

use crate::gateway::Gateway;
use crate::relvec::{Ended, Relvec};

/// Says a few things, then waits for a person.
const SPOKEN: &str = r#"
name = "spoken"
input = "job"

[[edges]]
chain = ["speak", "gate_review"]

[stages.speak]
handler = "command"
with = { program = "sh", args = ["-c", "cat >/dev/null; echo one >&2; echo two >&2; echo '{}'"], kind = "said" }

[stages.gate_review]
"#;

/// Fails the first time.
const FRAGILE: &str = r#"
name = "fragile"
input = "job"

[stages.try]
handler = "command"
with = { program = "sh", args = ["-c", "cat >/dev/null; test -e mended || exit 1; echo '{}'"], kind = "tried" }
retry = { attempts = 1 }
"#;

struct Both {
    relvec: Relvec,
    gateway: Gateway,
}

impl Both {
    fn new() -> Self {
        let relvec = Relvec::alone();
        std::fs::create_dir(relvec.path("graphs")).expect("a folder");
        for (name, text) in [("spoken", SPOKEN), ("fragile", FRAGILE)] {
            std::fs::write(relvec.path("graphs").join(format!("{name}.toml")), text)
                .expect("a graph");
        }
        let job = json!({"source": {"url": "sqlite:/no/such/shop.db"}});
        std::fs::write(relvec.path("job.json"), job.to_string()).expect("a job");
        let gateway = Gateway::start(&relvec, &[]);
        Self { relvec, gateway }
    }

    fn remote(&self, arguments: &[&str]) -> Ended {
        let mut all = arguments.to_vec();
        all.extend(["--server", &self.gateway.address]);
        self.relvec.call(&all)
    }

    /// Calls a command here and there, which has to print the same, and gives it.
    fn same(&self, arguments: &[&str]) -> String {
        let (here, there) = (self.relvec.call(arguments), self.remote(arguments));
        assert_eq!(here.code, 0, "{here:?}");
        assert_eq!(there.code, 0, "{there:?}");
        let files = format!("{}/artifacts/", self.gateway.address);
        assert!(!there.stdout.is_empty() && !here.stdout.contains(&files));
        assert_eq!(here.stdout, there.stdout, "{arguments:?}");
        here.stdout
    }

    fn run(&self, graph: &str) -> (i32, Value) {
        let arguments = ["run", graph, "--input", "job.json", "--format", "json"];
        let ended = self.remote(&arguments);
        let run = serde_json::from_str(&ended.stdout)
            .unwrap_or_else(|error| panic!("no run document ({error}): {ended:?}"));
        (ended.code, run)
    }
}

#[test]
fn a_gateways_runs_are_printed_as_the_stores_are() {
    let both = Both::new();
    let (code, run) = both.run("spoken");
    assert_eq!((code, &run["status"]), (3, &json!("waiting")));
    let id = run["run_id"].as_str().expect("an id");
    let shown = both.same(&["runs", "show", id]);
    assert!(shown.contains("status: waiting"), "{shown}");
    for arguments in [
        &["runs", "list"][..],
        &["runs", "list", "--format", "json"],
        &["runs", "show", id, "--format", "json"],
        &["runs", "events", id],
        &["runs", "logs", id],
        &["runs", "logs", id, "--format", "json"],
        &["runs", "logs", id, "--stage", "speak"],
        &["runs", "explain", id, "speak"],
        &["runs", "explain", id, "gate_review", "--format", "json"],
        &["runs", "artifacts", id, "--format", "json"],
    ] {
        both.same(arguments);
    }
    let tail = both.same(&["runs", "logs", id, "--tail", "1"]);
    assert!(tail.contains("two") && !tail.contains("one"), "{tail}");
    for (arguments, code, says) in [
        (
            &["runs", "logs", id, "--stage", "spek"][..],
            1,
            "did you mean `speak`",
        ),
        (
            &["runs", "show", "00000000-0000-0000-0000-000000000000"],
            1,
            "there is no run",
        ),
        (
            &["runs", "answer", id, "accept", "perhaps"],
            1,
            "choose one of",
        ),
        (&["runs", "validate", id], 1, "generated no code"),
    ] {
        let ended = both.remote(arguments);
        assert_eq!(ended.code, code, "{ended:?}");
        assert!(ended.stderr.contains(says), "{ended:?}");
    }
    let job = both.relvec.path("job.json");
    let planned = both.remote(&["plan", "spoken", "--input", job.to_str().unwrap()]);
    assert!(planned.stdout.contains("gate_review"), "{planned:?}");
}

#[test]
fn a_gateways_run_is_answered_and_followed_to_its_end() {
    let both = Both::new();
    let (_, run) = both.run("spoken");
    let id = run["run_id"].as_str().expect("an id").to_owned();
    let follow = |what: &str| {
        let mut command = both.relvec.command(&["runs", what, &id, "--follow"]);
        command.args(["--server", &both.gateway.address]);
        command
            .stdout(Stdio::piped())
            .spawn()
            .expect("relvec starts")
    };
    let (events, logs) = (follow("events"), follow("logs"));
    let answered = both.remote(&["runs", "answer", &id, "accept", "approve", "--by", "ann"]);
    assert_eq!(answered.code, 0, "{answered:?}");
    assert!(
        answered.stdout.contains("status: succeeded"),
        "{answered:?}"
    );
    assert!(answered.stderr.contains("run succeeded"), "{answered:?}");
    // Both end by themselves, after the run's last event.
    let events = Ended::from(events.wait_with_output().expect("its output"));
    assert_eq!(events.stdout, both.same(&["runs", "events", &id]));
    let logs = Ended::from(logs.wait_with_output().expect("its output"));
    assert_eq!(logs.stdout, both.same(&["runs", "logs", &id]));
}

#[test]
fn a_gateways_run_is_cancelled_and_retried() {
    let both = Both::new();
    let (_, run) = both.run("spoken");
    let id = run["run_id"].as_str().expect("an id");
    let cancelled = both.remote(&["runs", "cancel", id]);
    assert_eq!(cancelled.code, 0, "{cancelled:?}");
    assert!(
        cancelled.stdout.contains("status: cancelled"),
        "{cancelled:?}"
    );
    let (code, run) = both.run("fragile");
    assert_eq!((code, &run["status"]), (1, &json!("failed")));
    let id = run["run_id"].as_str().expect("an id");
    std::fs::write(both.relvec.path("mended"), "").expect("a file");
    let retried = both.remote(&["runs", "retry", id, "--format", "json"]);
    assert_eq!(retried.code, 0, "{retried:?}");
    let retried: Value = serde_json::from_str(&retried.stdout).expect("a run");
    assert_eq!(retried["retry_of"], *id);
    assert_eq!(retried["status"], "succeeded");
    let graph = both.relvec.path("graphs").join("fragile.toml");
    std::fs::write(graph, FRAGILE.replace("exit 1", "exit 2")).expect("a graph");
    let drifted = both.remote(&["runs", "retry", id]);
    assert_eq!(drifted.code, 1, "{drifted:?}");
    assert!(drifted.stderr.contains("--accept-drift"), "{drifted:?}");
    assert!(drifted.stdout.contains("try"), "{drifted:?}");
}

#[test]
fn files_of_a_gateways_run_are_saved() {
    let both = Both::new();
    let shop = both.relvec.path("shop.db");
    let made = std::process::Command::new("python3")
        .args(["-c", "import sqlite3, sys; sqlite3.connect(sys.argv[1]).executescript('CREATE TABLE notes (id INTEGER PRIMARY KEY, body TEXT NOT NULL); ' + ''.join(f\"INSERT INTO notes VALUES ({n}, 'A long note about the garden and the weather of day {n}, to be found again.');\" for n in range(40)))"])
        .arg(&shop)
        .status()
        .expect("python3");
    assert!(made.success());
    let job = json!({"source": {"url": format!("sqlite:{}", shop.display())},
        "target": {"url": "postgres://nobody@127.0.0.1:9/nothing"}});
    std::fs::write(both.relvec.path("job.json"), job.to_string()).expect("a job");
    let (code, run) = both.run("plan-only");
    assert_eq!(code, 0, "{run:#}");
    let id = run["run_id"].as_str().expect("an id");
    let listed = both.same(&["runs", "artifacts", id]);
    assert!(listed.contains("migrate.py"), "{listed}");
    // Its target is not there, and the validation says so.
    let validated = both.remote(&["runs", "validate", id, "--format", "json"]);
    assert_eq!(validated.code, 1, "{validated:?}");
    let validated: Value = serde_json::from_str(&validated.stdout).expect("a run");
    assert_eq!(validated["graph"], "revalidate");
    assert_eq!(validated["retry_of"], *id);
    let saved = both.remote(&["runs", "artifacts", id, "--to", "saved"]);
    assert_eq!(saved.code, 0, "{saved:?}");
    let here = std::fs::read(both.relvec.artifacts(&run).join("migrate.py")).expect("a script");
    let there = std::fs::read(both.relvec.path("saved").join("migrate.py")).expect("a script");
    assert_eq!(here, there);
}

#[test]
fn what_is_no_gateway_is_told_apart() {
    let relvec = Relvec::alone();
    for (server, code, says) in [
        ("http://127.0.0.1:1", 1, "does not answer"),
        ("ftp://127.0.0.1", 2, "not the URL of a gateway"),
        (
            "http://user:secret@127.0.0.1",
            2,
            "not the URL of a gateway",
        ),
        ("nonsense", 2, "--server"),
    ] {
        let ended = relvec.call(&["runs", "--server", server, "list"]);
        assert_eq!(ended.code, code, "{ended:?}");
        assert!(ended.stderr.contains(says), "{ended:?}");
        assert!(!ended.stderr.contains("secret"), "{ended:?}");
    }
}
