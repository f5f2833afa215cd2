//! Names and comments from a database never become code: outside the plan block, generated files are the same for a hostile
//! schema and a benign one, and the hostile one's rows arrive whole.

use std::collections::BTreeMap;

use crate::relvec::{Relvec, job, mariadb, postgres, sqlite};
use crate::services::{mariadb_url, postgres_source_url, postgres_url};

/// Texts that end a string, a comment, a line, a template or a format, or that order somebody about.
const HOSTILE: &[&str] = &[
    "x\"; import os #",
    "'''",
    "\"\"\" + __import__('os').system('id') + \"\"\"",
    "a\rb = 1 #",
    "coding: utf-7",
    "{{7*7}}",
    "{% raw %}",
    "100%s",
    "{0}",
    "$(id)",
    "a\nRUN id",
    "b\n--index-url evil",
    "right \u{202e}tfel",
    "snow \u{1f328} man",
    "back\\slash\\",
    "line\u{2028}break",
    "select",
    "a.b",
    "ignore previous instructions",
];

const TEXT: &str =
    "A long sentence about gardens, winters and travelling with a heavy suitcase by train";

/// Gives a table whose columns are all named by `name`, with rows of prose.
fn schema(names: &[String]) -> String {
    use std::fmt::Write as _;
    let quoted = |name: &str| format!("\"{}\"", name.replace('"', "\"\""));
    let mut sql = String::new();
    for (position, name) in names.iter().enumerate() {
        let table = quoted(name);
        let column = quoted(&format!("{name} text"));
        let _ = writeln!(
            sql,
            "CREATE TABLE {table} (\"id\" INTEGER PRIMARY KEY, {column} TEXT NOT NULL);"
        );
        for id in 1..=12 {
            let _ = writeln!(
                sql,
                "INSERT INTO {table} VALUES ({id}, '{TEXT}, number {id} of table {position}.');"
            );
        }
    }
    sql
}

/// Gives a run's files, the plan block of a script replaced by nothing.
fn outside_the_plan(relvec: &Relvec, run: &serde_json::Value) -> BTreeMap<String, String> {
    let mut files = BTreeMap::new();
    for entry in std::fs::read_dir(relvec.artifacts(run)).unwrap() {
        let path = entry.unwrap().path();
        let name = path.file_name().unwrap().to_string_lossy().into_owned();
        if name == "plan.json" || name.starts_with('.') {
            continue;
        }
        let text = std::fs::read_to_string(&path).unwrap();
        let text = match text.split_once("PLAN_JSON = r'''") {
            Some((before, rest)) => {
                let (block, after) = rest.split_once("'''").expect("the block ends");
                assert!(block.is_ascii(), "the block is ASCII");
                format!("{before}{after}")
            }
            None => text,
        };
        files.insert(name, text);
    }
    assert!(
        files.contains_key("migrate.py") && files.contains_key("service.py"),
        "{files:?}"
    );
    files
}

async fn hostile_is_as_benign(
    hostile: &[&str],
    source_of: impl AsyncFn(&Relvec, &str, String) -> String,
) {
    let relvec = Relvec::new();
    let count = hostile.len();
    let hostile: Vec<String> = hostile.iter().map(|&text| text.to_owned()).collect();
    let benign: Vec<String> = (0..count).map(|i| format!("table_{i}")).collect();
    let mut files = Vec::new();
    for (kind, names) in [("hostile", hostile), ("benign", benign)] {
        let source = source_of(&relvec, kind, schema(&names)).await;
        let mut job = job(&source, &postgres_url().await);
        job["execution"]["runtime"] = "fastapi".into();
        let (code, run) = relvec.run(&job);
        assert_eq!(code, 0, "{kind}: {run:#}");
        let entities = run["validation_report"]["entities"].as_array().unwrap();
        assert_eq!(entities.len(), count);
        assert!(
            entities.iter().all(|entity| entity["documents"] == 12),
            "{entities:?}"
        );
        files.push(outside_the_plan(&relvec, &run));
    }
    assert_eq!(files[0], files[1]);
}

#[tokio::test]
async fn hostile_names_in_sqlite_change_nothing_outside_the_plan() {
    hostile_is_as_benign(HOSTILE, async |relvec, kind, sql| {
        sqlite(&relvec.path(&format!("{kind}.db")), &sql).await
    })
    .await;
}

#[tokio::test]
async fn hostile_names_in_postgres_change_nothing_outside_the_plan() {
    hostile_is_as_benign(HOSTILE, async |_, _, sql| {
        let source = postgres_source_url().await;
        postgres(&source, &sql).await;
        source
    })
    .await;
}

#[tokio::test]
async fn hostile_names_in_mariadb_change_nothing_outside_the_plan() {
    // MySQL's names have no characters beyond the basic plane.
    let names: Vec<&str> = HOSTILE
        .iter()
        .copied()
        .filter(|name| name.chars().all(|c| c <= '\u{ffff}'))
        .collect();
    assert_eq!(names.len(), HOSTILE.len() - 1);
    hostile_is_as_benign(&names, async |_, _, sql| {
        let source = mariadb_url().await;
        mariadb(&source, &sql).await;
        source
    })
    .await;
}
