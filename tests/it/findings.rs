//! `relvec validate` in its formats and with its exit codes, by the built binary. No service is needed.

use std::io::Write as _;
use std::process::{Command, Stdio};

use serde_json::Value;

use crate::relvec::{Ended, Relvec};

const SOUND: &str = "name = \"g\"\ninput = \"job\"\nedges = [{ chain = [\"collect_metadata\"] }]\n";
const WARNED: &str = "name = \"g\"\ninput = \"job\"\nedges = [{ chain = [\"collect_metadata\"] }]\n[stages.analyzer]\n";
const WRONG: &str = "name = \"g\"\ninput = \"job\"\nedges = [{ chain = [\"collect_metadata\", \"normalise_schema\"] }]\n";

/// A folder with a file of each sort.
fn relvec() -> Relvec {
    let relvec = Relvec::new();
    for (name, text) in [
        ("sound.toml", SOUND),
        ("warned.toml", WARNED),
        ("wrong.toml", WRONG),
        ("no toml, 100%.toml", "a = = 1"),
    ] {
        std::fs::write(relvec.path(name), text).unwrap();
    }
    std::fs::write(relvec.path("bytes.toml"), [0xff, 0xfe]).unwrap();
    relvec
}

fn validate(relvec: &Relvec, arguments: &[&str]) -> Ended {
    relvec.call(&[&["validate"], arguments].concat())
}

fn json(ended: &Ended) -> Value {
    serde_json::from_str(&ended.stdout).unwrap_or_else(|error| panic!("{error}: {ended:?}"))
}

#[test]
fn the_worst_file_decides_the_exit_code() {
    let relvec = relvec();
    for (arguments, expected) in [
        (&["sound.toml"][..], 0),
        (&["warned.toml"], 0),
        (&["warned.toml", "--strict"], 1),
        (&["sound.toml", "--strict"], 0),
        (&["wrong.toml"], 1),
        (&["no toml, 100%.toml"], 78),
        (&["bytes.toml"], 78),
        (&["missing.toml"], 78),
        (&["no-such-graph"], 78),
        (&["missing.toml", "wrong.toml", "sound.toml"], 78),
        (&["sound.toml", "wrong.toml", "warned.toml"], 1),
        (&["."], 2),
        (&["sound.toml", "-", "-"], 2),
        (&["sound.toml", "--format", "xml"], 2),
        (&[], 2),
    ] {
        for format in ["human", "json", "sarif", "github"] {
            let mut all = arguments.to_vec();
            if !arguments.contains(&"--format") {
                all.extend(["--format", format]);
            }
            let ended = validate(&relvec, &all);
            assert_eq!(ended.code, expected, "{all:?}: {ended:?}");
        }
    }
}

#[test]
fn people_read_every_file_and_a_line_of_totals() {
    let relvec = relvec();
    let files = ["missing.toml", "wrong.toml", "warned.toml", "sound.toml"];
    let ended = validate(&relvec, &files);
    for expected in [
        "error[unreadable]: cannot read the graph file missing.toml",
        "wrong.toml:3:41",
        "help: did you mean `normalize_schema`?",
        "warning[stage-not-in-graph]",
        "warned.toml: sound, 1 stages, 0 edges\n",
        "sound.toml: sound, 1 stages, 0 edges\n",
    ] {
        assert!(ended.stdout.contains(expected), "{expected}: {ended:?}");
    }
    let totals = ended.stdout.lines().last();
    assert_eq!(totals, Some("4 files: 2 sound, 2 errors, 1 warning"));
    assert!(
        !ended.stdout.contains('\u{1b}'),
        "colour without a terminal"
    );

    let ended = validate(&relvec, &["warned.toml", "sound.toml", "--strict"]);
    assert!(
        ended.stdout.contains("error[stage-not-in-graph]"),
        "{ended:?}"
    );
    let totals = ended.stdout.lines().last();
    assert_eq!(totals, Some("2 files: 1 sound, 1 error, 0 warnings"));
}

#[test]
fn json_is_one_array() {
    let relvec = relvec();
    let ended = validate(
        &relvec,
        &[
            "missing.toml",
            "warned.toml",
            "wrong.toml",
            "--format",
            "json",
        ],
    );
    let found = json(&ended);
    let said: Vec<_> = found
        .as_array()
        .expect("an array")
        .iter()
        .map(|it| {
            let place = ["line", "column", "end_line", "end_column"]
                .map(|key| it[key].as_u64().expect(key));
            (
                it["file"].as_str().expect("a file"),
                it["code"].as_str().expect("a code"),
                it["severity"].as_str().expect("a severity"),
                place,
            )
        })
        .collect();
    assert_eq!(
        said,
        [
            ("missing.toml", "unreadable", "error", [1, 1, 1, 1]),
            (
                "warned.toml",
                "stage-not-in-graph",
                "warning",
                [4, 9, 4, 17]
            ),
            ("wrong.toml", "unknown-stage", "error", [3, 41, 3, 59]),
        ]
    );
    assert_eq!(
        json(&validate(&relvec, &["sound.toml", "--format", "json"])),
        Value::Array(Vec::new())
    );
}

#[test]
fn github_annotates_lines() {
    let relvec = relvec();
    let ended = validate(
        &relvec,
        &[
            "wrong.toml",
            "warned.toml",
            "no toml, 100%.toml",
            "--format",
            "github",
        ],
    );
    let lines: Vec<&str> = ended.stdout.lines().collect();
    assert_eq!(
        lines[0],
        "::error file=wrong.toml,line=3,endLine=3,col=41,endColumn=59,title=unknown-stage::\
         `normalise_schema` is no handler, and no table says which one it has%0Adid you mean `normalize_schema`?"
    );
    assert!(
        lines[1].starts_with("::warning file=warned.toml,line=4,"),
        "{lines:?}"
    );
    assert!(
        lines[2].starts_with("::error file=no toml%2C 100%25.toml,line=1,"),
        "{lines:?}"
    );
    assert_eq!(lines.len(), 3, "{lines:?}");
}

/// Gives the schema of SARIF 2.1.0 from the package that carries it; Cargo knows where that is.
fn sarif_schema() -> Value {
    let output = Command::new(env!("CARGO"))
        .args(["metadata", "--format-version", "1", "--locked"])
        .args([
            "--manifest-path",
            concat!(env!("CARGO_MANIFEST_DIR"), "/Cargo.toml"),
        ])
        .output()
        .expect("cargo starts");
    let said = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "cargo metadata: {said}");
    let metadata: Value = serde_json::from_slice(&output.stdout).expect("JSON");
    let package = metadata["packages"]
        .as_array()
        .and_then(|packages| packages.iter().find(|it| it["name"] == "serde-sarif"))
        .expect("the package serde-sarif");
    let manifest = std::path::Path::new(package["manifest_path"].as_str().expect("a path"));
    let schema = manifest.with_file_name("src").join("schema.json");
    let text = std::fs::read_to_string(schema).expect("the schema");
    // Its pattern of languages has a bracket too many, which makes it no regular expression.
    let text = text.replace(
        "^[a-zA-Z]{2}|^[a-zA-Z]{2}-[a-zA-Z]{2}]?$",
        "^[a-zA-Z]{2}(-[a-zA-Z]{2})?$",
    );
    serde_json::from_str(&text).expect("JSON")
}

#[test]
fn sarif_is_valid_by_its_schema() {
    let schema = jsonschema::options()
        .should_validate_formats(true)
        .build(&sarif_schema())
        .expect("a schema");
    let errors = |log: &Value| {
        schema
            .iter_errors(log)
            .map(|it| it.to_string())
            .collect::<Vec<_>>()
    };

    let relvec = relvec();
    let mut arguments = vec!["--format".to_owned(), "sarif".to_owned()];
    for name in [
        "missing.toml",
        "bytes.toml",
        "no toml, 100%.toml",
        "warned.toml",
        "sound.toml",
    ] {
        arguments.push(name.to_owned());
    }
    let folder = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/graphs/invalid");
    for entry in std::fs::read_dir(folder).expect("a folder") {
        let path = entry.expect("an entry").path();
        if path.extension().is_some_and(|end| end == "toml") {
            arguments.push(path.to_str().expect("UTF-8").to_owned());
        }
    }
    let arguments: Vec<&str> = arguments.iter().map(String::as_str).collect();
    let log = json(&validate(&relvec, &arguments));
    assert_eq!(errors(&log), Vec::<String>::new());
    let run = &log["runs"][0];
    assert!(
        run["results"]
            .as_array()
            .is_some_and(|it| it.len() > arguments.len() - 8)
    );
    assert_eq!(run["invocations"][0]["executionSuccessful"], false);

    let log = json(&validate(&relvec, &["sound.toml", "--format", "sarif"]));
    assert_eq!(errors(&log), Vec::<String>::new());
    assert_eq!(log["runs"][0]["results"], Value::Array(Vec::new()));

    // The schema refuses what is wrong: it is the whole schema, and formats count.
    let mut wrong = log;
    wrong["runs"][0]["tool"]["driver"]["informationUri"] = "no uri".into();
    wrong["runs"][0]["columnKind"] = "bytes".into();
    assert_eq!(errors(&wrong).len(), 2, "{:?}", errors(&wrong));
}

#[test]
fn standard_input_is_a_file_too() {
    let relvec = relvec();
    for (text, extra, code, expected) in [
        (SOUND, "human", 0, "<stdin>: sound, 1 stages, 0 edges"),
        (WRONG, "human", 1, "<stdin>:3:41"),
        (WRONG, "github", 1, "::error file=<stdin>,line=3,"),
        (WRONG, "sarif", 1, "%3Cstdin%3E"),
        // What it extends is looked for in the current folder.
        (
            "name = \"h\"\nextends = \"sound\"\n",
            "human",
            0,
            "<stdin>: sound, 1 stages",
        ),
    ] {
        let mut child = relvec
            .command(&["validate", "-", "--format", extra])
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .expect("relvec starts");
        let mut stdin = child.stdin.take().expect("standard input");
        stdin.write_all(text.as_bytes()).expect("relvec reads");
        drop(stdin);
        let ended = Ended::from(child.wait_with_output().expect("relvec ends"));
        assert_eq!(ended.code, code, "{ended:?}");
        assert!(ended.stdout.contains(expected), "{ended:?}");
    }
}
