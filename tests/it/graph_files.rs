//! The folders of graph files: valid ones, invalid ones with their diagnostics, and those that are warned of.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};

use relvec::graph::diagnostic::Diagnostics;
use relvec::graph::file::{GraphFile, schema};
use relvec::graph::plan::Plan;
use relvec::handlers::{CATALOG, HANDLERS};
use relvec::launch::graphs::shipped;
use serde_json::Value;

fn folder(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR"))
        .join("tests/graphs")
        .join(name)
}

fn files(name: &str, extension: &str) -> BTreeSet<String> {
    let mut names = BTreeSet::new();
    for entry in std::fs::read_dir(folder(name)).expect("a folder") {
        let path = entry.expect("an entry").path();
        if path.extension().is_some_and(|found| found == extension) {
            let stem = path.file_stem().and_then(|stem| stem.to_str());
            names.insert(stem.expect("a name").to_owned());
        }
    }
    names
}

fn updating() -> bool {
    relvec::settings::variable("UPDATE_EXPECTED").is_some()
}

#[test]
fn every_valid_graph_is_accepted() {
    let names = files("valid", "toml");
    assert!(names.len() >= 5, "{names:?}");
    for name in names {
        let bytes = std::fs::read(folder("valid").join(format!("{name}.toml"))).expect("a file");
        match build("valid", &name, &bytes) {
            Ok(plan) => assert_eq!(plan.name(), name),
            Err(found) => panic!("{}", found.render(false)),
        }
    }
}

/// Builds a graph of a folder. What it extends is `base-….toml` beside it.
fn build(within: &str, name: &str, bytes: &[u8]) -> Result<Plan, Diagnostics> {
    let base = |name: &str, _: &str| {
        let bytes = std::fs::read(folder(within).join(format!("{name}.toml"))).ok()?;
        Some((format!("{name}.toml"), bytes))
    };
    let file = GraphFile::load(&format!("{name}.toml"), bytes, &base)?;
    Plan::build(&file, CATALOG)
}

fn is_base(name: &str) -> bool {
    name.starts_with("base-")
}

/// Holds what is found in each graph of a folder against the text beside it.
fn compare(within: &str, found: impl Fn(&str, Result<Plan, Diagnostics>) -> Diagnostics) {
    let mut different = Vec::new();
    for name in files(within, "toml").iter().filter(|name| !is_base(name)) {
        let bytes = std::fs::read(folder(within).join(format!("{name}.toml"))).expect("a file");
        let found = found(name, build(within, name, &bytes));
        let drawn = found.render(false);
        assert!(found.to_json().is_array(), "{name}");
        let expected = folder(within).join(format!("{name}.txt"));
        if updating() {
            std::fs::write(&expected, &drawn).expect("a file that can be written");
        }
        let said = std::fs::read_to_string(&expected).unwrap_or_default();
        if said != drawn {
            different.push(format!("{name}.toml now says:\n{drawn}"));
        }
    }
    assert!(
        different.is_empty(),
        "run with UPDATE_EXPECTED=1 if this is meant\n{}",
        different.join("\n")
    );
}

#[test]
fn every_invalid_graph_has_the_diagnostic_beside_it() {
    assert!(files("invalid", "toml").len() >= 30);
    compare("invalid", |name, plan| match plan {
        Ok(_) => panic!("{name}.toml is accepted"),
        Err(found) => found,
    });
}

/// These graphs run, and each is likely not meant as it stands.
#[test]
fn every_warned_graph_has_the_warning_beside_it() {
    assert!(files("warned", "toml").len() >= 8);
    compare("warned", |name, plan| match plan {
        Ok(plan) => {
            assert!(!plan.warnings().is_empty(), "{name}.toml has no warning");
            plan.warnings().clone()
        }
        Err(found) => panic!("{}", found.render(false)),
    });
}

#[test]
fn valid_graphs_have_no_warnings_but_those_of_their_name() {
    for name in files("valid", "toml") {
        let bytes = std::fs::read(folder("valid").join(format!("{name}.toml"))).expect("a file");
        let plan = build("valid", &name, &bytes).expect("a sound graph");
        let codes: BTreeSet<&str> = plan.warnings().list().iter().map(|d| d.code).collect();
        // What these files show is what they are warned of.
        let expected: &[&str] = match name.as_str() {
            "left-out" => &["stage-not-in-graph"],
            _ => &[],
        };
        assert_eq!(codes, expected.iter().copied().collect(), "{name}");
    }
}

#[test]
fn no_expected_diagnostic_is_left_without_its_graph() {
    for name in ["invalid", "warned"] {
        let mut graphs = files(name, "toml");
        graphs.retain(|name| !is_base(name));
        assert_eq!(graphs, files(name, "txt"));
    }
    assert!(files("valid", "txt").is_empty());
    for name in ["valid", "invalid", "warned"] {
        let all = std::fs::read_dir(folder(name)).expect("a folder").count();
        let known = files(name, "toml").len() + files(name, "txt").len();
        assert_eq!(all, known, "a file of another sort in tests/graphs/{name}");
    }
}

#[test]
fn the_schema_takes_valid_graphs() {
    let validator = jsonschema::validator_for(&schema(HANDLERS)).expect("a schema");
    let default = shipped("default").expect("the default graph").bytes;
    let default = String::from_utf8(default).expect("UTF-8");
    let valid = files("valid", "toml").into_iter().map(|name| {
        let path = folder("valid").join(format!("{name}.toml"));
        std::fs::read_to_string(path).expect("a file")
    });
    for text in valid.chain([default]) {
        let text = text.trim_start_matches('\u{FEFF}');
        let graph: Value = toml::from_str(text).expect("TOML");
        let errors: Vec<_> = validator
            .iter_errors(&graph)
            .map(|e| e.to_string())
            .collect();
        assert!(errors.is_empty(), "{errors:?} in\n{text}");
    }
}

#[test]
fn hostile_files_end_in_a_diagnostic() {
    let head = "name = \"g\"\n";
    for (what, text) in [
        ("a mebibyte and more", "#".repeat(10 << 20)),
        (
            "nested arrays",
            format!("{head}description = {}", "[".repeat(20_000)),
        ),
        (
            "nested tables",
            format!("{head}description = {}", "{a=".repeat(20_000)),
        ),
        (
            "plus signs",
            format!("{head}concurrency = {}1", "+".repeat(100_000)),
        ),
        ("dotted keys", format!("{head}{}a = 1", "a.".repeat(20_000))),
        (
            "many edges",
            format!("{head}{}", "[[edges]]\n".repeat(50_000)),
        ),
        (
            "many stages",
            format!(
                "{head}edges=[{{chain=[{}]}}]",
                "\"a\",\"b\",".repeat(100_000)
            ),
        ),
        (
            "many unknown stages in conditions",
            (0..5_000).fold(format!("{head}edges = [\n"), |text, n| {
                text + &format!(
                    "{{ from = \"a{n}\", to = \"b\", when = \"stages.c{n}.status == 'x'\" }},\n"
                )
            }) + "]",
        ),
        (
            "a long name",
            format!("{head}[stages.{}]", "a".repeat(500_000)),
        ),
        (
            "many unknown keys",
            (0..20_000).fold(head.to_owned(), |text, n| format!("{text}k{n}=1\n")),
        ),
    ] {
        let Err(found) = Plan::parse("hostile.toml", text.as_bytes(), CATALOG) else {
            panic!("{what} is accepted");
        };
        let drawn = found.render(false);
        assert!(
            !drawn.is_empty() && drawn.len() < 200_000,
            "{what}: {} bytes",
            drawn.len()
        );
    }
}
