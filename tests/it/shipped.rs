//! The shipped graphs: no findings, their own tests pass and cover them, and what they repeat of the default graph is the same.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use relvec::graph::plan::Plan;
use relvec::handlers::CATALOG;
use relvec::launch::graphs::{find, load, shipped};
use relvec::settings::{LogFormat, RunSettings, Settings};
use serde_json::json;

use crate::relvec::{Relvec, job, shop_sql, sqlite, stage};

fn names() -> Vec<String> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("graphs");
    let files = std::fs::read_dir(folder).expect("the folder");
    let mut names: Vec<String> = files
        .map(|entry| entry.expect("an entry").path())
        .map(|path| {
            path.file_stem()
                .expect("a name")
                .to_string_lossy()
                .into_owned()
        })
        .collect();
    names.sort();
    names
}

fn plan(name: &str) -> Plan {
    let settings = Settings {
        home: PathBuf::from("not-used"),
        graphs: PathBuf::from("not-there"),
        python: "not-used".to_owned(),
        log: "warn".to_owned(),
        store: None,
        runs: RunSettings::default(),
        log_format: LogFormat::Text,
        otlp_endpoint: None,
        access: relvec::settings::AccessSettings::default(),
    };
    let graph = find(name, &settings).expect("a shipped graph");
    match load(&graph, &settings).and_then(|file| Plan::build(&file, CATALOG)) {
        Ok(plan) => plan,
        Err(found) => panic!("{}", found.render(false)),
    }
}

/// Gives the edges by their ends, each with all that decides it.
fn edges(plan: &Plan) -> BTreeMap<(String, String), String> {
    let id = |stage: usize| plan.stages()[stage].id.to_string();
    let edges = plan.edges().iter().map(|edge| {
        let when = edge.when.as_ref().map(|when| when.condition.expression());
        let decided = format!("{:?} {when:?} {}", edge.on, edge.otherwise);
        ((id(edge.from), id(edge.to)), decided)
    });
    edges.collect()
}

#[test]
fn shipped_graphs_plan_without_findings() {
    let names = names();
    assert_eq!(
        names,
        [
            "default",
            "no-llm",
            "notify",
            "plan-only",
            "revalidate",
            "review-first"
        ]
    );
    for name in names {
        assert!(shipped(&name).is_some(), "{name} is inside the binary");
        let plan = plan(&name);
        assert_eq!(plan.name(), name);
        assert!(plan.description().is_some(), "{name} says what it does");
        let warnings = plan.warnings();
        assert!(warnings.is_empty(), "{}", warnings.render(false));
    }
}

#[test]
fn what_shipped_graphs_repeat_of_the_default_graph_is_the_same() {
    let default = edges(&plan("default"));
    let ends = |from: &str, to: &str| (from.to_owned(), to.to_owned());
    for (name, without, more) in [
        ("no-llm", None, 0),
        ("notify", None, 1),
        ("review-first", Some(ends("infra_generator", "executor")), 2),
    ] {
        let own = edges(&plan(name));
        let kept = default
            .iter()
            .filter(|(ends, _)| Some(*ends) != without.as_ref());
        for (ends, decided) in kept.clone() {
            assert_eq!(own.get(ends), Some(decided), "{name}: {ends:?}");
        }
        assert_eq!(own.len(), kept.count() + more, "{name}");
    }
}

#[test]
fn the_tests_of_the_shipped_graphs_cover_them() {
    let relvec = Relvec::new();
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("graphs");
    let names = names();
    let paths: Vec<String> = names
        .iter()
        .map(|name| folder.join(format!("{name}.toml")).display().to_string())
        .collect();
    let mut arguments = vec!["test", "--min-coverage", "100"];
    arguments.extend(paths.iter().map(String::as_str));
    let ended = relvec.call(&arguments);
    assert_eq!(ended.code, 0, "{}{}", ended.stdout, ended.stderr);
    assert_eq!(ended.stdout.matches("coverage 100 %").count(), names.len());
    assert!(
        ended
            .stdout
            .contains("  ok     a validated run needs nobody\n"),
        "{}",
        ended.stdout
    );
    // By their names they are those inside the binary.
    let ended = relvec.call(&["test", "default", "notify", "--min-coverage", "100"]);
    assert_eq!(ended.code, 0, "{}{}", ended.stdout, ended.stderr);
}

#[tokio::test]
async fn plan_only_generates_the_code_and_runs_nothing() {
    let relvec = Relvec::new();
    let source = sqlite(&relvec.path("shop.db"), &shop_sql()).await;
    // Nobody listens there: a run that went on to the target would fail.
    let job = job(&source, "postgres://nobody@127.0.0.1:9/nothing");
    let (code, run) = relvec.run_graph("plan-only", &job, &[]);
    assert_eq!(code, 0, "{run:#}");
    assert_eq!(run["status"], "succeeded");
    assert_eq!(stage(&run, "infra_generator")["status"], "succeeded");
    assert_eq!(run["execution_report"], json!(null));
    assert!(relvec.artifacts(&run).join("migrate.py").is_file());
}
